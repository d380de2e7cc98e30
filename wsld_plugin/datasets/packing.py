"""Writing, adopting and verifying packed folders: CIFAR, folders of images, any data set of a config."""
from __future__ import annotations

import errno
import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine import registry as root
from mmengine.config import Config
from mmengine.fileio import get as read_file
from mmengine.registry import DefaultScope
from PIL import Image, ImageOps

from wsld_plugin.checksums import file_hash
from wsld_plugin.errors import ConfigError, did_you_mean
from wsld_plugin.files import locked

from .packed import IMAGES, LABELS, META, Pack, check_labels, is_names, open_array, write_meta

_SPLITS = ('train', 'val', 'test')
_AHEAD = 256  # images decoded in parallel: bounds the memory


@dataclass(frozen=True)
class Source:
    """A split to be packed: names of the classes, number of samples, and the samples in order.

    A sample is an image (H, W, 3) uint8 in RGB, all with the same H and W, and its label.
    """

    classes: Sequence[str]
    count: int
    samples: Iterable[tuple[np.ndarray, int]]


def cifar(name: str, download_root: Path) -> dict[str, Source]:
    """CIFAR-10 or CIFAR-100 (Krizhevsky, 2009), fine labels, in the official order: ``train`` and ``test``.

    torchvision downloads it into ``download_root`` if it is missing, and checks its MD5.

    Args:
        name: ``'cifar10'`` or ``'cifar100'``.
        download_root: parent folder of ``cifar-100-python`` or ``cifar-10-batches-py``.

    Raises:
        ConfigError: it is missing and cannot be downloaded.
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

    Classes are the names of the sub-folders, sorted; images are sorted by their paths, and scaled with Pillow's
    antialiased bicubic filter.

    Args:
        source: has ``train``, ``val`` or ``test`` with class folders in each, or is a folder of class folders.
        size: height and width in pixels.
        split: the name of the split if ``source`` is a folder of class folders; default ``'train'``.

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
            raise ConfigError(f'{folder} has no class folders of images ({str(error).splitlines()[0]}).') from None
        found[name] = _of_dataset(data, size)
    return found


def config_datasets(cfg: Config, splits: Sequence[str], size: int | None = None) -> dict[str, Source]:
    """The data sets of a config's loaders, without their pipelines.

    A sample is read from ``img_path``, or is the data set's own ``img``, which counts as RGB, as in mmpretrain's
    CIFAR sets; a grey image gets three equal channels.

    Args:
        cfg: a whole config.
        splits: of ``train``, ``val`` and ``test``: each packs the data set of that loader.
        size: as for `image_folder`; None: all images have one size already.

    Raises:
        ConfigError: a loader or data set that does not exist, or samples without exactly one label.
    """
    found = {}
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmpretrain')):
        for split in splits:
            loader = cfg.get(f'{split}_dataloader')
            if split not in _SPLITS or not loader:
                raise ConfigError(f'{cfg.filename or "the config"} has no {split}_dataloader.'
                                  + did_you_mean(split, _SPLITS))
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
        image = _array(info['img'], f'sample {index} of {name}') if 'img' in info else _decode(info['img_path'])
        if getattr(data, 'channel_order', 'rgb') == 'bgr':
            image = image[..., ::-1]
        if size is not None and image.shape[:2] != (size, size):
            image = np.asarray(ImageOps.fit(Image.fromarray(image), (size, size), Image.Resampling.BICUBIC))
        return image, int(info['gt_label'])

    def in_order() -> Iterator[tuple[np.ndarray, int]]:
        with ThreadPoolExecutor() as threads:  # Pillow decodes without the GIL
            for start in range(0, len(data), _AHEAD):
                yield from threads.map(sample, range(start, min(start + _AHEAD, len(data))))

    return Source(classes, len(data), in_order())


def _array(image: Any, name: str) -> np.ndarray:
    """An image in memory as (H, W, 3)."""
    image = np.asarray(image)
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
        raise ConfigError(f'{path} cannot be decoded ({error}). Repair or remove it.') from None


def pack(out: Path, sources: Mapping[str, Source]) -> None:
    """Write ``out/<split>`` for every source; all of them or none.

    The arrays are written one image at a time into ``out/.partial`` and renamed when all are complete. The next run
    removes what an interrupted one left there. The same source gives the same bytes.

    Raises:
        ConfigError: a split exists already, the sources have different classes, an image has another size, or the
            disk is full.
    """
    for split in sources:
        if (out / split).exists():
            raise ConfigError(f'{out / split} exists and is not overwritten: remove it first.')
    first = next(iter(sources.values())).classes
    for split, source in sources.items():
        if list(source.classes) != list(first):
            differ = sorted(set(source.classes) ^ set(first))
            raise ConfigError(f'{split} has other classes than {next(iter(sources))}: '
                              f'{", ".join(differ[:6]) or "the same in another order"}.')
    with _partial_folder(out) as partial:
        for split, source in sources.items():
            _write_split(partial / split, source)
        for split in sources:
            os.rename(partial / split, out / split)


@contextmanager
def _partial_folder(out: Path) -> Iterator[Path]:
    """A locked and empty ``out/.partial``, removed on exit; ``out`` too if it stayed empty."""
    partial = out / '.partial'
    with locked(partial / 'lock') as owner:
        if owner is not None:
            raise ConfigError(f'{partial}: another process is packing there.')
        for left in partial.glob('*/'):
            shutil.rmtree(left)
        try:
            yield partial
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            raise ConfigError(f'{out}: no space for the packed data set ({error.strerror}). Nothing was kept; free '
                              'some space, or pack into another folder.') from None
        finally:
            shutil.rmtree(partial)
            if not any(out.iterdir()):
                out.rmdir()


def _write_split(folder: Path, source: Source) -> None:
    folder.mkdir()
    labels: list[int] = []
    shape: tuple[int, ...] = ()
    # a plain file: writing to a mapped one when the disk is full kills the process
    with (folder / IMAGES).open('wb') as file:
        for image, label in source.samples:
            if not labels:
                shape = image.shape
                needed, free = source.count * image.size, shutil.disk_usage(folder).free
                if needed > free:
                    raise ConfigError(f'{folder.parent.parent} has {free / 1e6:,.1f} MB free, but {folder.name} '
                                      f'needs {needed / 1e6:,.1f} MB.')
                np.lib.format.write_array_header_1_0(file, dict(descr='|u1', fortran_order=False,
                                                                shape=(source.count, *shape)))
            if image.shape != shape or image.dtype != np.uint8:
                raise ConfigError(f'sample {len(labels)} is {image.dtype} {image.shape}, the first one {shape}: a '
                                  'packed data set has uint8 images of one size. Give --size.')
            file.write(np.ascontiguousarray(image).data)
            labels.append(label)
    if len(labels) != source.count:
        raise ConfigError(f'{folder.name}: expected {source.count} samples, found {len(labels)}.')
    np.save(folder / LABELS, np.array(labels, dtype=np.int64))
    check_labels(folder / LABELS, np.array(labels), len(source.classes))
    for name in (IMAGES, LABELS):
        with (folder / name).open('rb') as file:
            os.fsync(file.fileno())
    write_meta(folder, source.classes, (source.count, *shape))


def adopt(folder: Path, classes_file: Path) -> None:
    """Complete a folder with ``images.npy`` and ``labels.npy`` to a packed split: only ``meta.json`` is written.

    Args:
        folder: with images (N, H, W, 3) uint8 in RGB and labels (N,) int64.
        classes_file: JSON, the list of names, label 0 first.

    Raises:
        ConfigError: an invalid list, other arrays, labels outside the classes, or a folder that is packed already.
    """
    if (folder / META).exists():
        raise ConfigError(f'{folder} has a {META} already: check it with `python tools/pack_dataset.py verify '
                          f'{folder}`.')
    try:
        classes = json.loads(classes_file.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise ConfigError(f'{classes_file} cannot be read ({error}).') from None
    if not is_names(classes):
        raise ConfigError(f'{classes_file} must be a list of names, label 0 first: ["apple", "bear"].')
    advice = f'Nothing was changed. Name the folder of one split, and correct its arrays or {classes_file}.'
    images = open_array(folder / IMAGES, np.uint8, advice=advice)
    if images.ndim != 4 or images.shape[-1] != 3 or 0 in images.shape:
        raise ConfigError(f'{folder / IMAGES} has the shape {images.shape}, expected (N, H, W, 3).')
    check_labels(folder / LABELS, open_array(folder / LABELS, np.int64, images.shape[:1], advice), len(classes),
                 advice)
    write_meta(folder, classes, images.shape)


def open_splits(folder: Path) -> list[Pack]:
    """Every split in ``folder``, or the split that ``folder`` is.

    Raises:
        ConfigError: there is none, or one is damaged.
    """
    inside = sorted(path.parent for path in folder.glob(f'[!.]*/{META}')) if folder.is_dir() else []
    return [Pack(split) for split in ([folder] if (folder / META).exists() else inside or [folder])]


def verify(folder: Path) -> list[Pack]:
    """As :func:`open_splits`, with the SHA-256 of every file compared.

    Raises:
        ConfigError: with every file whose bytes differ from those that were packed.
    """
    splits = open_splits(folder)
    wrong = [str(split.folder / name) for split in splits for name in (IMAGES, LABELS)
             if file_hash(split.folder / name) != split.meta['sha256'].get(name)]
    if wrong:
        raise ConfigError(f'{", ".join(wrong)}: damaged, the SHA-256 is not that of {META}. Remove the folder and '
                          'pack it again.')
    return splits
