"""What a training pipeline is given, and the pipelines that are compared."""
from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import DATASETS, TRANSFORMS, DefaultScope

from wsld_plugin.datasets.transforms import partial_decode
from wsld_plugin.engine.decoding import data_sets_with_pipeline, use_scaled_decoding
from wsld_plugin.errors import ConfigError

from .step import scope_of

_SUFFIXES = {'.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.webp'}
AS_IT_IS, EXACT, SCALED = 'as it is', 'same pixels', 'scaled'


def samples_of(cfg: Config, images: str | Path | None, most: int) -> list[dict[str, Any]]:
    """What the pipeline of a config is given.

    Args:
        cfg: with a ``train_dataloader``.
        images: a folder, with its sub-folders; None: the config's own data set.
        most: of more than these, as many are taken at equal distances.

    Raises:
        ConfigError: a folder without images; a data set that cannot be read.
    """
    if images is not None:
        paths = sorted(path for path in Path(images).rglob('*') if path.suffix.lower() in _SUFFIXES)
        if not paths:
            raise ConfigError(f'--images {images}: there is no image in it, nor in its sub-folders.')
        return [dict(img_path=str(path), gt_label=0) for path in _spread(paths, most)]
    where, dataset = _first_data_set(cfg)
    with DefaultScope.overwrite_default_scope(scope_of(cfg)):
        try:
            built = DATASETS.build(dict(copy.deepcopy(dataset), pipeline=[]))
        except (ConfigError, OSError) as error:
            raise ConfigError(f'{where} cannot be read: {error} Give --images.') from None
        return [built.get_data_info(index) for index in _spread(range(len(built)), most)]


def pipelines_of(cfg: Config) -> dict[str, Compose]:
    """The training pipeline of a config by name: as it is, with the same pixels sooner, and scaled.

    The second only where `simplejpeg` is installed.

    Raises:
        ConfigError: a pipeline that is left as it is, with the reason.
    """
    cfgs = {AS_IT_IS: cfg}
    for name, exact in ((EXACT, True), (SCALED, False)):
        if exact and partial_decode.SIMPLEJPEG is None:
            continue
        changed = copy.deepcopy(cfg)
        told = use_scaled_decoding(changed, exact)[0]
        if 'left as it is' in told:
            raise ConfigError(f'there is nothing to compare. {told}')
        cfgs[name] = changed
    with DefaultScope.overwrite_default_scope(scope_of(cfg)):
        return {name: Compose([TRANSFORMS.build(transform) for transform in _first_data_set(each)[1]['pipeline']])
                for name, each in cfgs.items()}


def _first_data_set(cfg: Config) -> tuple[str, Any]:
    found = next(data_sets_with_pipeline(cfg.get('train_dataloader'), 'train_dataloader'), None)
    if found is None:
        raise ConfigError(f'{cfg.filename}: no data set of its train_dataloader has a pipeline.')
    return found


def _spread(items: Sequence[Any], most: int) -> list[Any]:
    count = min(len(items), most)
    return [items[index * len(items) // count] for index in range(count)]
