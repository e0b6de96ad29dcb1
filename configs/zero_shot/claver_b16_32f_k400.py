# Trained here, tested on UCF-101, HMDB-51 and Kinetics-600 by tools/run_protocol.py.
_base_ = ["../_base_/models/claver.py", "../_base_/datasets/kinetics400.py", "../_base_/pipelines/32x224.py",
          "../_base_/schedules/zero_shot.py", "../_base_/runtime.py"]

model = dict(num_frames=32, classes="kinetics400")
