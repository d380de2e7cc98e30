"""A factor of the soft loss for regularization samples, and one for the others."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from wsld_plugin.errors import ConfigError, check_choice, did_you_mean

from .checks import check_loss_weight
from .regularization import READINGS, regularization_samples

_DEFAULTS = dict(reading='label', regularization=1.0, others=1.0)


class SampleFactors:
    """The argument ``samples`` of the losses.

    ::

        loss = Σ_i f_i · loss_i / N,    f_i = regularization if i is a regularization sample else others

    Args:
        settings: ``reading``: ``'label'`` or ``'row'``, as in :mod:`wsld_plugin.losses.regularization`;
            ``regularization`` and ``others``: numbers ≥ 0, each 1 where it is left out. 0 drops a group, 0.5 halves
            it. The mean still divides by N: a dropped sample gives nothing, even where its loss is infinite, and no
            other counts for more. A loss of NaN stays NaN: its sample belongs to neither group.

    Raises:
        ConfigError: an unknown key or reading, a factor that is no such number.

    Source: Zhou et al., ICLR 2021, arXiv 2102.00650, drop regularization samples and weigh them down.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        if not isinstance(settings, Mapping):
            raise ConfigError(f'samples is {settings!r}, but None or a dict is expected, such as '
                              "dict(reading='label', regularization=0.5, others=1.0).")
        for key in settings:
            if key not in _DEFAULTS:
                raise ConfigError(f'samples takes no {key!r}, only {", ".join(_DEFAULTS)}.'
                                  + did_you_mean(str(key), _DEFAULTS))
        self.settings: dict[str, Any] = {**_DEFAULTS, **settings}
        check_choice('samples.reading', self.settings['reading'], READINGS)
        for key in ('regularization', 'others'):
            check_loss_weight(self.settings[key], f'samples.{key}')
            if self.settings[key] < 0:
                raise ConfigError(f'samples.{key} is {self.settings[key]!r}, but a factor ≥ 0 is expected: 0 drops '
                                  'these samples, 1 leaves them as they are.')

    def mean(self, values: Tensor, student: Tensor, teacher: Tensor, target: Tensor | None, tau: float) -> Tensor:
        """The mean over N of the losses (N,) times their factors.

        Raises:
            ConfigError: no target.
        """
        if target is None:
            raise ConfigError('the loss has samples=…, which needs the target, but is given no gt_labels: add '
                              "gt_labels=dict(recorder='target', from_student=True, data_idx=1) to this loss's "
                              'loss_forward_mappings.')
        chosen = regularization_samples(student.detach(), teacher, target, tau, self.settings['reading'])
        regularization, others = (
            (values if factor else values.masked_fill(values.isinf(), 0.0)) * factor
            for factor in (self.settings['regularization'], self.settings['others']))
        return torch.where(chosen, regularization, others).mean()
