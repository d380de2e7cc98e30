"""How a step runs: configs, launching, mixed precision, resume. Never what it computes."""
from .autocast import AutocastOptimWrapper
from .deepspeed import DeepSpeedStrategy
from .flexible import FlexibleRunner
from .fsdp import FSDPStrategy
from .runner import Runner

__all__ = ['AutocastOptimWrapper', 'DeepSpeedStrategy', 'FlexibleRunner', 'FSDPStrategy', 'Runner']
