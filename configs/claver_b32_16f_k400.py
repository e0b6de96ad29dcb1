_base_ = ["claver_b16_16f_k400.py"]

model = dict(arch="B/32")
