# Trained here, tested on UCF-101, HMDB-51 and Kinetics-600 by claver protocol.
_base_ = ["dfn_b16_k400.py"]

train_cfg = dict(max_epochs=20)
