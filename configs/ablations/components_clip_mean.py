# Table 7: CLIP, mean over frames, templates alone (77.4). The other leaves of components_* add to it.
_base_ = ["../claver_b32_k400.py"]

model = dict(neck=None, bank=None)
optim_wrapper = dict(paramwise_cfg=dict(_delete_=True))
