# Table 7: interpretive prompts, mean over frames (78.4); with KMT of a third it is claver_b32_k400.py (81.5).
_base_ = ["../claver_b32_k400.py"]

model = dict(neck=None)
optim_wrapper = dict(paramwise_cfg=dict(_delete_=True))
