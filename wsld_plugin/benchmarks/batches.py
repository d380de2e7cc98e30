"""Random batches of the form that a config's data loader gives."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, FUNCTIONS
from mmpretrain.structures import DataSample

from wsld_plugin.errors import ConfigError

# Arguments of mmcv's, mmpretrain's and torchvision's transforms that set the size of what comes out.
_SIZES = ('crop_size', 'scale', 'size')


def image_size(cfg: Config) -> int:
    """The side of a training image in pixels: what the last resizing transform makes, else the data set's own.

    Raises:
        ConfigError: neither tells a square size.
    """
    dataset = cfg.train_dataloader.dataset
    sides = [side for transform in _pipeline(dataset) for key in _SIZES if (side := _side(transform.get(key)))]
    if sides:
        return sides[-1]
    try:
        height, width = DATASETS.build(dataset)[0]['inputs'].shape[-2:]
    except (ConfigError, OSError) as error:
        raise ConfigError(f'{cfg.filename}: its train pipeline names no size, and the data set that would tell it '
                          f'cannot be read: {error} Give --image-size.') from None
    if height != width:
        raise ConfigError(f'{cfg.filename}: its images are {height} × {width}; give --image-size for square ones.')
    return height


def random_batch(size: int, shape: tuple[int, int, int], num_classes: int, collate: Callable, seed: int = 0) -> Any:
    """A batch of noise with labels, on the CPU.

    Args:
        size: N.
        shape: channels, height, width of each image, uint8.
        num_classes: labels are drawn from 0 … num_classes - 1.
        collate: what makes a batch of the samples; see :func:`collate_of`.
        seed: equal seeds and sizes give equal batches.
    """
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (size, *shape), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, num_classes, (size,), generator=generator).tolist()
    return collate([dict(inputs=image, data_samples=DataSample().set_gt_label(label))
                    for image, label in zip(images, labels, strict=True)])


def collate_of(cfg: Config) -> Callable:
    """The collate function of a config's training loader, found as mmengine's Runner does.

    It counts: mmengine's default leaves the images apart, and the model stacks them in every step.
    """
    chosen = cfg.train_dataloader.get('collate_fn', dict(type='pseudo_collate'))
    if not isinstance(chosen, Mapping):
        return chosen
    arguments = {key: value for key, value in chosen.items() if key != 'type'}
    kind = chosen['type']
    return partial(FUNCTIONS.get(kind) if isinstance(kind, str) else kind, **arguments)


def _pipeline(dataset: Any) -> list[Mapping[str, Any]]:
    """Of the data set, or of the one inside its wrappers."""
    while isinstance(dataset, Mapping):
        if dataset.get('pipeline'):
            return list(dataset['pipeline'])
        inside = dataset.get('dataset') or dataset.get('datasets')
        dataset = inside[0] if isinstance(inside, (list, tuple)) else inside
    return []


def _side(value: Any) -> int | None:
    if isinstance(value, (list, tuple)) and len(set(value)) == 1:
        value = value[0]
    return value if isinstance(value, int) and value > 0 else None
