"""What happens around the loop: checkpoints, checks, the teacher's own accuracy."""
from .checkpoint import CheckpointHook
from .finite_loss import FiniteLossHook
from .iteration_seed import IterationSeedHook
from .resume_validation import ResumeValidationHook
from .teacher_eval import TeacherEvalHook

__all__ = ['CheckpointHook', 'FiniteLossHook', 'IterationSeedHook', 'ResumeValidationHook', 'TeacherEvalHook']
