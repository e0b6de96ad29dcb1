_base_ = ["dfn_b16_k400.py"]

model = dict(neck=dict(type="KMCTNeck"))
