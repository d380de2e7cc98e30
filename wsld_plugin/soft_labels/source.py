"""Where soft labels come from: the teacher, run on samples that their keys name."""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from hashlib import sha256
from typing import Any, cast

import torch
from mmengine.dataset import worker_init_fn
from mmengine.registry import FUNCTIONS
from torch import Tensor, nn
from torch.utils.data import DataLoader

from wsld_plugin.algorithms.heads import check_sources
from wsld_plugin.config.models import build_model, resolve_model_cfg
from wsld_plugin.connectors import LogitConnector
from wsld_plugin.datasets import KeyedDataset, ResidentDataset, SampleKey
from wsld_plugin.models.checkpoint import load_classifier
from wsld_plugin.preprocessors import renormalize

TrainingSet = KeyedDataset | ResidentDataset


class LiveTeacher(nn.Module):
    """The teacher itself: images as the student sees them to logits (N, C) in the student's classes, float32.

    Args:
        model: a model config, or ``dict(cfg_path='mmpretrain::…', **overrides)``.
        checkpoint: file or URL of its weights, or ``False`` for a teacher that loads its own or has none.
        class_map: as :class:`LogitConnector` takes it.
        student_preprocessor: the student's, built.
        default: its config, given to a teacher that has none of its own.

    Raises:
        ConfigError: the model, its normalisation or its class map does not fit.
        CheckpointError, FileNotFoundError: the weights cannot be had.
    """

    def __init__(self, model: Mapping[str, Any], checkpoint: str | bool, class_map: Any,
                 student_preprocessor: nn.Module, default: Mapping[str, Any]) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            self.model = build_model(teacher_config(model, default))
            if checkpoint:
                load_classifier(self.model, str(checkpoint), role='teacher')
            else:
                cast(Any, self.model).init_weights()
        if hasattr(self.model, 'head'):
            check_sources(self.model, dict(logits=dict(type='mmrazor.ModuleOutputs', source='head')), 'teacher')
        self.connector = LogitConnector(class_map)
        self.renormalize = (renormalize(student_preprocessor, cast(nn.Module, self.model.data_preprocessor))
                            if getattr(self.model, 'sees_images', True) else None)
        self.requires_grad_(False).eval()

    def forward(self, inputs: Tensor, data_samples: Sequence[Any]) -> Tensor:
        """The logits."""
        if self.renormalize is not None:
            inputs = self.renormalize(inputs)
        return self.connector(self.model(inputs, data_samples, mode='tensor'))

    def weights_hash(self) -> str:
        """SHA-256 of the names, types, shapes and values of its weights."""
        found = sha256()
        for name, value in sorted(self.model.state_dict().items()):
            value = value.detach().cpu().contiguous()
            found.update(f'{name} {value.dtype} {tuple(value.shape)}\n'.encode())
            found.update(value.reshape(-1).view(torch.uint8).numpy())
        return found.hexdigest()


def teacher_config(model: Mapping[str, Any], default: Mapping[str, Any]) -> dict[str, Any]:
    """The whole config of a teacher; without a ``data_preprocessor`` of its own it sees what the student sees."""
    cfg = resolve_model_cfg(dict(model), where='model.teacher.model')
    if not cfg.get('data_preprocessor'):
        cfg['data_preprocessor'] = dict(default)
    return cfg


class Source:
    """The teacher on the samples of a training set, augmented as their keys say.

    Args:
        dataset: the training set.
        loader: config of its loader: batch size, workers and what makes a batch of samples are taken from it.
        preprocessor: the student's, without batch augmentation.
        teacher: gives the logits.
        device: where it does.
    """

    def __init__(self, dataset: TrainingSet, loader: Mapping[str, Any], preprocessor: nn.Module,
                 teacher: LiveTeacher, device: str | torch.device) -> None:
        self.dataset = dataset
        self.preprocessor = preprocessor.to(device)
        self.teacher = teacher.to(device)
        self._loader = loader

    @torch.no_grad()
    def __call__(self, keys: Iterable[SampleKey]) -> Iterator[tuple[Tensor, Tensor]]:
        """Logits (n, C) and labels (n,) of the samples, batch after batch.

        Raises:
            ValueError: a sample whose target is not one class.
        """
        workers = int(self._loader.get('num_workers', 0))
        samples, sampler = cast(Any, self.dataset), cast(Any, keys)
        # the samples' own seeds decide; the process draws a seed for its workers
        with torch.random.fork_rng(devices=[]):
            batches = iter(DataLoader(
                samples, int(self._loader['batch_size']), sampler=sampler, num_workers=workers,
                collate_fn=_collate(self._loader), worker_init_fn=partial(
                    worker_init_fn, num_workers=workers, rank=0, seed=0, disable_subprocess_warning=True)))
        for batch in batches:
            data = self.preprocessor(batch, False)
            samples = data['data_samples']
            if any('gt_score' in sample or sample.gt_label.numel() != 1 for sample in samples):
                raise ValueError('a sample has another target than one class: its cross entropy cannot be cached.')
            yield self.teacher(data['inputs'], samples), torch.cat([sample.gt_label for sample in samples])


def _collate(loader: Mapping[str, Any]) -> Any:
    """As mmengine's Runner finds it."""
    chosen = loader.get('collate_fn', dict(type='pseudo_collate'))
    if not isinstance(chosen, Mapping):
        return chosen
    arguments = {key: value for key, value in chosen.items() if key != 'type'}
    kind = chosen['type']
    return partial(FUNCTIONS.get(kind) if isinstance(kind, str) else kind, **arguments)
