_base_ = ["claver_b16_k600.py"]

model = dict(arch="B/32")
