_base_ = ["mobileclip2_b_k400.py"]

model = dict(neck=dict(type="KMCTNeck"))
