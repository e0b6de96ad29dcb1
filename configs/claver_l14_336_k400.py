_base_ = ["_base_/models/claver.py", "_base_/datasets/kinetics400.py", "_base_/pipelines/16x336.py",
          "_base_/schedules/fully_supervised_l14.py", "_base_/runtime.py"]

model = dict(
    arch="L/14@336", num_frames=16, classes="kinetics400",
    backbone=dict(grad_checkpointing=True), cls_head=dict(grad_checkpointing=True))
train_dataloader = dict(batch_size=4)
