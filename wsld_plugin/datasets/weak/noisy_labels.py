"""Labels of which some are wrong."""
from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mmpretrain.structures import DataSample

from wsld_plugin.errors import ConfigError, check_choice, did_you_mean, nearest
from wsld_plugin.registry import DATASETS

from .draws import noisy_labels
from .wrapper import WeakLabels, check_share

KINDS = ('symmetric', 'asymmetric', 'file')


@DATASETS.register_module()
class NoisyLabels(WeakLabels):
    """A data set with wrong labels, drawn once by (seed, index) or read from a file.

    ::

        symmetric     Pr(ỹ = y) = 1 - rate,    Pr(ỹ = c) = rate/(C - 1) for each c ≠ y
        asymmetric    Pr(ỹ = y) = 1 - rate,    Pr(ỹ = pairs[y]) = rate;    without pairs the next class, (y + 1) mod C

    The rate is the expected share of labels that are wrong (of the classes in ``pairs``); where noise is drawn from
    all C classes, as in some papers, a share of 1/C of it is right by chance.

    Args:
        dataset: the data set, or its config.
        kind: ``'symmetric'``, ``'asymmetric'`` or ``'file'``.
        rate: 0 … 1; None for a file.
        pairs: for ``'asymmetric'``: the index of the class that takes the place of each; others keep their labels.
        file: for ``'file'``: one integer for each sample of the data set, in its order: a text file with one a line,
            or ``.npy``.
        seed: of the draw; not used for a file.

    Attributes:
        labels: (N,) int64, what the samples have as ``gt_label``.
        given_labels: (N,), what they had.
        noise_rate: the share in which they differ.

    Raises:
        ConfigError: settings that do not belong together, a class that does not exist, a file with another number of
            labels.
        FileNotFoundError: there is no such file.
    """

    def __init__(self, dataset: Any, kind: str = 'symmetric', rate: float | None = None,
                 pairs: Mapping[Any, int] | None = None, file: str | Path | None = None, seed: int = 0) -> None:
        check_choice('NoisyLabels: kind', kind, KINDS)
        for name, value, wanted in (('rate', rate, kind != 'file'), ('file', file, kind == 'file')):
            if (value is not None) != wanted:
                raise ConfigError(f'NoisyLabels: kind={kind!r} with {name}={value!r}, '
                                  + (f'expected a {name}.' if wanted else f'which takes no {name}.'))
        if pairs is not None and kind != 'asymmetric':
            raise ConfigError(f"NoisyLabels: kind={kind!r} takes no pairs; kind='asymmetric' does.")
        if pairs is not None and not isinstance(pairs, Mapping):
            raise ConfigError(f'NoisyLabels: pairs is {pairs!r}, expected a dict of class indices, such as {{3: 5}}.')
        path = Path(str(file)).expanduser()
        if kind == 'file':
            _check_file(path)
        else:
            check_share('NoisyLabels: rate', rate)
        super().__init__(dataset)
        if kind == 'file':
            self.labels = _read(path, len(self), self.num_classes)
        else:
            swap = self._pairs(pairs) if kind == 'asymmetric' else None
            self.labels = noisy_labels(self.given_labels, self.num_classes, float(rate or 0), swap, seed)

    @property
    def noise_rate(self) -> float:
        """The share of labels that differ from those of the wrapped data set."""
        return float((self.labels != self.given_labels).mean())

    def get_gt_labels(self) -> np.ndarray:
        """The noisy labels (N,)."""
        return self.labels

    def relabel(self, sample: DataSample, index: int) -> None:
        """Set ``gt_label``."""
        sample.set_gt_label(int(self.labels[index]))

    def _pairs(self, pairs: Mapping[Any, int] | None) -> dict[int, int]:
        if pairs is None:
            return {label: (label + 1) % self.num_classes for label in range(self.num_classes)}
        return {self._label(one): self._label(other) for one, other in pairs.items()}

    def _label(self, given: Any) -> int:
        index = given
        if isinstance(given, str) and given.strip().isdecimal():  # keys given on a command line are text
            index = int(given)
        if isinstance(index, bool) or not isinstance(index, (int, np.integer)) or not 0 <= index < self.num_classes:
            names = list(map(str, self.dataset.metainfo['classes']))
            near = nearest(given, names) if isinstance(given, str) else None
            raise ConfigError(f'NoisyLabels: pairs names class {given!r}, expected an index, '
                              f'0 … {self.num_classes - 1}.' + (f' {near!r} is {names.index(near)}.' if near else ''))
        return int(index)


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise ConfigError(f'NoisyLabels: file={str(path)!r} is a folder, expected a text file with a label a line, '
                          'or .npy.')
    if not path.is_file():
        beside = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
        raise FileNotFoundError(f'NoisyLabels: there is no file={str(path)!r}.{did_you_mean(path.name, beside)}')


def _read(path: Path, count: int, num_classes: int) -> np.ndarray:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', UserWarning)  # of a file without numbers: told below
            labels = np.load(path) if path.suffix == '.npy' else np.loadtxt(path, dtype=np.int64, ndmin=1)
    except (ValueError, EOFError) as error:
        raise ConfigError(f'NoisyLabels: file={str(path)!r} cannot be read as integers: {error}.') from error
    if labels.dtype.kind not in 'iu' or labels.shape != (count,):
        raise ConfigError(f'NoisyLabels: file={str(path)!r} holds {labels.dtype} of shape {labels.shape}, expected '
                          f'an integer for each of the {count} samples of the data set.')
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(wrong):
        raise ConfigError(f'NoisyLabels: file={str(path)!r} gives sample {wrong[0]} the label {labels[wrong[0]]}, '
                          f'expected 0 … {num_classes - 1}.')
    return labels.astype(np.int64)
