# Trained here, tested on UCF-101, HMDB-51 and Kinetics-600 by tools/run_protocol.py.
_base_ = ["../_base_/models/claver.py", "../_base_/datasets/kinetics400_32x224.py",
          "../_base_/schedules/zero_shot.py", "../_base_/runtime.py"]

model = dict(neck=dict(num_frames=32), cls_head=dict(classes=_base_.class_list, bank=_base_.prompt_bank))
