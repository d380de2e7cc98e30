"""Weights of an mmpretrain classifier from the checkpoints of several programs."""
from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.runner.checkpoint import CheckpointLoader
from safetensors import SafetensorError, safe_open
from torch import nn

from wsld_plugin.compat.safe_checkpoints import check_exists, safe_load
from wsld_plugin.errors import CheckpointError
from wsld_plugin.files import from_json

State = dict[str, torch.Tensor]

_CONTAINERS = ('state_dict', 'model', 'model_state', 'model_state_dict',
               'ema_state_dict', 'state_dict_ema', 'model_ema')
_PREFIXES = {'module.': 'data-parallel prefix `module.`', 'ema_model.': 'EMA prefix `ema_model.`',
             'model_ema.': 'EMA prefix `model_ema.`', 'ema.': 'EMA prefix `ema.`'}
_COUNTERS = ('steps', 'n_averaged')  # buffers of averaged models


def classifier_state(checkpoint: Mapping[str, Any], names: Collection[str] = ()) -> tuple[State, list[str]]:
    """The weights of the classifier in a checkpoint, under mmpretrain's names.

    Recognised, also nested in each other: a plain mmpretrain classifier; a distillation checkpoint of MMRazor or of
    this project (its student is used, a teacher in it is skipped); the prefixes of data-parallel and averaged models;
    torchvision's names for ResNet, ResNeXt and Wide ResNet, if ``names``, those of the classifier's own weights, are
    mmpretrain's.

    Returns:
        The weights by name, and words for each recognised form; none for a plain classifier.

    Raises:
        CheckpointError: it holds no weights.
    """
    container = next((name for name in _CONTAINERS if isinstance(checkpoint.get(name), Mapping)), '')
    notes = ['averaged weights'] if 'ema' in container else []
    weights = checkpoint[container] if container else checkpoint
    state = {key: value for key, value in weights.items() if isinstance(value, torch.Tensor) and key not in _COUNTERS}
    if not state:
        raise CheckpointError(f'the checkpoint holds no weights; its entries are {sorted(weights)[:8]}, '
                              f'expected one of {", ".join(_CONTAINERS)} or the tensors themselves.')
    found = True
    while found:
        found = False
        for prefix, words in _PREFIXES.items():
            if state and all(key.startswith(prefix) for key in state):
                state, found = {key[len(prefix):]: value for key, value in state.items()}, True
                notes.append(words)
        student = {key[len('architecture.'):]: value for key, value in state.items()
                   if key.startswith('architecture.')}
        if student:
            state, found = student, True
            notes.append('student of a distillation checkpoint')
    if any(not key.startswith('ema_') for key in state):  # mmcv 1.x named the averaged copies so
        state = {key: value for key, value in state.items() if not key.startswith('ema_')}
    if {'conv1.weight', 'layer1.0.conv1.weight', 'fc.weight'} <= state.keys() and 'backbone.conv1.weight' in names:
        state = {f'{"head" if key.startswith("fc.") else "backbone"}.{key}': value for key, value in state.items()}
        notes.append("torchvision's names")
    return state, notes


def load_classifier(model: nn.Module, path: str, role: str = 'model') -> dict[str, Any]:
    """Load a checkpoint into a classifier; every tensor must match.

    The file is read on the CPU and as data only: nothing in it is executed. Weights of another floating-point type,
    such as float16, are converted to that of the model. The recognised form is logged in one line.

    Args:
        model: the classifier.
        path: a local file or a URL that mmengine knows (``https://…``, ``s3://…``); a local file may be
            ``.safetensors``.
        role: the name of the model in messages, such as ``'teacher'``.

    Returns:
        The checkpoint's ``meta`` (class names, epoch, …), or the metadata of a ``.safetensors`` file, each value
        decoded where it is JSON; empty where there is none.

    Raises:
        FileNotFoundError: no such file; the message names the nearest.
        CheckpointError: the file is damaged, unsafe, or of another architecture or class count; or a weight is not
            finite.
    """
    checkpoint = _read(path, role)
    if not isinstance(checkpoint, Mapping):
        kind = type(checkpoint).__name__
        raise CheckpointError(f'{role} checkpoint {path} holds a {kind}, expected a dict of weights.')
    state, notes = classifier_state(checkpoint, model.state_dict())
    broken = [name for name, value in state.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise CheckpointError(f'{role} checkpoint {path}: {len(broken)} of {len(state)} tensors hold NaN or '
                              f'infinity: {", ".join(_shortened(broken))}. The training that wrote it had diverged: '
                              'use an earlier checkpoint, or train again with a lower learning rate.')
    problems = misfits(model, state)
    if problems:
        raise CheckpointError(f'{role} checkpoint {path} ({", ".join(notes) or "plain weights"}) does not fit '
                              f'{type(model).__name__}:\n  ' + '\n  '.join(problems))
    print_log(f'{role}: weights from {path} ({", ".join(notes) or "plain mmpretrain weights"}, '
              f'{len(state)} tensors).', logger='current')
    meta = checkpoint.get('meta')
    return dict(meta) if isinstance(meta, Mapping) else {}


def _read(path: str, role: str) -> Any:
    """A checkpoint; from a ``.safetensors`` file, whose metadata are strings, a dict of the same form."""
    file = Path(path).expanduser()
    try:
        if not path.endswith('.safetensors'):
            return CheckpointLoader.load_checkpoint(path, map_location='cpu') if '://' in path else safe_load(path)
        if '://' in path:
            raise CheckpointError(f'{role} checkpoint {path} is a URL: download it, and name the .safetensors file.')
        check_exists(file)
    except FileNotFoundError as error:
        raise FileNotFoundError(f'{role} checkpoint: {error}') from None
    try:
        with safe_open(file, framework='pt') as opened:
            state = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  it is not a dict
            metadata = opened.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f'{role} checkpoint {file} ({file.stat().st_size:,} bytes) cannot be read: it was cut '
                              f'short or damaged, or is not a safetensors file ({error}). Copy it again, or delete '
                              'it and download it again.') from error
    return dict(state_dict=state, meta={key: _decoded(value) for key, value in metadata.items()})


def _decoded(text: str) -> Any:
    try:
        return from_json(text)
    except (ValueError, RecursionError):
        return text


def misfits(model: nn.Module, state: Mapping[str, Any]) -> list[str]:
    """Load weights into a model; return one line for each kind of mismatch."""
    try:
        # a copy: hooks of some backbones rename or resize entries in place
        missing, unexpected = model.load_state_dict(dict(state), strict=False)
    except RuntimeError as error:  # shapes
        lines = _shortened([line.strip() for line in str(error).splitlines()[1:] if line.strip()])
        return lines + _class_count(model.state_dict(), state)
    missing = [key for key in missing if not key.endswith('num_batches_tracked')]
    return [f'{len(keys)} {kind}: {", ".join(_shortened(keys))}'
            for kind, keys in (('missing', missing), ('unexpected', unexpected)) if keys]


def _class_count(own: Mapping[str, torch.Tensor], state: Mapping[str, Any]) -> list[str]:
    """What to write where only the number of classes differs."""
    unlike = {name: value for name, value in state.items() if name in own and own[name].shape != value.shape}
    counts = {len(value) for value in unlike.values()}
    if len(counts) != 1 or not all(name.startswith('head.') and own[name].shape[1:] == value.shape[1:]
                                   for name, value in unlike.items()):
        return []
    return [f'The checkpoint has another number of classes. Give a teacher its own, head=dict(num_classes={count}), '
            "and let the LogitConnector's class_map choose the student's classes from them." for count in counts]


def _shortened(items: list[str], most: int = 6) -> list[str]:
    return items if len(items) <= most else [*items[:most - 1], f'… ({len(items) - most} more)', items[-1]]
