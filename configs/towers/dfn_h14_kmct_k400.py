_base_ = ["dfn_h14_k400.py"]

model = dict(neck=dict(type="KMCTNeck"))
