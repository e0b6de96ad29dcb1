_base_ = ["claver_b16_32f_k400.py"]

model = dict(neck=dict(type="KMCTNeck"))
