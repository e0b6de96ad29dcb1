_base_ = ["claver_b16_16f_k600.py"]

model = dict(backbone=dict(arch="B/32"), neck=dict(arch="B/32"), cls_head=dict(arch="B/32"))
