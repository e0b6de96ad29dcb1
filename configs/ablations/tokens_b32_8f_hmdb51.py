# Table 8, as tokens_b16_8f_hmdb51.py, with patches of 32 pixels.
_base_ = ["tokens_b16_8f_hmdb51.py"]

model = dict(arch="B/32")
