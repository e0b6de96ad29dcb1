_base_ = ["claver_b32_k600.py"]

model = dict(neck=dict(type="KMCTNeck"))
