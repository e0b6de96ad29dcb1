# 8 frames, one from each of 8 equal segments, 224 pixels; tested on 4 clips x 3 crops.
# PyAV leaves out frames that no other needs, and seeks exactly; decord where it cannot open or decode a file
decoders = ["pyav", "decord"]

train_pipeline = [
    dict(type="OpenVideo", decoders=decoders),
    dict(type="UniformSample", clip_len=8),
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
    dict(type="OpenVideo", decoders=decoders),
    dict(type="UniformSample", clip_len=8, num_clips=1, test_mode=True),
    dict(type="DecodeFrames"),
    dict(type="Resize", scale=(-1, 256)),
    dict(type="CenterCrop", crop_size=224),
    dict(type="FormatShape", input_format="NCTHW"),
    dict(type="PackActionInputs"),
]
test_pipeline = [
    dict(type="OpenVideo", decoders=decoders),
    dict(type="UniformSample", clip_len=8, num_clips=4, test_mode=True),
    dict(type="DecodeFrames"),
    dict(type="Resize", scale=(-1, 224)),  # three crops cover the long side, as the host crops
    dict(type="ThreeCrop", crop_size=224),
    dict(type="FormatShape", input_format="NCTHW"),
    dict(type="PackActionInputs"),
]
