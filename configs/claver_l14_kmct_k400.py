_base_ = ["claver_l14_k400.py"]

model = dict(neck=dict(type="KMCTNeck"))
