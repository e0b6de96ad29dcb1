_base_ = ["_base_/models/claver.py", "_base_/datasets/kinetics400_8x224.py",
          "_base_/schedules/fully_supervised_l14.py", "_base_/runtime.py"]

model = dict(
    backbone=dict(arch="L/14", grad_checkpointing=True),
    neck=dict(arch="L/14"),
    cls_head=dict(arch="L/14", classes=_base_.class_list, bank=_base_.prompt_bank, grad_checkpointing=True))
train_dataloader = dict(batch_size=4)
