"""Packed folders and loaders that several tests need."""
from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, DefaultScope
from mmengine.runner import Runner

from wsld_plugin.datasets.packing import Source, pack

CLASSES = [f'class {label}' for label in range(10)]
AUGMENTED = [dict(type='mmpretrain.RandomCrop', crop_size=8, padding=2),
             dict(type='mmpretrain.RandomFlip', prob=0.5, direction='horizontal'),
             dict(type='mmpretrain.RandAugment', policies='timm_increasing', num_policies=2, magnitude_level=9),
             dict(type='mmpretrain.ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, backend='cv2'),
             dict(type='mmpretrain.PackInputs')]


def arrays(n: int = 24, size: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, size, size, 3) uint8 and labels (n,) of ten classes."""
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (n, size, size, 3), dtype=np.uint8), np.arange(n) % len(CLASSES)


def source(n: int = 24, size: int = 8, seed: int = 0) -> Source:
    """The arrays, as something to be packed."""
    images, labels = arrays(n, size, seed)
    return Source(CLASSES, n, zip(images, labels.tolist(), strict=True))


def make_pack(out: Path, **splits: int) -> Path:
    """A packed folder with so many samples in each split, 24 in ``train`` by default."""
    pack(out, {name: source(n) for name, n in (splits or dict(train=24)).items()})
    return out


def keyed_loader(root: Path, *, workers: int = 0, epoch: int = 0, seed: int = 0, batch: int = 4) -> Any:
    """A loader of augmented samples, built as a Runner builds it."""
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        loader = Runner.build_dataloader(dict(
            batch_size=batch, num_workers=workers,
            dataset=dict(type='wsld_plugin.KeyedDataset', dataset=dict(
                type='wsld_plugin.PackedDataset', data_root=str(root), pipeline=AUGMENTED)),
            sampler=dict(type='wsld_plugin.KeyedSampler', sampler=dict(type='DefaultSampler', shuffle=True))),
            seed=seed)
    loader.sampler.set_epoch(epoch)
    return loader


def digests(batches: Any) -> dict[tuple[int, ...], str]:
    """The pixels of every sample, by its key."""
    return {tuple(sample.sample_key): hashlib.sha256(image.numpy().tobytes()).hexdigest()
            for batch in batches for image, sample in zip(batch['inputs'], batch['data_samples'], strict=True)}


@HOOKS.register_module()
class RecordPixels(Hook):
    """Every rank writes a line ``epoch index digest`` for each sample that it trains on into ``folder``."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f'rank{runner.rank}.txt').open('a') as file:
            for key, digest in digests([data_batch]).items():
                file.write(f'{key[1]} {key[2]} {digest}\n')


def recorded(folder: Path) -> dict[tuple[int, int], set[str]]:
    """What `RecordPixels` wrote: the digests by (epoch, index)."""
    found: dict[tuple[int, int], set[str]] = {}
    for path in folder.glob('rank*.txt'):
        for line in path.read_text().splitlines():
            epoch, index, digest = line.split()
            found.setdefault((int(epoch), int(index)), set()).add(digest)
    return found
