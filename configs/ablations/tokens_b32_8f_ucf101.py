# Table 8, as tokens_b16_8f_ucf101.py, with patches of 32 pixels.
_base_ = ["tokens_b16_8f_ucf101.py"]

model = dict(arch="B/32")
