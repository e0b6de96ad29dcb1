# Table 8: patch size against frame length; joint attention and KMCT by --cfg-options model.neck.pattern=joint (kmct).
_base_ = ["../_base_/models/claver.py", "../_base_/datasets/hmdb51.py", "../_base_/pipelines/16x224.py",
          "../_base_/schedules/fully_supervised.py", "../_base_/runtime.py"]

model = dict(num_frames=16, classes="hmdb51", neck=dict(type="TemporalNeck", pattern="kmt"))
