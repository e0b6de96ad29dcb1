# Table 11: image and text tower frozen (78.7); the temporal transformer always trains.
_base_ = ["../claver_b32_k400.py"]

model = dict(backbone=dict(frozen=True), cls_head=dict(frozen_visual=True, frozen_text=True))
