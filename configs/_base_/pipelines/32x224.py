_base_ = ["8x224.py"]

clip_len = 32
train_pipeline = _base_.train_pipeline
val_pipeline = _base_.val_pipeline
test_pipeline = _base_.test_pipeline
train_pipeline[1].clip_len = val_pipeline[1].clip_len = test_pipeline[1].clip_len = clip_len
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
