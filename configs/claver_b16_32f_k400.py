_base_ = ["_base_/models/claver.py", "_base_/datasets/kinetics400_32x224.py",
          "_base_/schedules/fully_supervised.py", "_base_/runtime.py"]

model = dict(neck=dict(num_frames=32), cls_head=dict(classes=_base_.class_list, bank=_base_.prompt_bank))
