_base_ = ["_base_/models/claver.py", "_base_/datasets/kinetics400.py", "_base_/pipelines/8x224.py",
          "_base_/schedules/fully_supervised.py", "_base_/runtime.py"]

model = dict(classes="kinetics400")
