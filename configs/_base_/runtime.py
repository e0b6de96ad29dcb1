_base_ = ["mmaction::_base_/default_runtime.py", "plugin.py"]

default_hooks = dict(
    checkpoint=dict(type="CheckpointHook", interval=1, max_keep_ckpts=3, save_best="auto",
                    published_keys=["meta", "state_dict"]),
    visualization=dict(type="VisualizationHook"))
