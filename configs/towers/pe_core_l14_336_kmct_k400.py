_base_ = ["pe_core_l14_336_k400.py"]

model = dict(neck=dict(type="KMCTNeck"))
