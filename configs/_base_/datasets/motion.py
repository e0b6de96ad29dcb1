# The motion videos of tools/make_motion_videos.py: 32x40 pixels, 8 classes in 4 reversal pairs; no flip, it would swap
# left and right.
data_root = "data/motion"
clip_len = 4

train_pipeline = [
    dict(type="OpenVideo"),
    dict(type="UniformSample", clip_len=clip_len),
    dict(type="DecodeFrames"),
    dict(type="Resize", scale=(-1, 32)),  # nothing to these videos; of larger ones, 32 pixels would be a corner
    dict(type="RandomCrop", size=32),
    dict(type="FormatShape", input_format="NCTHW"),
    dict(type="PackActionInputs"),
]
val_pipeline = [
    dict(type="OpenVideo"),
    dict(type="UniformSample", clip_len=clip_len, test_mode=True),
    dict(type="DecodeFrames"),
    dict(type="Resize", scale=(-1, 32)),
    dict(type="CenterCrop", crop_size=32),
    dict(type="FormatShape", input_format="NCTHW"),
    dict(type="PackActionInputs"),
]
test_pipeline = [
    dict(type="OpenVideo"),
    dict(type="UniformSample", clip_len=clip_len, num_clips=4, test_mode=True),
    dict(type="DecodeFrames"),
    dict(type="Resize", scale=(-1, 32)),
    dict(type="ThreeCrop", crop_size=32),
    dict(type="FormatShape", input_format="NCTHW"),
    dict(type="PackActionInputs"),
]
train_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(type="ActionVideoDataset", ann_file="{data_root}/train.txt",
                 data_prefix=dict(video="{data_root}")))
val_dataloader = dict(
    batch_size=50,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="ActionVideoDataset", ann_file="{data_root}/val.txt",
                 data_prefix=dict(video="{data_root}"), test_mode=True))
test_dataloader = dict(
    batch_size=10,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="ActionVideoDataset", ann_file="{data_root}/val.txt",
                 data_prefix=dict(video="{data_root}"), pipeline=test_pipeline, test_mode=True))
val_evaluator = dict(type="ClassAccMetric", metric_options=dict(top_k_accuracy=dict(topk=(1,))))
test_evaluator = val_evaluator
