_base_ = ["_base_/models/claver.py", "_base_/datasets/kinetics600_16x336.py",
          "_base_/schedules/fully_supervised_l14.py", "_base_/runtime.py"]

model = _base_.model
model.backbone.update(arch="L/14@336", grad_checkpointing=True)
model.neck.update(arch="L/14@336", num_frames=16)
model.cls_head.update(arch="L/14@336", classes=_base_.class_list, bank=_base_.prompt_bank, grad_checkpointing=True)
for augment in model.data_preprocessor.blending.augments:
    augment.num_classes = 600
train_dataloader = dict(batch_size=4)
