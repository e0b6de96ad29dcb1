# TSN on mmpretrain's MobileOne-S4, 8 frames, with a KMT neck on its last feature map.
_base_ = ["mmaction::recognition/tsn/custom_backbones/tsn_imagenet-pretrained-mobileone-s4_8xb32-1x1x8-100e_kinetics400-rgb.py",
          "_base_/plugin.py"]

model = dict(
    type="Recognizer2DWithNeck",
    neck=dict(type="KMTNeck", in_channels=2048, embed_dims=512, num_frames=8, depth=2))
# the neck sees clips of 8 frames; the stock test takes 25 frames that do not see each other
test_pipeline = _base_.test_pipeline
test_pipeline[1].num_clips = 8
test_dataloader = dict(dataset=dict(type="ActionVideoDataset", pipeline=test_pipeline))
train_dataloader = dict(dataset=dict(type="ActionVideoDataset"))
val_dataloader = dict(dataset=dict(type="ActionVideoDataset"))
default_hooks = dict(visualization=dict(type="VisualizationHook"))
