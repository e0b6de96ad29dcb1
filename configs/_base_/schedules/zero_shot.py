# Table 14, zero-shot: 20 epochs on Kinetics-400, total batch 128.
_base_ = ["fully_supervised.py"]

train_cfg = dict(max_epochs=20)
