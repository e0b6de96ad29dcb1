"""What the host's engine lacks for this project, each as a registered type that a config names."""
from .hooks import CheckClassesHook, MeanLossHook, NonFiniteLossHook, SeedEpochHook
from .optim import LayerGroupsOptimWrapperConstructor
from .record import RunRecordHook
from .runner import ClaverRunner

__all__ = ["CheckClassesHook", "ClaverRunner", "LayerGroupsOptimWrapperConstructor", "MeanLossHook",
           "NonFiniteLossHook", "RunRecordHook", "SeedEpochHook"]
