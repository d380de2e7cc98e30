"""Small models, batches and configs that many tests need."""
from __future__ import annotations

import copy
import itertools
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from mmpretrain.structures import DataSample
from torch.utils._python_dispatch import TorchDispatchMode

RGB = dict(type='ClsDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
BGR = dict(type='ClsDataPreprocessor', mean=[103.53, 116.28, 123.675], std=[57.375, 57.12, 58.395], to_rgb=False)

_RUNS = itertools.count()  # mmengine keeps one logger for every name


class OperationLog(TorchDispatchMode):
    """Names of the operations that ran, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


def classifier(num_classes: int = 5, width: int = 4, data_preprocessor: dict | None = None,
               **overrides: Any) -> dict:
    """A ResNet of a few thousand weights, for 3-channel images of any size."""
    cfg = dict(
        _scope_='mmpretrain', type='ImageClassifier',
        backbone=dict(type='ResNet_CIFAR', depth=18, stem_channels=width, base_channels=width),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=num_classes, in_channels=8 * width,
                  loss=dict(type='CrossEntropyLoss')))
    if data_preprocessor is not None:
        cfg['data_preprocessor'] = copy.deepcopy(data_preprocessor)
    cfg.update(overrides)
    return cfg


def distiller(loss: dict | None = None, class_map: Any = None) -> dict:
    """Logits of both heads and the target of the student's into one loss."""
    return dict(
        type='mmrazor.ConfigurableDistiller',
        student_recorders=dict(
            logits=dict(type='mmrazor.ModuleOutputs', source='head'),
            target=dict(type='mmrazor.ModuleInputs', source='head.loss_module')),
        teacher_recorders=dict(logits=dict(type='mmrazor.ModuleOutputs', source='head')),
        connectors=dict(teacher_logits=dict(type='wsld_plugin.LogitConnector', class_map=class_map)),
        distill_losses=dict(loss_soft=loss or dict(type='wsld_plugin.WSLD', tau=2.0, loss_weight=2.5)),
        loss_forward_mappings=dict(loss_soft=dict(
            student=dict(recorder='logits', from_student=True),
            teacher=dict(recorder='logits', from_student=False, connector='teacher_logits'),
            gt_labels=dict(recorder='target', from_student=True, data_idx=1))))


def distillation(**overrides: Any) -> dict:
    """A small student and a wider, untrained teacher under `SoftLabelDistill`."""
    cfg = dict(type='wsld_plugin.SoftLabelDistill', architecture=classifier(data_preprocessor=RGB),
               teacher=classifier(width=8), teacher_ckpt=False, distiller=distiller())
    cfg.update(overrides)
    return cfg


def build(cfg: dict) -> torch.nn.Module:
    """Build a model config and initialise it as a Runner would."""
    model = MODELS.build(copy.deepcopy(cfg))
    model.init_weights()
    return model


def batch(n: int = 4, num_classes: int = 5, size: int = 16, channels: int = 3, seed: int = 0) -> dict:
    """What a data loader gives: uint8 images in BGR and their labels."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (n, channels, size, size), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, num_classes, (n,), generator=generator)
    return dict(inputs=list(images), data_samples=[DataSample().set_gt_label(label) for label in labels])


def labels_of(data: dict) -> torch.Tensor:
    """The labels of a batch (N,)."""
    return torch.cat([sample.gt_label for sample in data['data_samples']])


def digits_classifier(width: int = 4) -> dict:
    """A classifier of the handwritten digits."""
    cfg = classifier(num_classes=10, width=width, data_preprocessor=dict(mean=[77.8], std=[95.9], num_classes=10))
    cfg['backbone']['in_channels'] = 1
    return cfg


def digits_distillation(**overrides: Any) -> dict:
    """A distillation of the handwritten digits."""
    return distillation(**{**dict(architecture=digits_classifier(), teacher=digits_classifier(8)), **overrides})


def run_cfg(work_dir: Any, model: dict, epochs: int = 2, **overrides: Any) -> Config:
    """A whole Runner config: 40 digits, two iterations an epoch, validated on 20."""
    def loader(split: str, n: int) -> dict:
        return dict(batch_size=20, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=split == 'train'),
                    dataset=dict(type='wsld_plugin.Digits', split=split, num_samples=n,
                                 pipeline=[dict(type='mmpretrain.PackInputs')]))
    cfg = dict(
        default_scope='mmpretrain', custom_imports=dict(imports=['wsld_plugin']), work_dir=str(work_dir),
        experiment_name=f'test_{next(_RUNS)}', model=model,
        train_dataloader=loader('train', 40), val_dataloader=loader('test', 20),
        val_evaluator=dict(type='Accuracy', topk=(1, )),
        train_cfg=dict(by_epoch=True, max_epochs=epochs), val_cfg=dict(),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9)),
        default_hooks=dict(logger=dict(type='LoggerHook', interval=1),
                           checkpoint=dict(type='wsld_plugin.CheckpointHook', interval=1, max_keep_ckpts=1,
                                           save_best='auto'),
                           finite_loss=dict(type='wsld_plugin.FiniteLossHook')),
        randomness=dict(seed=0))
    cfg['test_dataloader'], cfg['test_evaluator'], cfg['test_cfg'] = cfg['val_dataloader'], cfg['val_evaluator'], {}
    cfg.update(overrides)
    return Config(cfg)
