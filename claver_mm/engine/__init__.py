"""What the host's engine lacks for this project, each as a registered type that a config names."""
from .checkpoints import WholeCheckpointHook
from .class_accuracy import ClassAccMetric, ClassReportHook
from .console import ConsoleHook
from .hooks import CheckClassesHook, DrawTextsHook, MeanLossHook, NonFiniteLossHook, SeedEpochHook
from .loop import ResumableTrainLoop
from .optim import LayerGroupsOptimWrapperConstructor
from .record import RunRecordHook
from .runner import ClaverRunner

__all__ = ["CheckClassesHook", "ClassAccMetric", "ClassReportHook", "ClaverRunner", "ConsoleHook", "DrawTextsHook",
           "LayerGroupsOptimWrapperConstructor", "MeanLossHook", "NonFiniteLossHook", "ResumableTrainLoop",
           "RunRecordHook", "SeedEpochHook", "WholeCheckpointHook"]
