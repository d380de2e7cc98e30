"""A data set from two arrays on disk: no decoding, and no copy for each worker."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import force_full_init
from mmpretrain.datasets import BaseDataset

from wsld_plugin.errors import ConfigError, did_you_mean
from wsld_plugin.registry import DATASETS

from .pack_format import Pack

_ORDERS = ('rgb', 'bgr')


@DATASETS.register_module()
class PackedDataset(BaseDataset):
    """Images of one size in one array, as ``tools/pack_dataset.py`` writes them.

    ``data_root/split`` holds ``images.npy`` (N, H, W, 3) uint8 in RGB, ``labels.npy`` (N,) int64 and ``meta.json``
    with the names of the classes. The images are mapped, not loaded: workers and ranks share the pages of one
    file. A sample is ``img`` (H, W, 3) uint8, a copy that transforms may write to, and ``gt_label``.

    The files' existence, types, shapes, lengths and the range of the labels are checked on opening, their SHA-256
    only by ``tools/pack_dataset.py verify``.

    Args:
        data_root: the packed folder.
        split: its sub-folder, ``'train'``, ``'test'``, …
        num_samples: take only the first ``num_samples``; None: all. ``indices`` counts within them.
        channel_order: ``'rgb'`` hands images out as stored, as mmpretrain's own CIFAR sets do: for a
            ``data_preprocessor`` with ``to_rgb=False`` and an RGB mean. ``'bgr'`` reverses the channels, as
            ``LoadImageFromFile`` gives them: for one with ``to_rgb=True``, such as mmpretrain's ImageNet configs.
            The wrong one trains a network on swapped colours, without any other sign.
        **kwargs: as for any mmpretrain data set (``pipeline``, ``test_mode``, ``classes``, …).

    Raises:
        ConfigError: a folder or file that is missing, damaged or half-written, by its name; an unknown
            ``channel_order``; a ``num_samples`` that the split does not have; other than one name a class.
    """

    def __init__(self, data_root: str, split: str = 'train', num_samples: int | None = None,
                 channel_order: str = 'rgb', **kwargs: Any) -> None:
        if channel_order not in _ORDERS:
            raise ConfigError(f'PackedDataset(channel_order={channel_order!r}), expected one of {", ".join(_ORDERS)}.'
                              + did_you_mean(str(channel_order), _ORDERS))
        self.split = split
        self.num_samples = num_samples
        self.channel_order = channel_order
        kwargs.setdefault('ann_file', '')
        # a sample is a place in the arrays: nothing to serialise
        super().__init__(data_root=data_root, **{**kwargs, 'serialize_data': False})

    def load_data_list(self) -> range:
        """The places of the samples in the arrays."""
        self.pack = Pack(Path(self.data_root).expanduser() / self.split)
        count, known = len(self.pack.labels), self.pack.meta.classes
        if len(self._metainfo.setdefault('classes', known)) != len(known):
            raise ConfigError(f'PackedDataset(classes=…) names {len(self._metainfo["classes"])} classes, but '
                              f'{self.pack.folder} has {len(known)}.')
        if self.num_samples is not None and not 0 < self.num_samples <= count:
            raise ConfigError(f'PackedDataset(split={self.split!r}, num_samples={self.num_samples}), expected 1 … '
                              f'{count}.')
        return range(count)[:self.num_samples]

    @force_full_init
    def get_data_info(self, idx: int) -> dict[str, Any]:
        """The sample before the pipeline."""
        row = self.data_list[idx]
        image = self.pack.images[row]
        return dict(img=image.copy() if self.channel_order == 'rgb' else np.ascontiguousarray(image[..., ::-1]),
                    gt_label=int(self.pack.labels[row]), sample_idx=idx if idx >= 0 else len(self) + idx)

    @force_full_init
    def get_gt_labels(self) -> np.ndarray:
        """The labels (N,), without reading an image."""
        return self.pack.labels[np.asarray(self.data_list, dtype=np.int64)]

    @force_full_init
    def get_cat_ids(self, idx: int) -> list[int]:
        """The label of one sample, without reading its image."""
        return [int(self.pack.labels[self.data_list[idx]])]

    def extra_repr(self) -> list[str]:
        """The folder and the channel order."""
        return [f'Packed folder: \t{Path(self.data_root) / self.split}', f'Channel order: \t{self.channel_order}']
