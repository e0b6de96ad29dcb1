# Table 14, fully supervised, L models: 40 epochs, total batch 32.
_base_ = ["fully_supervised.py"]

train_cfg = dict(max_epochs=40)
auto_scale_lr = dict(base_batch_size=32)
