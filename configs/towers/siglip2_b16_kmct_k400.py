_base_ = ["siglip2_b16_k400.py"]

model = dict(neck=dict(type="KMCTNeck"))
