# SigLIP 2 L/16 at 256 pixels (Tschannen et al. 2025, arXiv 2502.14786): its sigmoid loss, which smooths no labels; its tokenizer is fetched.
_base_ = ["../_base_/models/tower.py", "../_base_/datasets/kinetics400.py", "../_base_/pipelines/uniform.py",
          "../_base_/schedules/fully_supervised_l14.py", "../_base_/runtime.py"]

model = dict(
    arch="ViT-L-16-SigLIP2-256", pretrained="webli", classes="kinetics400",
    backbone=dict(grad_checkpointing=True), cls_head=dict(label_smooth_eps=0.0, grad_checkpointing=True))
train_dataloader = dict(batch_size=4)
