"""From a checkpoint, whoever wrote it, to the weights of one mmpretrain classifier."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.runner.checkpoint import CheckpointLoader
from torch import nn

from wsld_plugin.compat.safe_checkpoints import safe_load
from wsld_plugin.errors import CheckpointError

State = dict[str, torch.Tensor]

_CONTAINERS = ('state_dict', 'model', 'model_state', 'model_state_dict',
               'ema_state_dict', 'state_dict_ema', 'model_ema')
_PREFIXES = {'module.': 'data-parallel prefix `module.`', 'ema_model.': 'EMA prefix `ema_model.`',
             'model_ema.': 'EMA prefix `model_ema.`', 'ema.': 'EMA prefix `ema.`'}
_COUNTERS = ('steps', 'n_averaged')  # what an averaged model keeps beside its weights


def classifier_state(checkpoint: Mapping[str, Any]) -> tuple[State, list[str]]:
    """The weights of the classifier that a checkpoint holds, under mmpretrain's names.

    Recognised, also nested in each other: a plain mmpretrain classifier; a distillation checkpoint of
    MMRazor or of this project (its student is taken, a teacher in it is left out); the prefixes of
    data-parallel and averaged models; torchvision's names for ResNet, ResNeXt and Wide ResNet.

    Args:
        checkpoint: what was read from the file.

    Returns:
        The weights by name, and what was recognised, in words; empty words for a plain classifier.

    Raises:
        CheckpointError: it holds no weights.
    """
    state, notes = _unpacked(checkpoint)
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
    if any(not key.startswith('ema_') for key in state):  # mmcv 1.x kept the un-averaged weights so
        state = {key: value for key, value in state.items() if not key.startswith('ema_')}
    if {'conv1.weight', 'layer1.0.conv1.weight', 'fc.weight'} <= state.keys():
        state = {_torchvision_resnet(key): value for key, value in state.items()}
        notes.append("torchvision's names")
    return state, notes


def load_classifier(model: nn.Module, path: str, role: str = 'model') -> dict[str, Any]:
    """Load a checkpoint into a classifier, wholly or not at all: every tensor must find its place.

    The file is read through the CPU and as data only; nothing in it is executed. What it was recognised
    as is logged in one line.

    Args:
        model: the classifier to fill.
        path: a local file or a URL that mmengine knows (``https://…``, ``s3://…``).
        role: what the model is called in messages, such as ``'teacher'``.

    Returns:
        The checkpoint's ``meta`` (class names, epoch, …); empty where it has none.

    Raises:
        FileNotFoundError: there is no such file; the message names the nearest.
        CheckpointError: the file is damaged, unsafe, or of another architecture or class count; or a weight is
            not finite.
    """
    try:
        checkpoint = CheckpointLoader.load_checkpoint(path, map_location='cpu') if '://' in path else safe_load(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(f'{role} checkpoint: {error}') from None
    if not isinstance(checkpoint, Mapping):
        raise CheckpointError(f'{role} checkpoint {path} holds a {type(checkpoint).__name__}, '
                              'expected a dict of weights.')
    state, notes = classifier_state(checkpoint)
    broken = [name for name, value in state.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise CheckpointError(f'{role} checkpoint {path}: {len(broken)} of {len(state)} tensors hold NaN or '
                              f'infinity: {", ".join(_shortened(broken))}. The training that wrote it had diverged: '
                              'take an earlier checkpoint, or train again with a lower learning rate.')
    problems = _misfits(model, state)
    if problems:
        raise CheckpointError(
            f'{role} checkpoint {path} ({", ".join(notes) or "plain weights"}) does not fit '
            f'{type(model).__name__}:\n  ' + '\n  '.join(problems))
    print_log(f'{role}: weights from {path} ({", ".join(notes) or "plain mmpretrain weights"}, '
              f'{len(state)} tensors).', logger='current')
    meta = checkpoint.get('meta')
    return dict(meta) if isinstance(meta, Mapping) else {}


def _unpacked(checkpoint: Mapping[str, Any]) -> tuple[State, list[str]]:
    """The weights in their container, without the counters of averaged models."""
    notes = []
    for name in _CONTAINERS:
        if isinstance(checkpoint.get(name), Mapping):
            notes = ['averaged weights'] if 'ema' in name else []
            checkpoint = checkpoint[name]
            break
    state = {key: value for key, value in checkpoint.items()
             if isinstance(value, torch.Tensor) and key not in _COUNTERS}
    if not state:
        raise CheckpointError(f'the checkpoint holds no weights; its entries are {sorted(checkpoint)[:8]}, '
                              f'expected one of {", ".join(_CONTAINERS)} or the tensors themselves.')
    return state, notes


def _torchvision_resnet(key: str) -> str:
    return f'head.{key}' if key.startswith('fc.') else f'backbone.{key}'


def _misfits(model: nn.Module, state: State) -> list[str]:
    """Load the weights; say, a line a kind, what did not fit."""
    try:
        # a copy: hooks of some backbones rename or resize entries in place
        missing, unexpected = model.load_state_dict(dict(state), strict=False)
    except RuntimeError as error:  # shapes
        lines = _shortened([line.strip() for line in str(error).splitlines()[1:] if line.strip()])
        return lines + _class_count(model.state_dict(), state)
    missing = [key for key in missing if not key.endswith('num_batches_tracked')]
    lines = []
    if missing:
        lines.append(f'{len(missing)} missing: {", ".join(_shortened(missing))}')
    if unexpected:
        lines.append(f'{len(unexpected)} unexpected: {", ".join(_shortened(unexpected))}')
    return lines


def _class_count(own: Mapping[str, torch.Tensor], state: State) -> list[str]:
    """What to write where nothing but the number of classes differs."""
    unlike = {name: value for name, value in state.items() if name in own and own[name].shape != value.shape}
    if not all(name.startswith('head.') and own[name].shape[1:] == value.shape[1:]
               for name, value in unlike.items()):
        return []
    counts = {len(value) for value in unlike.values()}
    return [f'The checkpoint has another number of classes. Give a teacher its own, head=dict(num_classes={count}), '
            "and let the LogitConnector's class_map choose the student's classes from them."
            for count in counts if len(counts) == 1]


def _shortened(items: list[str], most: int = 6) -> list[str]:
    return items if len(items) <= most else [*items[:most - 1], f'… ({len(items) - most} more)', items[-1]]
