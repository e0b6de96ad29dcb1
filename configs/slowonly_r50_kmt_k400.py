# SlowOnly-R50 8x8, with a KMT neck on its last feature map.
_base_ = ["mmaction::recognition/slowonly/slowonly_imagenet-pretrained-r50_8xb16-8x8x1-steplr-150e_kinetics400-rgb.py",
          "_base_/plugin.py"]

model = dict(neck=dict(type="KMTNeck", in_channels=2048, embed_dims=512, num_frames=8, depth=2))
test_dataloader = dict(dataset=dict(type="ActionVideoDataset"))
train_dataloader = dict(dataset=dict(type="ActionVideoDataset"))
val_dataloader = dict(dataset=dict(type="ActionVideoDataset"))
default_hooks = dict(visualization=dict(type="VisualizationHook"))
