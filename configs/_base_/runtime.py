_base_ = ["mmaction::_base_/default_runtime.py"]

custom_imports = dict(imports=["claver_mm"], allow_failed_imports=False)
runner_type = "ClaverRunner"
randomness = dict(seed=0)
default_hooks = dict(
    checkpoint=dict(type="CheckpointHook", interval=1, max_keep_ckpts=3, save_best="auto",
                    published_keys=["meta", "state_dict"]),
    visualization=dict(type="VisualizationHook"))
custom_hooks = [dict(type="SeedEpochHook"), dict(type="MeanLossHook"), dict(type="CheckClassesHook")]
# gradients are buckets of their own memory: none to broadcast or to search for
model_wrapper_cfg = dict(type="MMDistributedDataParallel", broadcast_buffers=False, find_unused_parameters=False)
