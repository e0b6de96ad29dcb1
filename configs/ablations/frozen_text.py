# Table 11: text tower frozen (81.0 or 80.8, the other is frozen_image.py); the temporal transformer always trains.
_base_ = ["../claver_b32_k400.py"]

model = dict(cls_head=dict(frozen_text=True))
