import warnings
from functools import reduce
from operator import getitem
from pathlib import Path

import mmpretrain
import pytest
from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.registry import HOOKS, MODELS
from torch import nn

from wsld_plugin.config.check import check_config
from wsld_plugin.config.load import load_config
from wsld_plugin.errors import ConfigError

SHIPPED = Path(mmpretrain.__file__).parent / '.mim' / 'configs'
OWN = sorted(path for path in (Path(__file__).parents[2] / 'configs').glob('*/*.py')
             if path.parent.name not in ('_base_', 'reproduce', 'bias_variance'))  # fragments, plans
# They need packages beyond mmpretrain's own requirements, without which their parts are not registered.
MULTIMODAL = {'blip', 'blip2', 'chinese_clip', 'clip', 'flamingo', 'glip', 'llava', 'minigpt4', 'ofa',
              'otter'}
# mmengine refuses them too: new-style bases of old-style configs, an undefined variable, packages that are
# not installed, a type that mmpretrain no longer has, `type` beside `by_epoch`.
BROKEN = ('replknet-31*', 'swinv2-*_8xb128_in21k-192px.py', '*coco.py', 'resnet50_8xb32-cutmix_in1k.py',
          'maskfeat/benchmarks/*')


def shipped():
    paths = sorted(path for path in SHIPPED.glob('*/**/*.py')
                   if path.relative_to(SHIPPED).parts[0] not in MULTIMODAL | {'_base_'}
                   and not any(path.match(pattern) for pattern in BROKEN))
    assert len(paths) > 400
    return paths


def training():
    """A whole training config with something of every kind in it."""
    return dict(
        default_scope='mmpretrain',
        custom_imports=dict(imports=['wsld_plugin'], allow_failed_imports=False),
        model=dict(
            type='wsld_plugin.SoftLabelDistill',
            architecture=dict(cfg_path='mmpretrain::resnet/resnet18_8xb32_in1k.py',
                              head=dict(num_classes=10)),
            teacher=dict(_scope_='mmpretrain', type='ImageClassifier',
                         backbone=dict(type='ResNetV1d', depth=18,
                                       norm_cfg=dict(type='BN', requires_grad=True)),
                         neck=dict(type='GlobalAveragePooling'),
                         head=dict(type='LinearClsHead', num_classes=10, in_channels=512,
                                   init_cfg=dict(type='Normal', layer='Linear', std=.01))),
            teacher_ckpt='t.pth',
            distiller=dict(
                type='mmrazor.ConfigurableDistiller',
                student_recorders=dict(logits=dict(type='mmrazor.ModuleOutputs', source='head')),
                teacher_recorders=dict(logits=dict(type='mmrazor.ModuleOutputs', source='head')),
                distill_losses=dict(loss_kd=dict(type='wsld_plugin.KD', tau=4)),
                connectors=dict(logits=dict(type='wsld_plugin.LogitConnector')),
                loss_forward_mappings=dict(loss_kd=dict(
                    student=dict(recorder='logits', from_student=True),
                    teacher=dict(recorder='logits', from_student=False, connector='logits'))))),
        data_preprocessor=dict(mean=[0], std=[1], num_classes=10),
        train_dataloader=dict(
            batch_size=8, num_workers=0, num_batch_per_epoch=2, collate_fn=dict(type='default_collate'),
            sampler=dict(type='DefaultSampler', shuffle=True),
            dataset=dict(type='RepeatDataset', times=2, dataset=dict(
                type='CIFAR10', data_root='d', pipeline=[
                    dict(type='RandomResizedCrop', scale=32),
                    dict(type='RandAugment', policies='timm_increasing', num_policies=2, magnitude_level=5,
                         total_level=10),
                    dict(type='torchvision/RandomRotation', degrees=5),
                    dict(type='PackInputs')]))),
        val_dataloader=None, val_cfg=dict(fp16=True), val_evaluator=[dict(type='Accuracy', topk=(1, 5))],
        train_cfg=dict(by_epoch=True, max_epochs=3, val_begin=2),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=.1, nesterov=True), clip_grad=dict(max_norm=1),
                           paramwise_cfg=dict(norm_decay_mult=0, custom_keys={'.any': dict(lr_mult=0)})),
        param_scheduler=[dict(type='LinearLR', start_factor=.1, end=2, convert_to_iter_based=True)],
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1, priority='LOW'), logger=None),
        custom_hooks=[dict(type='EMAHook', momentum=.1, begin_epoch=1, priority=40)],
        env_cfg=dict(mp_cfg=dict(opencv_num_threads=0), dist_cfg=dict(backend='gloo')),
        visualizer=dict(type='UniversalVisualizer', vis_backends=[dict(type='LocalVisBackend')]),
        log_processor=dict(window_size=10), randomness=dict(seed=0, deterministic=True),
        auto_scale_lr=dict(enable=False, base_batch_size=8), model_wrapper_cfg=dict(broadcast_buffers=False),
        my_own_words=dict(anything=1))


def put(cfg, where, value):
    """Set a dotted place in nested dicts and lists; ``old>new`` at its end renames a key."""
    *parents, last = where.split('.')
    for key in parents:
        cfg = cfg[int(key)] if key.isdigit() else cfg[key]
    if '>' in last:
        last, new = last.split('>')
        cfg[new] = cfg.pop(last)
    else:
        cfg[last] = value


def problems(cfg):
    with pytest.raises(ConfigError) as caught:
        check_config(Config(cfg))
    return str(caught.value)


@pytest.mark.parametrize('path', shipped(), ids=lambda path: path.stem)
def test_a_shipped_config_passes(path):
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'The config file .* will be deprecated', DeprecationWarning)
        cfg = Config.fromfile(path)
    cfg.setdefault('default_scope', 'mmpretrain')
    check_config(cfg)


@pytest.mark.parametrize('path', OWN, ids=lambda path: path.stem)
def test_a_config_of_the_project_passes(path):
    check_config(load_config(path))


def test_a_whole_training_config_passes():
    check_config(Config(training()))


@pytest.mark.parametrize(('where', 'nearest'), [
    ('optim_wrapper>optim_warpper', 'optim_wrapper'),
    ('model>modle', 'model'),
    ('train_dataloader>train_dataloder', 'train_dataloader'),
    ('param_scheduler>param_schedulers', 'param_scheduler'),
    ('model.teacher_ckpt>teacher_chkpt', 'teacher_ckpt'),
    ('model.teacher.backbone.depth>dept', 'depth'),
    ('model.teacher.head.num_classes>num_class', 'num_classes'),
    ('model.teacher.head.init_cfg.std>sdt', 'std'),
    ('model.distiller.distill_losses.loss_kd.tau>taau', 'tau'),
    ('model.distiller.student_recorders.logits.source>sources', 'source'),
    ('model.distiller.distill_losses>distil_losses', 'distill_losses'),
    ('train_dataloader.batch_size>batchsize', 'batch_size'),
    ('train_dataloader.num_workers>num_worker', 'num_workers'),
    ('train_dataloader.dataset.dataset.data_root>data_rot', 'data_root'),
    ('train_dataloader.dataset.dataset.pipeline.0.scale>scal', 'scale'),
    ('train_dataloader.sampler.shuffle>shufle', 'shuffle'),
    ('train_cfg.max_epochs>max_epoch', 'max_epochs'),
    ('val_cfg.fp16>fp_16', 'fp16'),
    ('val_evaluator.0.topk>top_k', 'topk'),
    ('optim_wrapper.clip_grad>clip_grads', 'clip_grad'),
    ('optim_wrapper.optimizer.nesterov>nestrov', 'nesterov'),
    ('optim_wrapper.paramwise_cfg.norm_decay_mult>norm_decay_mul', 'norm_decay_mult'),
    ('param_scheduler.0.start_factor>start_facter', 'start_factor'),
    ('default_hooks.checkpoint>chekpoint', 'checkpoint'),
    ('default_hooks.checkpoint.interval>intervals', 'interval'),
    ('custom_hooks.0.begin_epoch>begin_epochs', 'begin_epoch'),
    ('data_preprocessor.mean>means', 'mean'),
    ('env_cfg.mp_cfg.opencv_num_threads>opencv_num_thread', 'opencv_num_threads'),
    ('randomness.seed>sed', 'seed'),
    ('log_processor.window_size>windowsize', 'window_size'),
    ('auto_scale_lr.base_batch_size>base_batchsize', 'base_batch_size'),
    ('model_wrapper_cfg.broadcast_buffers>broadcast_buffer', 'broadcast_buffers'),
    ('custom_imports.imports>import', 'imports'),
])
def test_a_misspelt_key_is_named_with_the_nearest(where, nearest):
    cfg = training()
    put(cfg, where, None)
    message = problems(cfg)
    place, _, given = where.rpartition('>')
    assert '.'.join((*place.split('.')[:-1], given)) in message
    assert f'Did you mean {nearest!r}?' in message
    assert ' has 1 problem:' in message


@pytest.mark.parametrize(('where', 'given', 'nearest'), [
    ('model.type', 'wsld_plugin.SoftLabelDistil', 'wsld_plugin.SoftLabelDistill'),
    ('model.type', 'wsld_plugn.SoftLabelDistill', 'wsld_plugin.SoftLabelDistill'),
    ('model.teacher.backbone.type', 'ResNett', 'ResNet'),
    ('model.teacher.backbone.type', 'mmpretrain.models.ResNett', 'mmpretrain.models.ResNet'),
    ('model.teacher.backbone.type', 'mmcls.ResNet', 'mmpretrain.ResNet'),
    ('model.distiller.distill_losses.loss_kd.type', 'wsld_plugin.KDD', 'wsld_plugin.KD'),
    ('model.distiller.teacher_recorders.logits.type', 'mmrazor.ModuleOutput', 'mmrazor.ModuleOutputs'),
    ('train_dataloader.dataset.dataset.type', 'CIFAR_10', 'CIFAR10'),
    ('train_dataloader.dataset.dataset.pipeline.3.type', 'PackInput', 'PackInputs'),
    ('train_dataloader.collate_fn.type', 'default_colate', 'default_collate'),
    ('val_evaluator.0.type', 'Accurcy', 'Accuracy'),
    ('optim_wrapper.optimizer.type', 'SDG', 'SGD'),
    ('optim_wrapper.optimizer.type', 'torch.optim.Adamm', 'torch.optim.Adam'),
    ('optim_wrapper.constructor', 'DefaultOptimWraperConstructor', 'DefaultOptimWrapperConstructor'),
    ('param_scheduler.0.type', 'LinerLR', 'LinearLR'),
    ('train_dataloader.dataset.dataset.pipeline.2.type', 'torchvision/RandomRotate',
     'torchvision/RandomRotation'),
    ('custom_hooks.0.type', 'EMAHok', 'EMAHook'),
    ('visualizer.vis_backends.0.type', 'LocalVisBackends', 'LocalVisBackend'),
    ('runner_type', 'Runer', 'Runner'),
    ('default_scope', 'mmpretran', 'mmpretrain'),
    ('model.architecture.cfg_path', 'mmpretrain::resnet/resnet18_8xb23_in1k.py',
     'mmpretrain::resnet/resnet18_8xb32_in1k.py'),
])
def test_a_misspelt_name_is_named_with_the_nearest(where, given, nearest):
    cfg = training()
    put(cfg, where, given)
    message = problems(cfg)
    assert where in message
    assert given in message
    assert f'Did you mean {nearest!r}?' in message


@pytest.mark.parametrize(('where', 'given', 'right'), [
    ('model.distiller.type', 'ConfigurableDistiller', 'mmrazor.ConfigurableDistiller'),
    ('model.distiller.distill_losses.loss_kd.type', 'LogitConnector', 'wsld_plugin.LogitConnector'),
    ('model.distiller.student_recorders.logits.type', 'ModuleOutputs', 'mmrazor.ModuleOutputs'),
])
def test_a_name_of_another_scope_is_told_with_that_scope(where, given, right):
    cfg = training()
    put(cfg, where, given)
    assert f'write {right!r}' in problems(cfg)


def test_an_override_of_a_named_model_is_told_with_its_whole_path():
    cfg = training()
    cfg['model']['architecture']['head']['num_clases'] = 10
    assert 'model.architecture.head.num_clases=10: LinearClsHead takes no' in problems(cfg)


def test_every_problem_is_told_at_once():
    cfg = training()
    for where in ('train_cfg.max_epochs>max_epoch', 'model.teacher.backbone.depth>dept',
                  'randomness.seed>sed'):
        put(cfg, where, None)
    put(cfg, 'val_evaluator.0.type', 'Accurcy')
    message = problems(cfg)
    assert ' has 4 problems:' in message
    assert all(word in message for word in ("'max_epoch'", "'dept'", "'sed'", "'Accurcy'"))


def test_variables_of_the_users_own_are_no_problem():
    pipeline = [dict(type='PackInputs')]
    cfg = dict(dataset_type='CIFAR10', train_pipeline=pipeline, vis_backends=[dict(type='nothing')],
               optimizer=dict(lr=1), tta_cfg=dict(x=1), bgr_mean=[1], models=pipeline, num_classes=3,
               train_dataloader=dict(dataset=dict(type='CIFAR10', data_root='d', pipeline=pipeline)))
    check_config(Config(dict(default_scope='mmpretrain', **cfg)))


def test_a_scope_holds_for_what_lies_within_and_for_nothing_beside():
    inside = dict(type='ImageClassifier', backbone=dict(type='ResNet', depth=18))
    check_config(Config(dict(model=dict(_scope_='mmpretrain', **inside))))
    message = problems(dict(model=dict(_scope_='mmpretrain', **inside), val_evaluator=dict(type='Accuracy')))
    assert "val_evaluator.type='Accuracy' is not registered in the scope 'mmengine'" in message
    assert 'ResNet' not in message


def test_a_class_in_place_of_its_name_is_checked_alike():
    cfg = dict(default_hooks=dict(checkpoint=dict(type=CheckpointHook, interval=1, priority='LOW')))
    check_config(Config(cfg))
    cfg['default_hooks']['checkpoint']['intervall'] = 1
    assert 'CheckpointHook takes no' in problems(cfg)


@pytest.mark.parametrize(('old', 'new', 'nearest'), [
    ('', '', None),
    ('depth=18', 'dept=18', "'depth'"),
    ('ResNet', 'ResNett', "'mmpretrain.models.ResNet'"),
])
def test_a_new_style_config_is_checked_alike(tmp_path, old, new, nearest):
    text = ('from mmengine.runner import EpochBasedTrainLoop\n'
            'from mmpretrain.models import ImageClassifier, ResNet\n'
            'model = dict(type=ImageClassifier, backbone=dict(type=ResNet, depth=18))\n'
            'train_cfg = dict(type=EpochBasedTrainLoop, max_epochs=3)\n')
    path = tmp_path / 'new_style.py'
    path.write_text(text.replace(old, new) if old else text)
    cfg = Config.fromfile(path)
    if nearest is None:
        check_config(cfg)
    else:
        with pytest.raises(ConfigError, match=f'Did you mean {nearest}'):
            check_config(cfg)


@pytest.fixture
def registered():
    """Registers classes in mmengine's root registries for one test."""
    added = []

    def register(registry, target):
        registry.register_module(module=target)
        added.append((registry, target.__name__))
        return target

    yield register
    for registry, name in added:
        del registry.module_dict[name]


class Closed(nn.Module):
    def __init__(self, width, *, gain=1):
        super().__init__()


class HandsOn(Closed):
    def __init__(self, depth, **rest):
        self.early = rest.pop('early', None)
        super().__init__(gain=2, **rest)


class Keeps(nn.Module):
    def __init__(self, depth, **rest):
        super().__init__()
        self.rest = rest


class HandsToModule(nn.Module):
    def __init__(self, **rest):
        super().__init__(**rest)


@pytest.mark.parametrize(('cls', 'taken', 'refused'), [
    (Closed, {'width', 'gain'}, {'depth', 'self'}),
    (HandsOn, {'depth', 'early', 'width', 'gain'}, {'rest', 'late'}),
    (Keeps, {'depth', 'anything', 'at_all'}, set()),
    (Keeps, {'anything'}, {'dpeth'}),
    (HandsToModule, set(), {'anything'}),
])
def test_keys_follow_the_constructors_as_far_as_kwargs_are_handed_on(registered, cls, taken, refused):
    registered(MODELS, cls)
    check_config(Config(dict(model=dict(type=cls.__name__, **dict.fromkeys(taken, 1)))))
    for key in refused:
        cfg = dict(model={'type': cls.__name__, key: 1})
        assert f'model.{key}=1: {cls.__name__} takes no' in problems(cfg)


def test_a_name_in_several_registries_takes_the_keys_of_all(registered):
    registered(MODELS, Closed)
    registered(HOOKS, type('Closed', (), {'__init__': lambda self, when: None}))
    check_config(Config(dict(model=dict(type='Closed', width=1, when=2, priority=3))))
    assert "'never'" in problems(dict(model=dict(type='Closed', never=1)))


@pytest.mark.parametrize('name', ['', '.', '.ResNet', 'a b.c', 'mmpretrain.', '...', 'os.path'])
def test_a_name_that_cannot_be_one_is_refused(name):
    assert f'model.type={name!r}' in problems(dict(model=dict(type=name)))


def test_an_unregistered_part_is_told_how_it_gets_registered():
    assert 'custom_imports' in problems(dict(model=dict(type='Zzyzx')))


def test_keys_that_are_no_strings_are_let_through(registered):
    registered(MODELS, Keeps)
    check_config(Config(dict(model=dict(type='Keeps', depth={0: 1, 'a': {1: 2}}))))


def test_a_part_of_a_distiller_without_a_type_names_the_part_that_was_meant():
    cfg = training()
    cfg['model']['distiller']['connectors'] = dict(
        teacher_logits=dict(type='wsld_plugin.LogitConnector'), teacher_logit=dict(class_map=[0]))
    with pytest.raises(ConfigError, match=r"connectors\.teacher_logit has no type.*Did you mean 'teacher_logits'"):
        check_config(Config(cfg))


def test_a_scheduler_that_begins_after_the_end_is_refused():
    cfg = training()
    cfg['param_scheduler'] = [dict(type='LinearLR', by_epoch=True, end=20),
                              dict(type='CosineAnnealingLR', by_epoch=True, begin=20)]
    cfg['train_cfg'] = dict(by_epoch=True, max_epochs=1)
    with pytest.raises(ConfigError, match=r'param_scheduler\.1 begins at epoch 20, but the run has 1'):
        check_config(Config(cfg))
    cfg['train_cfg'] = dict(by_epoch=True, max_epochs=30)
    check_config(Config(cfg))


def test_a_misspelt_part_of_this_project_is_named_with_its_scope():
    cfg = training()
    cfg['model']['type'] = 'SoftLabelDistil'
    with pytest.raises(ConfigError, match=r"Did you mean 'wsld_plugin\.SoftLabelDistill'"):
        check_config(Config(cfg))


def test_a_name_of_the_model_zoo_is_completed_to_its_path():
    cfg = training()
    cfg['model']['architecture'] = dict(cfg_path='regnetx-800mf_8xb128_in1k')
    with pytest.raises(ConfigError, match=r"write 'mmpretrain::regnet/regnetx-800mf_8xb128_in1k\.py'"):
        check_config(Config(cfg))


@pytest.mark.parametrize('where', [
    'model.distiller', 'model.distiller.connectors.logits.k', 'model.teacher.members',
    'train_dataloader.dataset.dataset', 'train_dataloader.dataset.num_labels'])
def test_what_a_part_of_this_project_lacks_is_named(where):
    cfg = training()
    cfg['model']['teacher'] = dict(type='wsld_plugin.EnsembleTeacher', members=[cfg['model']['teacher']])
    cfg['model']['distiller']['connectors']['logits'] = dict(type='wsld_plugin.TopClasses', k=3)
    cfg['train_dataloader']['dataset'] = dict(
        type='wsld_plugin.FewLabels', num_labels=10, dataset=dict(type='wsld_plugin.Digits', split='train'))
    check_config(Config(cfg))
    *parents, name = where.split('.')
    part = reduce(getitem, parents, cfg)
    del part[name]
    assert f"{'.'.join(parents)}: {part['type']} needs {name!r}, which is not given" in problems(cfg)
