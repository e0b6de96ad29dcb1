# Perception Encoder, core L/14 at 336 pixels (Bolya et al. 2025, arXiv 2504.13181).
_base_ = ["../_base_/models/tower.py", "../_base_/datasets/kinetics400.py", "../_base_/pipelines/uniform.py",
          "../_base_/schedules/fully_supervised_l14.py", "../_base_/runtime.py"]

model = dict(
    arch="PE-Core-L-14-336", pretrained="meta", classes="kinetics400",
    backbone=dict(grad_checkpointing=True), cls_head=dict(grad_checkpointing=True))
train_dataloader = dict(batch_size=4)
