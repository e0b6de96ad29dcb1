_base_ = ["claver_b32_16f_k600.py"]

model = dict(neck=dict(type="KMCTNeck"))
