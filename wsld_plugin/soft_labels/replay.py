"""Whether the soft labels of a cache are those that the teacher gives now."""
from __future__ import annotations

import numpy as np
import torch

from wsld_plugin.datasets.keyed import SampleKey
from wsld_plugin.datasets.packed import file_hash
from wsld_plugin.errors import ConfigError

from .header import RECORDS
from .reader import SoftLabels
from .records import log_tail
from .source import Source

# Rounding to float16, other batches and TF32 move a log-probability by less; another crop moves many by more.
_ABSOLUTE, _RELATIVE = 0.02, 0.01


def replay(labels: SoftLabels, source: Source, count: int) -> float:
    """Compute ``count`` entries again, drawn at random, each with the augmentation of its view.

    Returns:
        The largest difference of a log-probability or cross entropy, in nats.

    Raises:
        ConfigError: one differs by more than 0.02 + 1 % of its value.
    """
    header = labels.header
    entries = np.random.default_rng().integers(header.views * header.num_samples, size=count)
    keys = [SampleKey(header.seed, *map(int, divmod(entry, header.num_samples))) for entry in entries]
    cached, largest, place = labels.rows(keys), 0.0, 0
    for logits, target in source(keys):
        rows = cached[place:place + len(logits)]
        have, live = _values(rows), _live_values(logits, target, rows, header.tau)
        difference = (have - live).abs()
        for row in (difference > _ABSOLUTE + _RELATIVE * live.abs()).any(1).nonzero()[:1, 0].tolist():
            key, column = keys[place + row], int(difference[row].argmax())
            raise ConfigError(
                f'{labels.folder}: the soft label of sample {key.index} in view {key.epoch} is not what the teacher '
                f'gives: {have[row, column]:.4f} in the cache, {live[row, column]:.4f} now. The images, their '
                'augmentation or the libraries have changed: remove the folder and make the cache anew.')
        largest = max(largest, float(difference.max()))
        place += len(logits)
    return largest


def check_bytes(labels: SoftLabels) -> None:
    """Compute the SHA-256 of the records again.

    Raises:
        ConfigError: they are not those that were written.
    """
    if file_hash(labels.folder / RECORDS) != labels.sha256:
        raise ConfigError(f'{labels.folder / RECORDS} is damaged, its SHA-256 is not that of the header: remove the '
                          'folder and make the cache anew.')


def _values(rows: np.ndarray) -> torch.Tensor:
    columns = [rows['log_probs'], rows['teacher_ce'][:, None]]
    if 'lse_tail' in (rows.dtype.names or ()):
        columns.append(rows['lse_tail'][:, None])
    return torch.from_numpy(np.concatenate(columns, axis=1, dtype=np.float64))


def _live_values(logits: torch.Tensor, target: torch.Tensor, rows: np.ndarray, tau: float | None) -> torch.Tensor:
    """The same of logits, for the classes that the rows have."""
    log_probs = logits.cpu().double().log_softmax(1)
    columns = [log_probs, -log_probs.gather(1, target.cpu()[:, None])]
    if tau is not None:
        classes = torch.from_numpy(rows['classes'].astype(np.int64))
        columns[0] = log_probs.gather(1, classes)
        columns.append(log_tail(log_probs, classes, tau)[:, None])
    return torch.cat([columns[0].clamp(min=float(np.finfo(np.float16).min)), *columns[1:]], dim=1)
