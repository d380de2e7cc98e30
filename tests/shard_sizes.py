"""A hook, for configs of tests: every rank writes how many numbers its optimizer has in its care."""
from pathlib import Path

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class SaveShardSizes(Hook):
    """Writes ``rank<k>.txt`` into the work dir."""

    def after_train(self, runner):
        optimizer = runner.optim_wrapper.optimizer
        groups = getattr(optimizer, 'single_partition_of_fp32_groups', None)  # DeepSpeed's own
        mine = groups or [parameter for group in optimizer.param_groups for parameter in group['params']]
        Path(runner.work_dir, f'rank{get_rank()}.txt').write_text(str(sum(part.numel() for part in mine)))
