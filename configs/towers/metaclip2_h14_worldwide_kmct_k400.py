_base_ = ["metaclip2_h14_worldwide_k400.py"]

model = dict(neck=dict(type="KMCTNeck"))
