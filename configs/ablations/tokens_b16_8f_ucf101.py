# Table 8: patch size against frame length; joint attention and KMCT by --cfg-options model.neck.pattern=joint (kmct).
_base_ = ["../_base_/models/claver.py", "../_base_/datasets/ucf101.py", "../_base_/pipelines/8x224.py",
          "../_base_/schedules/fully_supervised.py", "../_base_/runtime.py"]

model = dict(classes="ucf101", neck=dict(type="TemporalNeck", pattern="kmt"))
