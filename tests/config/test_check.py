import re
import warnings
from functools import reduce
from operator import getitem
from pathlib import Path

import mmpretrain
import pytest
from factories import digits_distillation, run_cfg
from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.registry import HOOKS, MODELS
from torch import nn

from wsld_plugin.config.check import check_config, check_data, check_teacher
from wsld_plugin.datasets.keyed import key_training_set
from wsld_plugin.errors import ConfigError

SHIPPED = Path(mmpretrain.__file__).parent / '.mim' / 'configs'
CONFIGS = Path(__file__).parents[2] / 'configs'
MULTIMODAL = {'blip', 'blip2', 'chinese_clip', 'clip', 'flamingo', 'glip', 'llava', 'minigpt4', 'ofa', 'otter'}
# mmengine refuses them too: new-style bases of old-style configs, an undefined variable, packages that are
# not installed, a type that mmpretrain no longer has, `type` beside `by_epoch`.
BROKEN = ('replknet-31*', 'swinv2-*_8xb128_in21k-192px.py', '*coco.py', 'resnet50_8xb32-cutmix_in1k.py',
          'maskfeat/benchmarks/*')


def training():
    """A whole training config with something of every kind in it."""
    cfg = run_cfg('d', digits_distillation(teacher_ckpt='t.pth')).to_dict()
    cfg['model']['teacher']['backbone'] = dict(type='ResNetV1d', depth=18, norm_cfg=dict(type='BN'))
    cfg['model']['teacher']['head']['init_cfg'] = dict(type='Normal', layer='Linear', std=.01)
    pipeline = [
        dict(type='RandomResizedCrop', scale=32),
        dict(type='RandAugment', policies='timm_increasing', num_policies=2, magnitude_level=5, total_level=10),
        dict(type='torchvision/RandomRotation', degrees=5), dict(type='PackInputs')]
    cfg['train_dataloader'].update(num_batch_per_epoch=2, collate_fn=dict(type='default_collate'), dataset=dict(
        type='RepeatDataset', times=2, dataset=dict(type='CIFAR10', data_root='d', pipeline=pipeline)))
    cfg.update(
        data_preprocessor=dict(mean=[0], std=[1], num_classes=10),
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
        # other variables at the top level are allowed
        dataset_type='CIFAR10', train_pipeline=pipeline, models=pipeline, vis_backends=[dict(type='nothing')],
        optimizer=dict(lr=1), tta_cfg=dict(x=1), bgr_mean=[1], num_classes=3, my_own_words=dict(anything=1))
    return cfg


def put(cfg, where, value):
    """Set a dotted place in nested dicts and lists; ``old>new`` at its end renames a key."""
    *parents, last = where.split('.')
    cfg = reduce(lambda part, key: part[int(key) if key.isdigit() else key], parents, cfg)
    old, _, new = last.partition('>')
    cfg[new or old] = cfg.pop(old) if new else value


def problems(cfg):
    with pytest.raises(ConfigError) as caught:
        check_config(Config(cfg))
    return str(caught.value)


@pytest.mark.parametrize('every', [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_configs_that_mmpretrain_ships_pass(every):
    """All of them, or the last of each family."""
    families = {path: path.relative_to(SHIPPED).parts[0] for path in sorted(SHIPPED.glob('*/**/*.py'))
                if not any(path.match(pattern) for pattern in BROKEN)}
    paths = {path if every else family: path for path, family in families.items()
             if family not in MULTIMODAL | {'_base_'}}
    assert len(families) > 400
    for path in paths.values():
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', 'The config file .* will be deprecated', DeprecationWarning)
            cfg = Config.fromfile(path)
        cfg.setdefault('default_scope', 'mmpretrain')
        check_config(cfg)


def test_all_misspelt_keys_are_reported_together_each_with_the_nearest():
    cfg = training()
    check_config(Config(cfg))
    misspelt = [
        ('param_scheduler', 'param_schedulr'), ('model.teacher_ckpt', 'teacher_chkpt'),
        ('model.teacher.backbone.depth', 'dept'), ('model.distiller.distill_losses.loss_soft.tau', 'taau'),
        ('model.distiller.student_recorders.logits.source', 'sources'), ('train_dataloader.batch_size', 'batchsize'),
        ('train_dataloader.dataset.dataset.data_root', 'data_rot'), ('train_cfg.max_epochs', 'max_epoch'),
        ('val_evaluator.0.topk', 'top_k'), ('optim_wrapper.paramwise_cfg.norm_decay_mult', 'norm_decay_mul'),
        ('default_hooks.checkpoint', 'chekpoint'), ('data_preprocessor.mean', 'means'),
        ('env_cfg.mp_cfg.opencv_num_threads', 'opencv_num_thread'), ('randomness.seed', 'sed')]
    for where, wrong in misspelt:
        put(cfg, f'{where}>{wrong}', None)
    message = problems(cfg)
    assert f' has {len(misspelt)} problems:' in message
    for where, wrong in misspelt:
        *parents, right = where.split('.')
        assert re.search(rf"\b{'.'.join([*parents, wrong])}\b.*Did you mean '{right}'\?", message), where


@pytest.mark.parametrize(('where', 'value', 'said'), [
    ('train_cfg.val_interval', 0, 'expected an integer of 1 or more'),
    ('optim_wrapper.accumulative_counts', 1.5, 'expected an integer of 1 or more'),
    ('optim_wrapper.clip_grad.max_norm', -1, r'expected a finite number in \(0, inf\)'),
    ('optim_wrapper.optimizer.momentum', 1.5, r'expected a finite number in \[0, 1\]'),
    ('optim_wrapper.optimizer.lr', float('nan'), 'expected a finite number'),
    ('data_preprocessor.std', [1, -1, 1], 'std=-1, expected a finite number'),
    ('val_evaluator', dict(type='Accuracy', topk=(1, 0)), 'topk=0, expected an integer of 1 or more'),
    ('default_hooks.checkpoint.interval', 'abc', 'expected an integer of -1 or more'),
    ('custom_hooks', [dict(type='wsld_plugin.KD')], "type='wsld_plugin.KD' is a model, expected a hook"),
    ('train_dataloader.sampler', dict(typ='DefaultSampler'), "sampler has no type. Write 'type' for 'typ'"),
])
def test_values_that_cannot_be_trained_with_are_rejected_before_any_work(where, value, said):
    cfg = training()
    put(cfg, where, value)
    assert re.search(f'{where.split(".")[0]}.*{said}', problems(cfg))


def test_a_problem_of_a_part_that_a_run_wraps_has_the_path_that_the_user_wrote(tmp_path):
    cfg = run_cfg(tmp_path, digits_distillation())
    cfg.train_dataloader.dataset.num_sample = 3
    key_training_set(cfg)
    assert 'train_dataloader.dataset.num_sample=3: ' in problems(cfg.to_dict())


def test_keys_left_over_from_another_type_and_parts_without_a_type_are_rejected_with_the_remedy():
    cfg = training()
    cfg['model']['architecture']['train_cfg'] = dict(augment=dict(type='Mixup', alpha=.2))
    cfg['model']['teacher']['backbone']['type'] = 'MobileNetV2'
    cfg['model']['distiller']['connectors']['teacher_logit'] = dict(class_map=[0])
    message = problems(cfg)
    assert "model.architecture.train_cfg.augment={'type': 'Mixup', 'alpha': 0.2}: train_cfg takes no" in message
    assert "model.teacher.backbone.depth=18: MobileNetV2 takes no 'depth'. It takes " in message
    assert '_delete_=True' in message
    assert re.search(r"connectors\.teacher_logit has no type.*Did you mean 'teacher_logits'", message)


@pytest.mark.parametrize(('where', 'given', 'remedy'), [
    *((where, given, f'Did you mean {nearest!r}?') for where, given, nearest in (
        ('model.type', 'wsld_plugn.SoftLabelDistill', 'wsld_plugin.SoftLabelDistill'),
        ('model.type', 'SoftLabelDistil', 'wsld_plugin.SoftLabelDistill'),
        ('model.teacher.backbone.type', 'ResNett', 'ResNet'),
        ('model.teacher.backbone.type', 'mmcls.ResNet', 'mmpretrain.ResNet'),
        ('model.distiller.distill_losses.loss_soft.type', 'wsld_plugin.KDD', 'wsld_plugin.KD'),
        ('train_dataloader.collate_fn.type', 'default_colate', 'default_collate'),
        ('optim_wrapper.optimizer.type', 'torch.optim.Adamm', 'torch.optim.Adam'),
        ('optim_wrapper.constructor', 'DefaultOptimWraperConstructor', 'DefaultOptimWrapperConstructor'),
        ('train_dataloader.dataset.dataset.pipeline.2.type', 'torchvision/RandomRotate',
         'torchvision/RandomRotation'),
        ('runner_type', 'Runer', 'Runner'), ('default_scope', 'mmpretran', 'mmpretrain'))),
    ('model.distiller.type', 'ConfigurableDistiller', "write 'mmrazor.ConfigurableDistiller'"),
    ('model.distiller.distill_losses.loss_soft.type', 'LogitConnector', "write 'wsld_plugin.LogitConnector'"),
    ('model.type', 'Zzyzx', 'custom_imports'),
])
def test_a_name_that_is_not_registered_is_shown_with_the_nearest_or_its_scope_or_how_to_import_it(
        where, given, remedy):
    cfg = training()
    put(cfg, where, given)
    message = problems(cfg)
    assert all(part in message for part in (where, given, remedy)), message


@pytest.mark.parametrize('name', ['', '.', '.ResNet', 'a b.c', 'mmpretrain.', '...', 'os.path'])
def test_a_malformed_name_is_rejected(name):
    assert f'model.type={name!r}' in problems(dict(model=dict(type=name)))


def test_a_scope_in_a_dict_is_valid_inside_it_only():
    inside = dict(type='ImageClassifier', backbone=dict(type='ResNet', depth=18))
    check_config(Config(dict(model=dict(_scope_='mmpretrain', **inside))))
    message = problems(dict(model=dict(_scope_='mmpretrain', **inside), val_evaluator=dict(type='Accuracy')))
    assert "val_evaluator.type='Accuracy' is not registered in the scope 'mmengine'" in message
    assert 'ResNet' not in message


def test_a_class_is_checked_like_its_name():
    cfg = dict(default_hooks=dict(checkpoint=dict(type=CheckpointHook, interval=1, priority='LOW')))
    check_config(Config(cfg))
    cfg['default_hooks']['checkpoint']['intervall'] = 1
    assert 'CheckpointHook takes no' in problems(cfg)


@pytest.mark.parametrize(('old', 'new', 'nearest'), [('depth=18', 'dept=18', "'depth'"),
                                                     ('ResNet', 'ResNett', "'mmpretrain.models.ResNet'")])
def test_a_new_style_config_is_checked_like_an_old_one(tmp_path, old, new, nearest):
    text = ('from mmengine.runner import EpochBasedTrainLoop\n'
            'from mmpretrain.models import ImageClassifier, ResNet\n'
            'model = dict(type=ImageClassifier, backbone=dict(type=ResNet, depth=18))\n'
            'train_cfg = dict(type=EpochBasedTrainLoop, max_epochs=3)\n')
    path = tmp_path / 'new_style.py'
    path.write_text(text)
    check_config(Config.fromfile(path))
    path.write_text(text.replace(old, new))
    with pytest.raises(ConfigError, match=f'Did you mean {nearest}'):
        check_config(Config.fromfile(path))


class Closed(nn.Module):
    def __init__(self, width, *, gain=1):
        super().__init__()


class PassesOn(Closed):
    def __init__(self, depth, **rest):
        self.early = rest.pop('early', None)
        super().__init__(gain=2, **rest)


@pytest.mark.parametrize(('cls', 'accepted', 'rejected'), [
    (Closed, {'width', 'gain'}, {'depth', 'self', 'anything'}),
    (PassesOn, {'depth', 'early', 'width', 'gain'}, {'dpeth', 'widht'}),
])
def test_keys_are_compared_with_the_signatures_of_the_base_classes(monkeypatch, cls, accepted, rejected):
    monkeypatch.setitem(MODELS.module_dict, cls.__name__, cls)
    value = {0: 1, 'a': {1: 2}}  # keys that are no strings are allowed
    check_config(Config(dict(model=dict(type=cls.__name__, **dict.fromkeys(accepted, value)))))
    for key in rejected:
        assert f'model.{key}=1: {cls.__name__} takes no' in problems(dict(model={'type': cls.__name__, key: 1}))


def test_a_name_in_several_registries_accepts_the_keys_of_all(monkeypatch):
    monkeypatch.setitem(MODELS.module_dict, 'Closed', Closed)
    monkeypatch.setitem(HOOKS.module_dict, 'Closed', type('Closed', (), {'__init__': lambda self, when: None}))
    check_config(Config(dict(model=dict(type='Closed', width=1, when=2, priority=3))))
    assert "'never'" in problems(dict(model=dict(type='Closed', never=1)))


def test_a_scheduler_that_begins_after_the_end_is_rejected():
    cfg = training()
    cfg['param_scheduler'] = [dict(type='LinearLR', by_epoch=True, end=20),
                              dict(type='CosineAnnealingLR', by_epoch=True, begin=20)]
    cfg['train_cfg'] = dict(by_epoch=True, max_epochs=1)
    assert 'param_scheduler.1 begins at epoch 20, but the run has 1' in problems(cfg)
    cfg['train_cfg'] = dict(by_epoch=True, max_epochs=30)
    check_config(Config(cfg))


@pytest.mark.parametrize('where', [
    'model.distiller', 'model.distiller.connectors.teacher_logits.k', 'model.teacher.members',
    'train_dataloader.dataset.dataset', 'train_dataloader.dataset.num_labels'])
def test_a_missing_argument_of_a_part_of_this_package_is_named(where):
    cfg = training()
    cfg['model']['teacher'] = dict(type='wsld_plugin.EnsembleTeacher', members=[cfg['model']['teacher']])
    cfg['model']['distiller']['connectors']['teacher_logits'] = dict(type='wsld_plugin.TopClasses', k=3)
    cfg['train_dataloader']['dataset'] = dict(
        type='wsld_plugin.FewLabels', num_labels=10,
        dataset=dict(type='wsld_plugin.Digits', split='train', pipeline=cfg['models']))
    check_config(Config(cfg))
    *parents, name = where.split('.')
    part = reduce(getitem, parents, cfg)
    del part[name]
    assert f"{'.'.join(parents)}: {part['type']} needs {name!r}, which is not given" in problems(cfg)


def data(root, **settings):
    inner = dict(type='CustomDataset', data_root=str(root), **settings)
    loader = dict(dataset=dict(type='RepeatDataset', dataset=inner))
    return Config(dict(model={}, train_cfg={}, train_dataloader=loader))


def test_missing_data_are_named_with_the_loader_and_the_nearest_name_unless_unused_or_remote(tmp_path):
    (tmp_path / 'images/train').mkdir(parents=True)
    (tmp_path / 'images/train.txt').touch()
    root = tmp_path / 'images'
    for prefix in ('', 'train', dict(img_path='train')):
        check_data(data(root, data_prefix=prefix, ann_file=''))
    check_data(data(root, ann_file='train.txt'))
    check_data(data('s3://bucket'))
    unused = data('/nowhere')
    unused.train_cfg = None
    check_data(unused)
    for settings, missing, near in ((dict(data_prefix='trian'), 'trian', 'train'),
                                    (dict(data_prefix=dict(img_path='trian')), 'trian', 'train'),
                                    (dict(ann_file='trian.txt'), 'trian.txt', 'train.txt')):
        with pytest.raises(ConfigError, match=rf"^train_dataloader\.dataset\.dataset needs .*images/{missing} does "
                                              rf"not exist\. Did you mean '{near}'"):
            check_data(data(root, **settings))
    with pytest.raises(ConfigError, match=r"/imges does not exist\. Did you mean 'images'"):
        check_data(data(tmp_path / 'imges', data_prefix='train'))


@pytest.mark.parametrize(('model', 'where'), [
    (lambda file: dict(teacher_ckpt=file), 'teacher_ckpt'),
    (lambda file: dict(teacher_ckpt=False, teacher=dict(checkpoint=file)), r'teacher\.checkpoint'),
    (lambda file: dict(teacher=dict(members=[dict(checkpoint=False), dict(checkpoint=file)])),
     r'teacher\.members\.1\.checkpoint')])
def test_a_missing_checkpoint_of_a_teacher_is_named_with_the_nearest_file(tmp_path, model, where):
    (tmp_path / 'resnet34.pth').touch()
    with pytest.raises(ConfigError, match=rf"^model\.{where}=.*no such file\. Did you mean 'resnet34\.pth'"):
        check_teacher(Config(dict(model=model(str(tmp_path / 'resnet43.pth')))))
    with pytest.raises(ConfigError, match=rf'^model\.{where}=.* is a folder, expected a checkpoint'):
        check_teacher(Config(dict(model=model(str(tmp_path)))))
    for present in (str(tmp_path / 'resnet34.pth'), 'https://example.org/t.pth', False):
        check_teacher(Config(dict(model=model(present))))


def test_a_missing_checkpoint_is_named_with_the_command_that_trains_it():
    cfg = Config(dict(model=dict(teacher_ckpt='work_dirs/resnet18-w32_digits/model_best.pth')),
                 filename=str(CONFIGS / 'kd/kd_resnet18-w32_resnet18-w8_digits.py'))
    with pytest.raises(ConfigError, match=r'Train it: python tools/train\.py .*baselines/resnet18-w32_digits\.py$'):
        check_teacher(cfg)
