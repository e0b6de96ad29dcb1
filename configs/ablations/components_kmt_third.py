# Table 7: KMT of 1/3 of the image tower's depth, templates alone (80.9).
_base_ = ["../claver_b32_k400.py"]

model = dict(neck=dict(depth=1 / 3), bank=None)
