_base_ = ["claver_b32_16f_k400.py"]

model = dict(neck=dict(type="KMCTNeck"))
