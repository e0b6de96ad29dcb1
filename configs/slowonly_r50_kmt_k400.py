# SlowOnly-R50 8x8, with a KMT neck on its last feature map.
_base_ = ["mmaction::recognition/slowonly/slowonly_imagenet-pretrained-r50_8xb16-8x8x1-steplr-150e_kinetics400-rgb.py"]

custom_imports = dict(imports=["claver_mm"], allow_failed_imports=False)
runner_type = "ClaverRunner"
model = dict(neck=dict(type="KMTNeck", in_channels=2048, embed_dims=512, num_frames=8, depth=2))
