# Table 7: KMT of 1/6 of the image tower's depth, templates alone (79.6).
_base_ = ["../claver_b32_k400.py"]

model = dict(neck=dict(depth=1 / 6), bank=None)
