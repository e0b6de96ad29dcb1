# Table 8, as tokens_b16_16f_ucf101.py, with patches of 32 pixels.
_base_ = ["tokens_b16_16f_ucf101.py"]

model = dict(backbone=dict(arch="B/32"), neck=dict(arch="B/32"), cls_head=dict(arch="B/32"))
