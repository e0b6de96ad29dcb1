# 336 pixels, cropped from a short side of 384 where 224 are cropped from 256
_base_ = ["8x224.py"]

crop_size = 336
train_pipeline = _base_.train_pipeline
val_pipeline = _base_.val_pipeline
test_pipeline = _base_.test_pipeline
train_pipeline[3].scale = val_pipeline[3].scale = (-1, 384)
train_pipeline[4].input_size = 336
train_pipeline[5].scale = (336, 336)
val_pipeline[4].crop_size = 336
test_pipeline[3].scale = (-1, 336)
test_pipeline[4].crop_size = 336
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
