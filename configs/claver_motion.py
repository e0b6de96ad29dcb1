# A small CLAVER from scratch on the motion videos, for two CPU cores; tools/demo.py runs it.
_base_ = ["_base_/datasets/motion.py", "_base_/runtime.py"]

model = dict(
    type="CLAVERRecognizer",
    arch=dict(
        embed_dim=64,
        quick_gelu=True,
        vision_cfg=dict(layers=2, width=64, head_width=32, patch_size=8, image_size=32),
        text_cfg=dict(context_length=16, width=32, heads=2, layers=2)),
    num_frames=4,
    classes="motion",
    # small pixel values beside the positional embedding: where things are is learnt before what they look like
    data_preprocessor=dict(type="ActionDataPreprocessor", mean=[66] * 3, std=[240] * 3, format_shape="NCTHW"),
    backbone=dict(type="CLIPBackbone"),
    # a time that can be told from the start: at 0.02, meant for fine-tuning, a short training may miss it
    neck=dict(type="KMTNeck", depth=2, embedding_std=0.5),
    cls_head=dict(
        type="ContrastiveTextHead", templates=["{}", "a shape {}", "a video of something {}"], num_draws=2))
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=8, val_begin=4, val_interval=4)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
optim_wrapper = dict(
    type="OptimWrapper",
    constructor="LayerGroupsOptimWrapperConstructor",
    optimizer=dict(type="AdamW", lr=2e-3, betas=(0.9, 0.98), weight_decay=0.05),
    # texts that hurry ahead of a video tower from scratch stall it for epochs
    paramwise_cfg=dict(lr_mult={"cls_head.clip.text": 0.2}))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=True, begin=0, end=1, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", eta_min_ratio=0.01, by_epoch=True, begin=1, convert_to_iter_based=True),
]
auto_scale_lr = dict(enable=False, base_batch_size=16)
default_hooks = dict(checkpoint=dict(interval=4))
