_base_ = ["claver_b32_k400.py"]

model = dict(neck=dict(type="KMCTNeck"))
