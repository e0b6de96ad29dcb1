# Table 14, few-shot: 80 epochs at a sixth of the rate, from a model of 20 epochs on Kinetics-400.
_base_ = ["fully_supervised.py"]

train_cfg = dict(max_epochs=80, val_begin=80, val_interval=80)
optim_wrapper = dict(optimizer=dict(lr=2e-6))
