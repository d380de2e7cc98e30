"""Where packed data sets come from: CIFAR, folders of images, any data set of a config."""
from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from mmengine import registry as root
from mmengine.fileio import get as read_file
from mmengine.registry import DefaultScope
from PIL import Image, ImageOps

from wsld_plugin.config.load import load_config
from wsld_plugin.errors import ConfigError, did_you_mean

from .packing import Source

_SPLITS = ('train', 'val', 'test')
_AHEAD = 256  # images decoded side by side: bounds the memory


def cifar(name: str, download_root: Path) -> dict[str, Source]:
    """CIFAR-10 or CIFAR-100 (Krizhevsky, 2009), fine labels, in the official order: ``train`` and ``test``.

    torchvision downloads it into ``download_root`` unless it is there, and checks its MD5.

    Args:
        name: ``'cifar10'`` or ``'cifar100'``.
        download_root: folder of ``cifar-100-python`` or ``cifar-10-batches-py``, or where it shall be.

    Raises:
        ConfigError: it is not there and cannot be downloaded.
    """
    from torchvision.datasets import CIFAR10, CIFAR100
    kind = {'cifar10': CIFAR10, 'cifar100': CIFAR100}[name]
    found = {}
    for split in ('train', 'test'):
        try:
            data = kind(str(download_root), train=split == 'train', download=True)
        except (OSError, RuntimeError) as error:
            raise ConfigError(f'{name} could not be downloaded ({error}). Put {kind.filename} from {kind.url} into '
                              f'{download_root} and run this again.') from None
        found[split] = Source(data.classes, len(data.data), zip(data.data, data.targets, strict=True))
    return found


def image_folder(source: Path, size: int, split: str | None = None) -> dict[str, Source]:
    """Class folders of images, each image in RGB, its short side scaled to ``size`` and the centre cut out.

    Classes are the names of the sub-folders, sorted; images come sorted by their paths. Images are scaled with
    Pillow's bicubic filter, which smooths as it shrinks.

    Args:
        source: holds ``train``, ``val`` or ``test`` with class folders in each, or the class folders themselves.
        size: height and width in pixels.
        split: the name of the split where ``source`` holds class folders; default ``'train'``.

    Raises:
        ConfigError: no such folder, or no image in it.
    """
    from mmpretrain.datasets import CustomDataset
    if not source.is_dir():
        raise ConfigError(f'{source} is not a folder. Expected class folders of images, or train/, val/ and test/ '
                          'with class folders in each.')
    inside = [name for name in _SPLITS if (source / name).is_dir()]
    folders = {name: source / name for name in inside} if inside and split is None else {split or 'train': source}
    found = {}
    for name, folder in folders.items():
        try:
            data = CustomDataset(data_root=str(folder))
        except (RuntimeError, AssertionError, FileNotFoundError) as error:
            raise ConfigError(f'{folder} holds no class folders of images ({str(error).splitlines()[0]}).') from None
        found[name] = _of_dataset(data, size)
    return found


def config_datasets(config: str, splits: Sequence[str], size: int | None = None) -> dict[str, Source]:
    """The data sets of a config's loaders, without their pipelines.

    A sample is read from ``img_path``, or is the data set's own ``img``, which counts as RGB, as in mmpretrain's
    CIFAR; a grey one becomes three equal channels.

    Args:
        config: a config file.
        splits: of ``train``, ``val`` and ``test``: each packs the data set of that loader.
        size: as for `image_folder`; None: the images have one size already.

    Raises:
        ConfigError: a loader or data set that is not there, or one without single labels.
    """
    cfg = load_config(config)
    found = {}
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmpretrain')):
        for split in splits:
            loader = cfg.get(f'{split}_dataloader')
            if split not in _SPLITS or not loader:
                raise ConfigError(f'{config} has no {split}_dataloader.{did_you_mean(split, _SPLITS)}')
            found[split] = _of_dataset(root.DATASETS.build(loader['dataset']), size)
    return found


def _of_dataset(data: Any, size: int | None) -> Source:
    name, classes = type(data).__name__, data.metainfo.get('classes')
    if not classes:
        raise ConfigError(f'{name} does not name its classes: give it metainfo=dict(classes=[...]).')

    def sample(index: int) -> tuple[np.ndarray, int]:
        info = data.get_data_info(index)
        if not isinstance(info.get('gt_label'), (int, np.integer)):
            raise ConfigError(f'{name}: sample {index} has gt_label={info.get("gt_label")!r}, expected one label.')
        image = _image_of(info, f'sample {index} of {name}')
        if getattr(data, 'channel_order', 'rgb') == 'bgr':
            image = image[..., ::-1]
        return _fit(image, size), int(info['gt_label'])

    return Source(classes, len(data), _side_by_side(sample, len(data)))


def _image_of(info: dict[str, Any], name: str) -> np.ndarray:
    """An image (H, W, 3) uint8, RGB."""
    if 'img' not in info:
        return _decode(info['img_path'])
    image = np.asarray(info['img'])
    image = image[..., None] if image.ndim == 2 else image
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] not in (1, 3):
        raise ConfigError(f'{name} is {image.dtype} {image.shape}, expected uint8 (H, W), (H, W, 1) or (H, W, 3).')
    return np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image


def _decode(path: str) -> np.ndarray:
    try:
        image = Image.open(io.BytesIO(read_file(path)))
        if image.mode[0] in 'IF':  # Pillow would cut off the upper bits
            raise ValueError(f'its pixels have more than 8 bits, mode {image.mode}')
        return np.asarray(ImageOps.exif_transpose(image).convert('RGB'))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ConfigError(f'{path} cannot be decoded ({error}): mend it or take it away.') from None


def _fit(image: np.ndarray, size: int | None) -> np.ndarray:
    if size is None or image.shape[:2] == (size, size):
        return image
    return np.asarray(ImageOps.fit(Image.fromarray(image), (size, size), Image.Resampling.BICUBIC))


def _side_by_side(make: Callable[[int], Any], count: int) -> Iterator[Any]:
    """``make(0) … make(count - 1)`` in order, computed by several threads: Pillow decodes without the GIL."""
    with ThreadPoolExecutor() as threads:
        for start in range(0, count, _AHEAD):
            yield from threads.map(make, range(start, min(start + _AHEAD, count)))
