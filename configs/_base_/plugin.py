# What any config needs of this project, stock recognisers with a neck included.
custom_imports = dict(imports=["claver_mm"], allow_failed_imports=False)
runner_type = "ClaverRunner"
randomness = dict(seed=0)
custom_hooks = [dict(type="SeedEpochHook"), dict(type="MeanLossHook"), dict(type="CheckClassesHook"),
                dict(type="DrawTextsHook"), dict(type="NonFiniteLossHook", patience=10),
                dict(type="ReportUnreadableHook"), dict(type="ConsoleHook"), dict(type="ClassReportHook"),
                dict(type="RunRecordHook")]
# no module has buffers that training changes, and every trainable parameter is used in every step;
# type="FullyShard" shards weights, gradients and optimiser state over the processes
model_wrapper_cfg = dict(type="MMDistributedDataParallel", broadcast_buffers=False, find_unused_parameters=False)
