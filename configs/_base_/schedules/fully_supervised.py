# Table 14, fully supervised, B models: 60 epochs, total batch 128. A schedule without end ends with the run.
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=60, val_begin=1, val_interval=1)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
optim_wrapper = dict(
    type="OptimWrapper",
    constructor="LayerGroupsOptimWrapperConstructor",
    optimizer=dict(type="AdamW", lr=12e-6, betas=(0.9, 0.98), weight_decay=0.001),
    paramwise_cfg=dict(lr_mult=dict(neck=10)))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=True, begin=0, end=5, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", eta_min_ratio=0.01, by_epoch=True, begin=5, convert_to_iter_based=True),
]
auto_scale_lr = dict(enable=False, base_batch_size=128)
