"""The switch to decoding no more of a JPEG than the crop needs."""
from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from mmcv.transforms import LoadImageFromFile
from mmengine.config import Config, ConfigDict
from mmpretrain.datasets import PackInputs, RandomResizedCrop

from wsld_plugin.config.types import find_type
from wsld_plugin.datasets.transforms import partial_decode

_LOADS_PLAINLY = dict(to_float32=False, color_type='color', imdecode_backend='cv2', file_client_args=None,
                      ignore_empty=False)
_LIBRARY = 'pip install simplejpeg'


def use_scaled_decoding(cfg: Config, exact: bool = False) -> list[str]:
    """Let the training pipelines of a config decode only what their random resized crop needs, in place.

    ``LoadImageFromFile`` followed by mmpretrain's ``RandomResizedCrop`` becomes ``LoadRandomResizedCrop``, which
    draws the same boxes; where it does, ``PackInputs`` becomes ``PackPlanes``, which packs the same. Pipelines for
    validation and test, and those of hooks, stay.

    Off by default: where a box has at least twice the output's size its pixels change, see
    :class:`LoadRandomResizedCrop`.

    Args:
        cfg: a whole config.
        exact: only what leaves every pixel as it is: rows below the box are left out, but no JPEG is scaled.

    Returns:
        One line for each pipeline: what was done, or why nothing was.
    """
    loader = copy.deepcopy(cfg.get('train_dataloader'))  # a validation loader may be the same dict
    scope = cfg.get('default_scope') or 'mmengine'
    lines = [f'{path}: {_rewrite(dataset, scope, exact)}'
             for path, dataset in data_sets_with_pipeline(loader, 'train_dataloader')]
    if not lines:
        return ['train_dataloader: no data set in it has a pipeline, so nothing is decoded.']
    cfg.train_dataloader = loader
    return lines


def _rewrite(dataset: Any, scope: str, exact: bool) -> str:
    pipeline = list(dataset['pipeline'])
    kinds = [_class_of(transform, scope) for transform in pipeline]
    reason = _reason_against(pipeline, kinds, exact)
    if reason:
        return f'left as it is: {reason}.'
    at = kinds.index(LoadImageFromFile)
    crop = dict(type='wsld_plugin.LoadRandomResizedCrop', scaled=not exact)
    crop |= {key: value for key, value in pipeline[at + 1].items() if key not in ('type', '_scope_')}
    if pipeline[at].get('backend_args'):
        crop['backend_args'] = pipeline[at]['backend_args']
    packed = [ConfigDict(transform, type='wsld_plugin.PackPlanes') if kind is PackInputs else transform
              for transform, kind in zip(pipeline, kinds, strict=True)]
    dataset['pipeline'] = [*packed[:at], ConfigDict(crop), *packed[at + 2:]]
    how = [] if exact else ['at 1/2 or 1/4 where the crop still has the pixels of the output']
    if partial_decode.SIMPLEJPEG is None:
        return f'JPEGs are decoded {how[0]}. Rows below the crop are decoded too: {_LIBRARY} spares them.'
    return f'JPEGs are decoded {", and ".join(["no further down than the crop", *how])}.'


def _reason_against(pipeline: list[Any], kinds: list[Any], exact: bool) -> str | None:
    if exact and partial_decode.SIMPLEJPEG is None:
        return f'without simplejpeg ({_LIBRARY}) the same pixels take the same time'
    if LoadImageFromFile not in kinds:
        return 'it has no LoadImageFromFile'
    if RandomResizedCrop not in kinds:
        return "it has no RandomResizedCrop of mmpretrain's"
    first, second = kinds.index(LoadImageFromFile), kinds.index(RandomResizedCrop)
    if second != first + 1:
        between = ', '.join(str(transform.get('type')) for transform in pipeline[first + 1:second])
        return f'between LoadImageFromFile and RandomResizedCrop stands {between}' if between else \
            'RandomResizedCrop stands before LoadImageFromFile'
    changed = [f'{key}={value!r}' for key, value in pipeline[first].items()
               if key in _LOADS_PLAINLY and value != _LOADS_PLAINLY[key]]
    return f'LoadImageFromFile has {", ".join(changed)}' if changed else None


def _class_of(transform: Any, scope: str) -> Any:
    kind = transform.get('type') if isinstance(transform, Mapping) else None
    if not isinstance(kind, str):
        return kind
    return next((found.target for found in find_type(kind, transform.get('_scope_', scope))
                 if found.kind == 'transform'), None)


def data_sets_with_pipeline(dataset: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every data set's dict with a pipeline, and where it stands: of a loader at ``path``, also inside wrappers."""
    if isinstance(dataset, Mapping):
        if dataset.get('pipeline'):
            yield path, dataset
        for key in ('dataset', 'datasets'):
            yield from data_sets_with_pipeline(dataset.get(key), f'{path}.{key}')
    elif isinstance(dataset, (list, tuple)):
        for index, each in enumerate(dataset):
            yield from data_sets_with_pipeline(each, f'{path}.{index}')
