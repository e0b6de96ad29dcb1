_base_ = ["claver_b16_16f_k600.py"]

model = dict(arch="B/32")
