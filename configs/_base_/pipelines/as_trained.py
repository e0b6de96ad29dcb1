# A frame from each of as many equal segments as the model has frames, one view, prepared as the weights of the image
# tower were trained: for towers that are tested as they are.
clip_len = 8  # what the pipeline is written for; it follows model.num_frames

val_pipeline = [
    dict(type="OpenVideo"),
    dict(type="UniformSample", clip_len=clip_len, num_clips=1, test_mode=True),
    dict(type="DecodeFrames"),
    dict(type="PrepareFrames"),
    dict(type="FormatShape", input_format="NCTHW"),
    dict(type="PackActionInputs"),
]
test_pipeline = val_pipeline
test_dataloader = dict(
    batch_size=8,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="ActionVideoDataset", pipeline=test_pipeline, test_mode=True))
test_evaluator = dict(type="ClassAccMetric")
test_cfg = dict(type="TestLoop")
