import copy
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from caches import random_cache
from mmengine.config import Config
from mmengine.optim import LinearLR, MultiStepLR, OptimWrapper
from mmengine.registry import MODELS
from mmpretrain.registry import TRANSFORMS
from mmpretrain.structures import DataSample

from wsld_plugin.benchmark.step import model_config
from wsld_plugin.config.load import read_config
from wsld_plugin.datasets import SampleKey
from wsld_plugin.engine.training import training_config
from wsld_plugin.models.export import classifier_config, is_distillation
from wsld_plugin.soft_labels import CachedTeacher

CONFIGS = Path(__file__).parents[1] / 'configs'
LEAVES = sorted(str(path.relative_to(CONFIGS)) for path in CONFIGS.glob('[!_]*/*.py')
                if path.parent.name not in ('reproduce', 'bias_variance'))


@cache
def load(name):
    return training_config(str(CONFIGS / name), work_dir='work_dirs/of_no_run')


# pairs on CIFAR-100 join networks of baselines/, and losses of test_methods.py
PAIRS = [name for name in LEAVES if 'cifar100' in name and not name.startswith('baselines/')]


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.slow) if name in PAIRS else name for name in LEAVES])
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
        if 'bad-teacher_' in Path(cfg.filename).name and not is_distillation(cfg):  # the targets of Companions
            sample.set_gt_score(torch.eye(preprocessor.num_classes)[[index, index, 2, 3]].mean(0))
    return dict(inputs=images, data_samples=samples)


def test_every_config_takes_a_step_leaves_the_teacher_as_documented_and_gives_its_classifier_alone(leaf, tmp_path):
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
    alone = MODELS.build(dict(_scope_='mmpretrain', **classifier_config(leaf).model))
    assert alone.head.num_classes == leaf.data_preprocessor.num_classes
    assert alone.state_dict().keys() == student.state_dict().keys()
    after = model.teacher.state_dict() if teacher else {}
    for name, value in teacher.items():
        statistics = 'running' in name or 'batches' in name
        may_change = statistics and leaf.model.teacher_bn == 'train' if 'teacher_bn' in leaf.model else False
        assert torch.equal(value, after[name]) != may_change, name


@pytest.mark.parametrize('folder', sorted({name.split('/')[0] for name in LEAVES}))
def test_every_config_opens_with_its_command_and_stays_short(folder):
    for name in LEAVES:
        if name.startswith(f'{folder}/'):
            _, docstring, code = (CONFIGS / name).read_text().split('"""', 2)
            assert f'configs/{name}' in docstring
            assert len([line for line in code.splitlines() if line.strip()]) <= 24, name


# batch, α, τ, multiplier: the authors' params.json of each experiment; the last one has no such file
SMALL, LARGE = (.95, 20, 1), (.6, 20, 1)
TEACHER_FREE = {
    **{f'baselines/{name}': (batch,) for name, batch in [
        ('mobilenet-v2', 128), ('shufflenet-v2', 128), ('resnet18', 128), ('resnet18-1e', 128), ('densenet121', 128),
        ('resnet50-200e', 64), ('resnet50-50e', 64), ('googlenet', 64), ('resnext29', 64)]},
    **{f'tf_kd/lsr_{name}': (batch, 1, 1, 1) for name, batch in [
        ('mobilenet-v2', 128), ('shufflenet-v2', 128), ('resnet18', 128), ('googlenet', 64)]},
    'tf_kd/tf-kd-self_mobilenet-v2': (128, *SMALL), 'tf_kd/tf-kd-self_shufflenet-v2': (128, *SMALL),
    'tf_kd/tf-kd-self_resnet18': (128, .95, 6, 50), 'tf_kd/tf-kd-self_googlenet': (64, .4, 20, 50),
    'tf_kd/tf-kd-self_densenet121': (100, .9, 20, 50), 'tf_kd/tf-kd-self_resnext29': (64, .9, 20, 100),
    'tf_kd/tf-kd-reg_mobilenet-v2': (128, .95, 40, 1), 'tf_kd/tf-kd-reg_shufflenet-v2': (128, .95, 10, 1),
    'tf_kd/tf-kd-reg_resnet18': (128, .1, 20, 100), 'tf_kd/tf-kd-reg_googlenet': (64, .1, 40, 50),
    'kd/kd_resnet18_mobilenet-v2': (128, *SMALL), 'kd/kd_resnet18_shufflenet-v2': (128, *SMALL),
    'kd/kd_resnet50_resnet18': (64, *LARGE),
    **{f'tf_kd/re-kd_{teacher}_{student}': (64 if student == 'resnext29' else 128, *LARGE) for teacher, student in [
        ('mobilenet-v2', 'resnet18'), ('shufflenet-v2', 'resnet18'), ('mobilenet-v2', 'resnet50'),
        ('shufflenet-v2', 'resnet50'), ('mobilenet-v2', 'resnext29'), ('resnet18', 'resnext29')]},
    **{f'tf_kd/de-kd_{teacher}_{student}': (128, *SMALL) for teacher in ('resnet18-1e', 'resnet50-50e')
       for student in ('mobilenet-v2', 'shufflenet-v2')},
    'tf_kd/de-kd_resnet50-50e_resnet18': (64, *LARGE),
    'kd/kd_resnext29_googlenet': (64, *LARGE),
}


@pytest.mark.parametrize('kind', ['baselines', 'tf_kd', 'kd'])
def test_teacher_free_configs_have_the_settings_of_the_authors_code(kind):
    for name, (batch, *loss) in TEACHER_FREE.items():
        if not name.startswith(f'{kind}/'):
            continue
        cfg = load(f'{name}_1xb{batch}_cifar100.py')
        assert cfg.train_dataloader.batch_size == batch == cfg.auto_scale_lr.base_batch_size, name
        sgd = dict(type='SGD', lr=.1 * batch / 128, momentum=.9, weight_decay=5e-4)
        assert cfg.optim_wrapper.optimizer == sgd, name
        assert cfg.train_cfg.max_epochs == {'resnet18-1e': 1, 'resnet50-50e': 50}.get(name.split('/')[1], 200)
        assert cfg.data_preprocessor.mean == pytest.approx([255 * value for value in (.50708, .48655, .44092)])
        assert cfg.data_preprocessor.std == pytest.approx([255 * value for value in (.26733, .25644, .27615)])
        if loss:
            kd = cfg.model.distiller.distill_losses.loss_kd
            assert [kd.loss_weight, kd.tau, kd.get('multiplier', 1)] == loss, name
            assert cfg.model.hard_weight == pytest.approx(1 - kd.loss_weight), name
        if loss and cfg.model.teacher_ckpt:
            named = read_config(CONFIGS / f'{name}_1xb{batch}_cifar100.py').model.teacher.cfg_path
            teacher = Path(named).stem
            assert cfg.model.teacher_ckpt == f'work_dirs/{teacher}/model_best.pth'
            assert f'baselines/{teacher.split("_1xb")[0]}' in TEACHER_FREE


def test_every_config_of_the_teacher_free_plan_has_its_row_of_settings():
    plan = Config.fromfile(CONFIGS / 'reproduce/cifar100_teacher_free.py')
    planned = {cell['config'].removeprefix('../') for row in plan.rows for cell in row['cells']}
    assert planned == {f'{name}_1xb{batch}_cifar100.py' for name, (batch, *_) in TEACHER_FREE.items()}
    assert len(planned) == 38


@pytest.mark.parametrize('batch', [64, 100, 128])
def test_teacher_free_learning_rates_warm_up_for_an_epoch_and_fall_to_a_fifth_thrice(batch):
    name = {64: 'googlenet', 100: 'tf-kd-self_densenet121', 128: 'resnet18'}[batch]
    cfg = load(f'{"tf_kd" if batch == 100 else "baselines"}/{name}_1xb{batch}_cifar100.py')
    steps = -(-50_000 // batch)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=cfg.optim_wrapper.optimizer.lr)
    warm_up, milestones = (dict(scheduler) for scheduler in cfg.param_scheduler)
    assert warm_up.pop('convert_to_iter_based')
    assert warm_up.pop('type') == 'LinearLR'
    assert milestones.pop('type') == 'MultiStepLR'
    schedulers = [LinearLR.build_iter_from_epoch(optimizer, **warm_up, epoch_length=steps),
                  MultiStepLR(optimizer, **milestones)]
    for epoch in range(200):
        optimizer.step()
        for step in range(steps if epoch < 2 else 1):
            expected = cfg.optim_wrapper.optimizer.lr * .2 ** sum(epoch >= end for end in (60, 120, 160))
            expected *= (step + 1) / steps if epoch == 0 else 1
            assert optimizer.param_groups[0]['lr'] == pytest.approx(expected, rel=1e-6), (epoch, step)
            schedulers[0].step()
        schedulers[1].step()


OFFICIAL = sorted(name for name in LEAVES if 'official' in name)


def test_official_imagenet_configs_filter_images_and_drop_the_last_batch_and_mmrazors_do_not():
    noise = np.random.default_rng(0).integers(0, 256, (640, 640, 3), dtype=np.uint8)
    assert len(OFFICIAL) == 3
    for name in [*OFFICIAL, 'wsld/wsld_resnet34_resnet18_8xb32_in1k.py']:
        cfg, official = load(name), name in OFFICIAL
        assert cfg.train_dataloader.get('drop_last', False) == official
        assert (cfg.train_cfg.max_epochs, bool(cfg.optim_wrapper.optimizer.get('nesterov'))) == (
            (101, True) if official else (100, False))
        for loader, resize in [(cfg.train_dataloader, 'RandomResizedCrop'), (cfg.test_dataloader, 'ResizeEdge')]:
            pipeline = loader.dataset.get('dataset', loader.dataset).pipeline  # with or without a KeyedDataset around
            step, = (step for step in pipeline if step['type'] == resize)
            step = dict(step, crop_ratio_range=(1, 1), aspect_ratio_range=(1, 1)) if 'Crop' in resize else step
            image = TRANSFORMS.build(step).transform(dict(img=noise, img_shape=(640, 640)))['img']
            assert (image.std() < 40) == official, (name, resize, image.std())
        if official and 'teacher' in cfg.model:
            assert cfg.model.teacher_bn == 'train'
