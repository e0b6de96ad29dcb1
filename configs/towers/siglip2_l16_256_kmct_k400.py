_base_ = ["siglip2_l16_256_k400.py"]

model = dict(neck=dict(type="KMCTNeck"))
