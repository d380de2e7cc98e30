import copy
from functools import cache
from pathlib import Path

import pytest
import torch
import yaml
from caches import random_cache
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS
from mmpretrain.structures import DataSample

from wsld_plugin.benchmark.step import model_config
from wsld_plugin.datasets import SampleKey
from wsld_plugin.engine.training import training_config
from wsld_plugin.models.export import classifier_config, is_distillation
from wsld_plugin.teachers import CachedTeacher

CONFIGS = Path(__file__).parents[1] / 'configs'
LEAVES = sorted(str(path.relative_to(CONFIGS)) for path in CONFIGS.glob('[!_]*/*.py')
                if path.parent.name not in ('reproduce', 'bias_variance'))


@cache
def load(name):
    return training_config(str(CONFIGS / name), work_dir='work_dirs/of_no_run')


@pytest.fixture(params=LEAVES)
def leaf(request):
    return copy.deepcopy(load(request.param))


def batch_for(cfg):
    preprocessor = cfg.data_preprocessor
    channels = len(preprocessor.mean)
    # DeiT's position embedding fixes the size; the others take any
    size = 8 if channels == 1 else 224 if 'deit' in cfg.filename else 32 if 'cifar' in cfg.filename else 64
    images = torch.randint(0, 256, (2, channels, size, size), dtype=torch.uint8)
    samples = [DataSample().set_gt_label(index % preprocessor.num_classes) for index in range(2)]
    for index, sample in enumerate(samples):
        sample.set_field(SampleKey(0, 0, index), 'sample_key', field_type='metainfo')
        sample.set_field(torch.full((preprocessor.num_classes,), 1 / preprocessor.num_classes), 'soft_label')
    return dict(inputs=images, data_samples=samples)


def test_every_config_builds_and_takes_a_step_that_leaves_the_teacher_as_it_says(leaf, tmp_path):
    torch.manual_seed(0)
    cfg = model_config(leaf)
    cfg.setdefault('_scope_', leaf.default_scope)
    model = MODELS.build(cfg)
    model.init_weights()
    if isinstance(getattr(model, 'teacher', None), CachedTeacher):
        model.teacher.open(random_cache(tmp_path, num_samples=2, num_classes=leaf.data_preprocessor.num_classes))
    student = getattr(model, 'student', model)
    before = [parameter.clone() for parameter in student.parameters()]
    teacher = copy.deepcopy(model.teacher.state_dict()) if is_distillation(leaf) else {}
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.01))
    model.train()
    losses = model.train_step(batch_for(leaf), wrapper)
    assert torch.isfinite(losses['loss'])
    assert any(not torch.equal(a, b) for a, b in zip(before, student.parameters(), strict=True))
    for name, value in teacher.items():
        statistics = 'running' in name or 'batches' in name
        may_change = statistics and leaf.model.teacher_bn == 'train' if 'teacher_bn' in leaf.model else False
        assert torch.equal(value, model.teacher.state_dict()[name]) != may_change, name


def test_every_config_gives_its_classifier_alone(leaf):
    cfg = classifier_config(leaf)
    model = MODELS.build(dict(_scope_='mmpretrain', **cfg.model))
    assert model.head.num_classes == leaf.data_preprocessor.num_classes


@pytest.mark.parametrize('name', LEAVES)
def test_every_config_opens_with_its_command_and_stays_short(name):
    text = (CONFIGS / name).read_text()
    docstring = text.split('"""')[1]
    assert f'configs/{name}' in docstring
    assert len([line for line in text.split('"""')[2].splitlines() if line.strip()]) <= 24


def test_the_metafile_lists_every_config_of_weighted_soft_labels_and_their_students():
    models = yaml.safe_load((CONFIGS / 'wsld/metafile.yml').read_text())['Models']
    listed = {model['Config'].removeprefix('configs/'): model['Metadata'] for model in models}
    assert set(listed) == {name for name in LEAVES if name.startswith('wsld/')} - {
        'wsld/wsld_regnetx-400mf_deit-tiny_imagenette.py'}
    for metadata in listed.values():
        student = metadata['Student']['Config']
        assert '::' in student or (CONFIGS.parent / student).is_file()
