_base_ = ["mmaction::_base_/default_runtime.py", "plugin.py"]

default_hooks = dict(
    # two, so that one is whole while the other is written; the best one holds weights alone
    checkpoint=dict(type="CheckpointHook", interval=1, max_keep_ckpts=2, save_best="auto"),
    visualization=dict(type="VisualizationHook"))
