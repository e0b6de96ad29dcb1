# Table 11: image tower frozen (81.0 or 80.8, the other is frozen_text.py); the temporal transformer always trains.
_base_ = ["../claver_b32_k400.py"]

model = dict(backbone=dict(frozen=True), cls_head=dict(frozen_visual=True))
