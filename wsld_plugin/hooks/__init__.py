"""What happens around the loop: checkpoints, checks, the teacher's own accuracy."""
from .checkpoint import CheckpointHook, ResumeValidationHook
from .predictions import PredictionsHook
from .runtime import FiniteLossHook, IterationSeedHook, RuntimeInfoHook, TeacherEvalHook
from .soft_label_monitor import SoftLabelMonitorHook
from .stopping import StopHook

__all__ = ['CheckpointHook', 'FiniteLossHook', 'IterationSeedHook', 'PredictionsHook',
           'ResumeValidationHook', 'RuntimeInfoHook', 'SoftLabelMonitorHook', 'StopHook', 'TeacherEvalHook']
