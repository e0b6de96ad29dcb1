# Table 7: KMT of one layer, templates alone (78.3).
_base_ = ["../claver_b32_k400.py"]

model = dict(neck=dict(depth=1), bank=None)
