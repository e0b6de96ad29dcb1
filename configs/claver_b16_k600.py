_base_ = ["_base_/models/claver.py", "_base_/datasets/kinetics600_8x224.py",
          "_base_/schedules/fully_supervised.py", "_base_/runtime.py"]

model = _base_.model
model.cls_head.update(classes=_base_.class_list, bank=_base_.prompt_bank)
for augment in model.data_preprocessor.blending.augments:
    augment.num_classes = 600
