_base_ = ["claver_l14_336_k600.py"]

model = dict(neck=dict(type="KMCTNeck"))
