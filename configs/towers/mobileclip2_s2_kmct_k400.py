_base_ = ["mobileclip2_s2_k400.py"]

model = dict(neck=dict(type="KMCTNeck"))
