# 8 frames, one from each of 8 equal segments, 224 pixels; tested on 4 clips x 3 crops. Data sets take their files from
# ../datasets, their classes from the model, and their steps from here.
clip_len, crop_size = 8, 224  # what the pipelines are written for; they follow model.num_frames and the tower's size

train_pipeline = [
    dict(type="OpenVideo"),
    dict(type="UniformSample", clip_len=clip_len),
    dict(type="DecodeFrames"),
    dict(type="Resize", scale=(-1, 256)),
    dict(type="MultiScaleCrop", input_size=224, scales=(1, 0.875, 0.75, 0.66), max_wh_scale_gap=1, num_fixed_crops=13),
    dict(type="Resize", scale=(224, 224), keep_ratio=False),
    dict(type="Flip", flip_ratio=0.5),
    dict(type="RandomApply", transforms=[dict(type="ClipColorJitter", brightness=0.4, contrast=0.4, saturation=0.2)],
         prob=0.8),
    dict(type="ClipGrayscale", prob=0.2),
    dict(type="FormatShape", input_format="NCTHW"),
    dict(type="PackActionInputs"),
]
val_pipeline = [
    dict(type="OpenVideo"),
    dict(type="UniformSample", clip_len=clip_len, num_clips=1, test_mode=True),
    dict(type="DecodeFrames"),
    dict(type="Resize", scale=(-1, 256)),
    dict(type="CenterCrop", crop_size=224),
    dict(type="FormatShape", input_format="NCTHW"),
    dict(type="PackActionInputs"),
]
test_pipeline = [
    dict(type="OpenVideo"),
    dict(type="UniformSample", clip_len=clip_len, num_clips=4, test_mode=True),
    dict(type="DecodeFrames"),
    dict(type="Resize", scale=(-1, 224)),  # three crops cover the long side, as the host crops
    dict(type="ThreeCrop", crop_size=224),
    dict(type="FormatShape", input_format="NCTHW"),
    dict(type="PackActionInputs"),
]
train_dataloader = dict(
    batch_size=16,  # 8 GPUs: 128
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(type="ActionVideoDataset"))
val_dataloader = dict(
    batch_size=16,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="ActionVideoDataset", test_mode=True))
# the host's Inferencer reads the steps here, its inference_recognizer at the top
test_dataloader = dict(val_dataloader, batch_size=1, dataset=dict(val_dataloader["dataset"], pipeline=test_pipeline))
val_evaluator = dict(type="ClassAccMetric")
test_evaluator = dict(type="ClassAccMetric")
