"""A teacher that its owner uses but does not own."""
from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

BN_MODES = ('eval', 'train')


class FrozenTeacher:
    """Holds a teacher out of sight of ``nn.Module``, with no gradient and in a fixed mode.

    It is no ``nn.Module`` itself, so a module that keeps one as an attribute does not register it: the
    teacher is in no ``parameters()``, no optimizer, no ``state_dict()``, no gradient bucket and no SyncBN
    conversion. What an owner must pass on by hand is ``_apply`` (device and dtype) and the change of mode,
    and it should share it with its copies.

    Args:
        module: the teacher.
        bn: ``'eval'``: the whole teacher is in eval mode, always. ``'train'``: while its owner trains,
            BatchNorm normalises with the statistics of the batch and updates its running ones, as in the
            authors' code of WSLD; everything else, dropout included, stays in eval mode.
    """

    def __init__(self, module: nn.Module, bn: str = 'eval') -> None:
        self.module = module.requires_grad_(False)
        self.bn = bn
        self.set_mode(training=False)

    def set_mode(self, training: bool) -> None:
        """Follow the owner into training or evaluation."""
        self.module.eval()
        if training and self.bn == 'train':
            for module in self.module.modules():
                if isinstance(module, _BatchNorm):
                    module.train()
