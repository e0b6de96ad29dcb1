_base_ = ["pe_core_b16_k400.py"]

model = dict(neck=dict(type="KMCTNeck"))
