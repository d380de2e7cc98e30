"""Data sets whose labels are weakened on purpose: candidate sets, noise, few labels, companions for a bad teacher.

What is drawn for a sample is a hash of the seed and the sample's index, so it is the same on every machine, in every
epoch and worker and after a resume.
"""
from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmpretrain.structures import DataSample

from wsld_plugin.errors import ConfigError, check_choice, check_integer, check_number, did_you_mean, nearest
from wsld_plugin.losses.checks import HIDDEN
from wsld_plugin.registry import DATASETS

from .digits import interleave_classes
from .keyed import DatasetWrapper, SampleKey, key_states, random_below, random_bits


class WeakLabels(DatasetWrapper):
    """Base class: a data set that changes the labels of another one, and nothing else.

    Samples are indexed by an integer or by a `SampleKey`; the weak label depends on the index alone. It can be put
    inside a `KeyedDataset` or around one. The packed sample is changed, so any pipeline is possible.

    Args:
        dataset: a data set of mmpretrain, a wrapper of one, or its config; with ``metainfo['classes']`` and
            ``get_gt_labels()``.

    Raises:
        ConfigError: a data set without these, with fewer than two classes, or whose labels are not one class index
            each; on the first sample, a pipeline that does not pack it.
    """

    def __init__(self, dataset: Any) -> None:
        super().__init__(dataset)
        name, inner = type(self).__name__, type(self.dataset).__name__
        if not hasattr(self.dataset, 'get_gt_labels') or not (getattr(self.dataset, 'metainfo', None) or {}).get(
                'classes'):
            raise ConfigError(f"{name}: {inner} has no get_gt_labels() or no metainfo['classes'], expected a data "
                              "set of mmpretrain; classes can be given to it: metainfo=dict(classes=[...]).")
        self.num_classes = len(self.dataset.metainfo['classes'])
        check_integer(f'{name}: number of classes', self.num_classes, 2)
        self.given_labels = np.asarray(self.dataset.get_gt_labels())
        wrong = (np.flatnonzero((self.given_labels < 0) | (self.given_labels >= self.num_classes))
                 if self.given_labels.dtype.kind in 'iu' and self.given_labels.ndim == 1 else [0])
        if len(wrong):
            raise ConfigError(f'{name}: the label of sample {wrong[0]} of {inner} is {self.given_labels[wrong[0]]}, '
                              f'expected one index of 0 … {self.num_classes - 1}.')

    def __getitem__(self, key: SampleKey | int) -> Any:
        data = self.dataset[key]
        sample = data.get('data_samples') if isinstance(data, dict) else None
        if not isinstance(sample, DataSample):
            raise ConfigError(f'{type(self).__name__}: the pipeline of {type(self.dataset).__name__} returns no '
                              'DataSample; its last transform should be PackInputs.')
        self.relabel(sample, key.index if isinstance(key, SampleKey) else int(key))
        return data

    def relabel(self, sample: DataSample, index: int) -> None:
        """Replace the label of a sample by its weak label, in place."""
        raise NotImplementedError


@DATASETS.register_module()
class NoisyLabels(WeakLabels):
    """A data set with wrong labels, drawn once by (seed, index) or read from a file.

    ::

        symmetric     Pr(ỹ = y) = 1 - rate,    Pr(ỹ = c) = rate/(C - 1) for each c ≠ y
        asymmetric    Pr(ỹ = y) = 1 - rate,    Pr(ỹ = pairs[y]) = rate;    without pairs the next class, (y + 1) mod C

    The rate is the expected share of wrong labels (in the classes of ``pairs``). Where noise is drawn from all C
    classes, as in some papers, a share of 1/C of it is correct by chance.

    Args:
        dataset: the data set, or its config.
        kind: ``'symmetric'``, ``'asymmetric'`` or ``'file'``.
        rate: 0 … 1; None for a file.
        pairs: for ``'asymmetric'``: a dict from the index of a class to that of the class that replaces it; other
            classes keep their labels.
        file: for ``'file'``: one integer for each sample of the data set, in its order: a text file with one integer
            per line, or ``.npy``.
        seed: of the draw; not used for a file.

    Attributes:
        labels: (N,) int64, the ``gt_label`` of the samples.
        given_labels: (N,), the labels of the wrapped data set.
        noise_rate: the share in which the two differ.

    Raises:
        ConfigError: settings that do not fit together, a class that does not exist, a file with another number of
            labels.
        FileNotFoundError: there is no such file.
    """

    def __init__(self, dataset: Any, kind: str = 'symmetric', rate: float | None = None,
                 pairs: Mapping[Any, int] | None = None, file: str | Path | None = None, seed: int = 0) -> None:
        check_choice('NoisyLabels: kind', kind, ('symmetric', 'asymmetric', 'file'))
        for name, value, needed in (('rate', rate, kind != 'file'), ('file', file, kind == 'file')):
            if (value is not None) != needed:
                raise ConfigError(f'NoisyLabels: kind={kind!r} with {name}={value!r}, '
                                  + (f'expected a {name}.' if needed else f'which takes no {name}.'))
        if pairs is not None and (kind != 'asymmetric' or not isinstance(pairs, Mapping)):
            raise ConfigError(f"NoisyLabels: kind={kind!r} with pairs={pairs!r}: kind='asymmetric' takes a dict of "
                              'class indices, such as {3: 5}.')
        if file is None:
            check_number('NoisyLabels: rate', rate, 0, 1)
        read = None if file is None else _read_labels(Path(file).expanduser())
        super().__init__(dataset)
        if read is not None:
            self.labels = self._checked(read, file)
            return
        states, labels = _states(seed, len(self.given_labels)), self.given_labels
        if kind == 'symmetric':
            other = _another_class(states, labels, self.num_classes)
        elif pairs is None:
            other = (labels + 1) % self.num_classes
        else:
            swap = {self._class_index(one): self._class_index(replacement) for one, replacement in pairs.items()}
            other = np.array([swap.get(label, label) for label in range(self.num_classes)])[labels]
        self.labels = np.where(_uniforms(states, 'noise', 1)[:, 0] < rate, other, labels).astype(np.int64)

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

    def _checked(self, labels: np.ndarray, file: Any) -> np.ndarray:
        if labels.dtype.kind not in 'iu' or labels.shape != (len(self),):
            raise ConfigError(f'NoisyLabels: file={str(file)!r} has {labels.dtype} of shape {labels.shape}, '
                              f'expected an integer for each of the {len(self)} samples of the data set.')
        wrong = np.flatnonzero((labels < 0) | (labels >= self.num_classes))
        if len(wrong):
            raise ConfigError(f'NoisyLabels: file={str(file)!r} gives sample {wrong[0]} the label '
                              f'{labels[wrong[0]]}, expected 0 … {self.num_classes - 1}.')
        return labels.astype(np.int64)

    def _class_index(self, given: Any) -> int:
        index = given
        if isinstance(given, str) and given.strip().isdecimal():  # keys given on a command line are text
            index = int(given)
        if isinstance(index, bool) or not isinstance(index, (int, np.integer)) or not 0 <= index < self.num_classes:
            names = list(map(str, self.dataset.metainfo['classes']))
            near = nearest(given, names) if isinstance(given, str) else None
            raise ConfigError(f'NoisyLabels: pairs names class {given!r}, expected an index, '
                              f'0 … {self.num_classes - 1}.' + (f' {near!r} is {names.index(near)}.' if near else ''))
        return int(index)


@DATASETS.register_module()
class PartialLabels(WeakLabels):
    """A data set whose samples have a set of candidate classes instead of a label.

    ::

        Pr(y ∈ S) = 1 - Δ,    Pr(c ∈ S) = γ for each c ≠ y, independently;    soft_label = 1[c ∈ S]/|S|

    An empty set is replaced by one wrong class, drawn uniformly: Δ is unchanged and γ becomes
    γ + Δ (1 - γ)^(C-1) / (C - 1). The sets are drawn once, by (seed, index), and are the same for all runs of a
    config. :class:`wsld_plugin.teachers.GivenTeacher` reads ``data_samples.soft_label`` (C,). ``gt_label`` is -100,
    which a cross entropy ignores.

    Args:
        dataset: the data set, or its config.
        unreliability: Δ, 0 … 1: the share of sets without the label.
        ambiguity: γ, 0 … 1: the share of sets that contain a given wrong class.
        seed: of the draw.

    Attributes:
        candidates: (N, C) bool, the sets.
        given_labels: (N,), the hidden labels.

    Raises:
        ConfigError: a setting out of range, or data without one label each.

    Unreliability and ambiguity: Yuan et al., Learning From Biased Soft Labels, NeurIPS 2023, arXiv 2302.08155.
    """

    def __init__(self, dataset: Any, unreliability: float = 0.0, ambiguity: float = 0.1, seed: int = 0) -> None:
        check_number('PartialLabels: unreliability', unreliability, 0, 1)
        check_number('PartialLabels: ambiguity', ambiguity, 0, 1)
        super().__init__(dataset)
        states, labels = _states(seed, len(self.given_labels)), self.given_labels
        uniforms, own = _uniforms(states, 'candidate', self.num_classes), np.eye(self.num_classes, dtype=bool)[labels]
        self.candidates = np.where(own, uniforms >= unreliability, uniforms < ambiguity)
        empty = ~self.candidates.any(1)
        self.candidates[empty, _another_class(states, labels, self.num_classes)[empty]] = True

    def relabel(self, sample: DataSample, index: int) -> None:
        """Set ``soft_label`` and hide the label."""
        candidates = self.candidates[index].astype(np.float32)
        sample.set_field(torch.from_numpy(candidates / candidates.sum()), 'soft_label')
        sample.set_gt_label(HIDDEN)


@DATASETS.register_module()
class FewLabels(WeakLabels):
    """A data set of which only ``num_labels`` samples keep their labels, equally many of each class.

    The ``gt_label`` of the others is -100, which a cross entropy ignores: only soft labels are learned from them. The
    hard loss still divides by all N samples of a batch, so its weight shrinks with the share of labels. Losses that
    need every label, such as `WSLD`, reject such a batch; `KD` needs none. The seed determines the labelled samples.

    Args:
        dataset: the data set, or its config.
        num_labels: how many are labelled; at least the number of classes.
        rest: False: the data set is the labelled samples alone, to train the first teacher on.
        seed: of the draw.

    Attributes:
        labelled: (N,) bool, of the wrapped data set's samples.
        places: the indices of this data set's samples in the wrapped one.

    Raises:
        ConfigError: more labels than samples, or fewer than classes.
    """

    def __init__(self, dataset: Any, num_labels: int, rest: bool = True, seed: int = 0) -> None:
        super().__init__(dataset)
        check_integer('FewLabels: num_labels', num_labels, self.num_classes, len(self.given_labels))
        order = np.argsort(_uniforms(_states(seed, len(self.given_labels)), 'order', 1)[:, 0], kind='stable')
        chosen = order[interleave_classes(self.given_labels[order])][:num_labels]
        self.labelled = np.zeros(len(self.given_labels), dtype=bool)
        self.labelled[chosen] = True
        self.places = np.arange(len(self.given_labels)) if rest else np.sort(chosen)

    def get_gt_labels(self) -> np.ndarray:
        """The labels, -100 where there is none."""
        return np.where(self.labelled, self.given_labels, HIDDEN)[self.places]

    def __getitem__(self, key: SampleKey | int) -> Any:
        if not isinstance(key, SampleKey):
            return super().__getitem__(int(self.places[key]))
        data = super().__getitem__(key._replace(index=int(self.places[key.index])))
        # a KeyedDataset inside stored the index there; a cache of soft labels counts the samples of this data set
        data['data_samples'].set_field(key, 'sample_key', field_type='metainfo')
        return data

    def __len__(self) -> int:
        return len(self.places)

    def relabel(self, sample: DataSample, index: int) -> None:
        """Hide the label of an unlabelled sample."""
        if not self.labelled[index]:
            sample.set_gt_label(HIDDEN)


@DATASETS.register_module()
class Companions(WeakLabels):
    """A data set that gives :class:`wsld_plugin.losses.BadTeacherLoss` the wrong classes to rank above the label.

    Each sample has k - 1 of the C - 1 wrong classes, every choice with the same probability, drawn once by (seed,
    index). They are stored as a target of probabilities, ``gt_score`` (C,): 2/(k + 1) for the label, 1/(k + 1) for
    each companion, 0 for the other classes. A teacher whose first k classes are such a set has Δ_k = 0 and
    γ_k = (k - 1)/(C - 1), the smallest γ_k for Δ_k = 0 and k classes.

    Args:
        dataset: the data set, or its config.
        k: 2 … C.
        seed: of the draw.

    Attributes:
        companions: (N, C) bool.

    Raises:
        ConfigError: a k that is not in 2 … C.
    """

    def __init__(self, dataset: Any, k: int = 3, seed: int = 0) -> None:
        super().__init__(dataset)
        check_integer('Companions: k', k, 2, self.num_classes)
        self.k = k
        self.companions = companion_sets(self.given_labels, self.num_classes, k - 1, seed)

    def relabel(self, sample: DataSample, index: int) -> None:
        """Set ``gt_score``."""
        score = self.companions[index].astype(np.float32)
        score[self.given_labels[index]] = 2
        sample.set_gt_score(torch.from_numpy(score / (self.k + 1)))


def companion_sets(labels: np.ndarray, num_classes: int, count: int, seed: int) -> np.ndarray:
    """For each sample ``count`` different wrong classes, every choice with the same probability; (N, C) bool."""
    uniforms = _uniforms(_states(seed, len(labels)), 'companion', num_classes)
    uniforms[np.arange(len(labels)), labels] = np.inf
    sets = np.zeros(uniforms.shape, dtype=bool)
    np.put_along_axis(sets, np.argsort(uniforms, 1, kind='stable')[:, :count], True, 1)
    return sets


def measure(sets: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Unreliability and ambiguity of sets of classes: Δ = Pr(y ∉ S) and γ = max_c Pr(c ∈ S | y ≠ c).

    As `BiasedLabelStatistics` defines them, with sets of any size instead of the k largest classes.

    Args:
        sets: S (N, C) bool.
        labels: y (N,), of at least two classes.

    >>> measure(np.array([[True, True], [False, True]]), np.array([0, 1]))
    (0.0, 1.0)
    """
    missing = ~sets[np.arange(len(labels)), labels]
    return float(missing.mean()), max(float(column[labels != c].mean()) for c, column in enumerate(sets.T))


def _states(seed: int, count: int) -> np.ndarray:
    return key_states(np.stack([np.full(count, seed), np.arange(count)], 1))


def _uniforms(states: np.ndarray, purpose: str, columns: int) -> np.ndarray:
    """(N, columns) in [0, 1)."""
    return np.stack([random_bits(states, f'{purpose} {column}') for column in range(columns)], 1) / 2.0**32


def _another_class(states: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    other = random_below(states, 'another class', num_classes - 1)
    return other + (other >= labels)


def _read_labels(path: Path) -> np.ndarray:
    if path.is_dir():
        raise ConfigError(f'NoisyLabels: file={str(path)!r} is a folder, expected a text file with one label per '
                          'line, or .npy.')
    if not path.is_file():
        beside = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
        raise FileNotFoundError(f'NoisyLabels: there is no file={str(path)!r}.{did_you_mean(path.name, beside)}')
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', UserWarning)  # about a file without numbers, which has a wrong shape
            labels = np.load(path) if path.suffix == '.npy' else np.loadtxt(path, dtype=np.int64, ndmin=1)
    except (ValueError, EOFError) as error:
        raise ConfigError(f'NoisyLabels: file={str(path)!r} cannot be read as integers: {error}.') from error
    return labels
