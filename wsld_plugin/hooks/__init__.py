"""What happens around the loop: checkpoints, checks, the teacher's own accuracy."""
from .accelerate import AccelerateHook
from .captured_step import CapturedStepHook
from .checkpoint import CheckpointHook
from .finite_loss import FiniteLossHook
from .iteration_seed import IterationSeedHook
from .predictions import PredictionsHook
from .resume_validation import ResumeValidationHook
from .runtime_info import RuntimeInfoHook
from .soft_label_monitor import SoftLabelMonitorHook
from .soft_labels import SoftLabelsHook
from .teacher_eval import TeacherEvalHook

__all__ = ['AccelerateHook', 'CapturedStepHook', 'CheckpointHook', 'FiniteLossHook', 'IterationSeedHook',
           'PredictionsHook', 'ResumeValidationHook', 'RuntimeInfoHook', 'SoftLabelMonitorHook', 'SoftLabelsHook',
           'TeacherEvalHook']
