"""Each part of the switch, and what is learnt with it."""
import re
from pathlib import Path

import pytest
import torch
from factories import RGB, batch, build, classifier, digits_classifier, digits_distillation, distillation, run_cfg
from mmengine.config import Config, ConfigDict
from mmengine.optim import build_optim_wrapper
from mmengine.registry import RUNNERS
from packs import AUGMENTED, make_pack, recorded
from processes import tool
from torch._inductor import cpp_builder
from torch._inductor.exc import InvalidCxxCompiler

from wsld_plugin.config.check import check_config
from wsld_plugin.datasets.keyed import key_training_set
from wsld_plugin.engine.accelerate import (
    DEFAULTS,
    MANY_CLASSES,
    AutocastOptimWrapper,
    accelerate,
    compile_backbones,
    compile_losses,
    use_amp,
    use_resident_data,
)
from wsld_plugin.engine.training import train, training_config
from wsld_plugin.errors import ConfigError


def accelerated(**parts):
    cfg = Config(dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=.1)), accelerate=parts))
    accelerate(cfg)
    return cfg


WIDE = dict(architecture=digits_classifier(16), teacher=digits_classifier(16))  # channels-last is safe from 16 on


def run(tmp_path, **parts):
    cfg = run_cfg(tmp_path, digits_distillation(**WIDE), accelerate=parts)
    accelerate(cfg)
    runner = RUNNERS.build(cfg)
    runner.train()
    return runner


def test_the_switch_configures_its_parts_once_and_without_it_only_channels_last_is_on():
    cfg = accelerated()
    assert cfg.accelerate == DEFAULTS
    assert [name for name, value in DEFAULTS.items() if value] == ['channels_last']
    assert cfg.optim_wrapper == dict(optimizer=dict(type='SGD', lr=.1))
    cfg = accelerated(amp='bf16', compile=dict(backend='eager'))
    assert cfg.optim_wrapper.type == 'wsld_plugin.AutocastOptimWrapper'
    assert cfg.default_hooks.accelerate == dict(type='wsld_plugin.AccelerateHook', compile=dict(backend='eager'))
    once = cfg.to_dict()
    accelerate(cfg)
    assert cfg.to_dict() == once


@pytest.mark.parametrize(('asked', 'message'), [
    *((dict(accelerate=parts), message) for parts, message in (
        (dict(channel_last=True), r"accelerate\.channel_last: unknown part.*Did you mean 'channels_last'"),
        (dict(amp='bf61'), r"accelerate\.amp='bf61', expected one of None, 'bf16', 'fp16'.*'bf16'"),
        (dict(channels_last='yes'), r"accelerate\.channels_last='yes', expected one of True, False"),
        (dict(compile='max'), r"accelerate\.compile='max', expected True, False or a dict"),
        (dict(cuda_graph=True), r"cuda_graph=True: .*compile=dict\(mode='reduce-overhead'\)"),
        (dict(decode='scaled'), r"decode='scaled': .*Remove `accelerate\.decode`"),
        (dict(decode='exact'), r"decode='exact': .*Remove `accelerate\.decode`"))),
    (dict(runner_type='FlexibleRunner'), r"runner_type='FlexibleRunner': .*runner_type='Runner'"),
    (dict(strategy=dict(type='wsld_plugin.FSDPStrategy')), r"strategy\.type='wsld_plugin\.FSDPStrategy': .*DDP"),
    (dict(strategy=dict(type='DDPStrategy')), r'strategy=.*DDPStrategy.*FSDP and DeepSpeed were removed'),
    (dict(custom_hooks=[dict(type='wsld_plugin.CapturedStepHook')]), r"custom_hooks\.0\.type=.*'reduce-overhead'"),
    (dict(train_dataloader=dict(dataset=dict(pipeline=[dict(type='wsld_plugin.LoadRandomResizedCrop')]))),
     r"pipeline\.0\.type=.*'LoadImageFromFile'.*'RandomResizedCrop'"),
    (dict(train_dataloader=dict(dataset=dict(pipeline=[dict(type='wsld_plugin.PackPlanes')]))), "'PackInputs'"),
])
def test_unknown_and_removed_parts_values_and_types_are_refused_with_what_to_write(asked, message):
    with pytest.raises(ConfigError, match=message):
        accelerate(Config(dict(optim_wrapper={}, **asked)))


@pytest.mark.parametrize('removed', [
    dict(fold_teacher_bn=True, cuda_graph=False, decode=None),
    dict(fold_teacher_bn='yes', cuda_graph=None, decode=False)])
def test_settings_that_ask_for_nothing_removed_are_dropped(removed):
    cfg = Config(dict(optim_wrapper={}, accelerate=dict(removed, compile=True), default_hooks=dict(
        accelerate=dict(type='wsld_plugin.AccelerateHook', fold_teacher_bn=True, compile=True))))
    accelerate(cfg)
    assert cfg.accelerate == dict(DEFAULTS, compile=True)
    assert cfg.default_hooks.accelerate == dict(type='wsld_plugin.AccelerateHook', compile=True)


def test_a_leaf_config_can_give_arguments_of_torch_compile(tmp_path):
    leaf = tmp_path / 'leaf.py'
    leaf.write_text(f"_base_ = '{CONFIGS}/wsld/wsld_resnet18-w32_resnet18-w8_digits.py'\n"
                    "accelerate = dict(compile=dict(mode='reduce-overhead'))\n")
    cfg = training_config(str(leaf), work_dir=str(tmp_path / 'run'))
    assert cfg.accelerate.compile == dict(mode='reduce-overhead')


def test_channels_last_trains_the_same_weights(tmp_path):
    fast, plain = run(tmp_path / 'fast'), run(tmp_path / 'plain', channels_last=False)
    weight = fast.model.student.backbone.layer1[0].conv1.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not weight.is_contiguous()
    torch.testing.assert_close(fast.model.state_dict(), plain.model.state_dict(), rtol=1e-3, atol=1e-4)


def test_a_bf16_step_computes_in_bf16_keeps_float32_weights_and_losses_and_is_close_to_the_float32_step():
    losses = []
    for kind, dtype in (('OptimWrapper', torch.float32), ('wsld_plugin.AutocastOptimWrapper', torch.bfloat16)):
        torch.manual_seed(0)
        model, seen = build(distillation()).train(), []
        wrapper = build_optim_wrapper(model, dict(type=kind, optimizer=dict(type='SGD', lr=.1)))
        for module in (model.student.head, model.distiller.distill_losses['loss_soft']):
            module.register_forward_hook(lambda _, inputs, output, seen=seen: seen.append(output.dtype))
        before = [p.clone() for p in model.parameters()]
        losses.append(model.train_step(batch(), wrapper))
        assert seen == [dtype, torch.float32]
        assert {p.dtype for p in model.parameters()} == {torch.float32}
        assert any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert all(torch.isfinite(value) for value in losses[1].values())
    torch.testing.assert_close(losses[0]['loss'], losses[1]['loss'], rtol=0.03, atol=0)


def test_amp_switches_a_config_and_keeps_the_optimizer_but_not_without_a_scaler_or_for_another_wrapper():
    cfg = ConfigDict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=.1), clip_grad=dict(max_norm=1)))
    use_amp(cfg, 'bf16')
    assert cfg.optim_wrapper == dict(type='wsld_plugin.AutocastOptimWrapper', dtype='bfloat16',
                                     optimizer=dict(type='SGD', lr=.1), clip_grad=dict(max_norm=1))
    with pytest.raises(ConfigError, match=r"dtype='float16'.*AmpOptimWrapper"):
        AutocastOptimWrapper(dtype='float16', optimizer=torch.optim.SGD([torch.zeros(1)], lr=1))
    with pytest.raises(ConfigError, match='ApexOptimWrapper'):
        use_amp(ConfigDict(optim_wrapper=dict(type='ApexOptimWrapper')), 'bf16')


@pytest.mark.skipif(torch.cuda.is_available(), reason='float16 works on a GPU')
def test_float16_on_a_cpu_is_refused():
    with pytest.raises(ConfigError, match='--amp bf16'):
        use_amp(ConfigDict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=.1))), 'fp16')


# torch: dynamo instantiates an autograd function and reads the .grad of logits; both warn
@pytest.mark.filterwarnings('ignore:.*should not be instantiated:DeprecationWarning',
                            'ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning')
def test_backbones_and_losses_of_many_classes_are_compiled_between_the_recorders_and_train_the_same():
    losses = []
    for compiled in (False, True):
        torch.manual_seed(0)
        student, teacher = (classifier(MANY_CLASSES, width, RGB) for width in (4, 8))
        model = build(distillation(architecture=student, teacher=teacher))
        if compiled:
            how = dict(backend='aot_eager')
            assert [*compile_backbones(model, how), *compile_losses(model, how)] == [
                f'compile: the {part}.' for part in ("teacher's backbone", "student's backbone", 'loss loss_soft')]
            assert model.distiller.distill_losses['loss_soft']._compiled_call_impl is not None
        optimizer = build_optim_wrapper(model, dict(optimizer=dict(type='SGD', lr=.1)))
        steps = [model.train_step(batch(), optimizer) for _ in range(2)]
        losses.append({name: value.item() for name, value in steps[1].items()})
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_a_machine_without_a_compiler_is_refused_before_the_first_batch(tmp_path, monkeypatch):
    def no_compiler():
        raise InvalidCxxCompiler
    cfg = run_cfg(tmp_path, digits_distillation(), accelerate=dict(compile=True))
    accelerate(cfg)
    runner = RUNNERS.build(cfg)
    monkeypatch.setattr(cpp_builder, 'get_cpp_compiler', no_compiler)
    with pytest.raises(ConfigError, match=r'accelerate\.compile needs a C\+\+ compiler'):
        runner.train()
    assert runner.iter == 0


def test_mixed_precision_and_compilation_come_from_the_switch_and_compiled_parts_are_logged_once(tmp_path):
    assert isinstance(run(tmp_path, amp='bf16', compile=dict(backend='eager')).optim_wrapper, AutocastOptimWrapper)
    log, = tmp_path.glob('*/*.log')
    assert re.findall(r'accelerate\.compile: (the .*)', log.read_text()) == ["the teacher's backbone.",
                                                                            "the student's backbone."]


def test_a_backbone_with_a_recorder_inside_and_losses_of_few_classes_or_no_distillation_are_not_compiled():
    members = [dict(model=classifier(width=width), checkpoint=False) for width in (4, 8)]
    model = build(distillation(teacher=dict(type='wsld_plugin.EnsembleTeacher', members=members)))
    model.student.backbone.layer3.register_forward_hook(lambda *_: None)
    *teachers, line = compile_backbones(model, dict(backend='eager'))
    assert line == "compile: left out for the student's backbone, 'layer3' in it has a hook."
    assert model.student.backbone._compiled_call_impl is None
    assert len(teachers) == 2  # every member of the ensemble
    assert all(member.model.backbone._compiled_call_impl is not None for member in model.teacher.members)
    assert compile_losses(model, dict(backend='eager')) == []
    assert compile_losses(build(classifier()), dict(backend='eager')) == []


CROP_AND_FLIP = [*AUGMENTED[:2], AUGMENTED[-1]]
ROTATED = [*AUGMENTED[:2], dict(type='mmpretrain.NumpyToPIL'),
           dict(type='mmpretrain.torchvision/RandomRotation', degrees=15), dict(type='mmpretrain.PILToNumpy'),
           AUGMENTED[-1]]
CONFIGS = Path(__file__).parents[2] / 'configs'


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    return make_pack(tmp_path_factory.mktemp('data') / 'pack', train=96, test=20)


def packed_cfg(work_dir, root, model=None, pipeline=CROP_AND_FLIP, **overrides):
    """As configs of packed data are written: 96 images, six iterations an epoch."""
    def loader(split, pipeline, shuffle):
        return dict(batch_size=16, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=shuffle),
                    collate_fn=dict(type='default_collate'),
                    dataset=dict(type='wsld_plugin.PackedDataset', data_root=str(root), split=split,
                                 pipeline=pipeline))
    return run_cfg(work_dir, model or classifier(10, data_preprocessor=RGB),
                   **{**dict(train_dataloader=loader('train', pipeline, True),
                             val_dataloader=loader('test', pipeline[-1:], False), test_dataloader=None,
                             test_cfg=None, test_evaluator=None), **overrides})


def resident(cfg):
    key_training_set(cfg)
    use_resident_data(cfg)
    return cfg


def usual(cfg):
    key_training_set(cfg)
    return cfg


def assert_same_weights(first, second):
    """To the last bit; a GPU adds in a varying order."""
    tolerance = 1e-3 if torch.cuda.is_available() else 0
    torch.testing.assert_close(first.model.state_dict(), second.model.state_dict(), rtol=tolerance, atol=tolerance)


def test_only_how_the_training_set_is_loaded_changes_once_and_a_plain_config_is_keyed_first(tmp_path, root):
    plain = packed_cfg(tmp_path, root)
    plain.train_dataloader.update(num_workers=4, persistent_workers=True, prefetch_factor=3, pin_memory=True,
                                  drop_last=True)
    plain.val_dataloader = plain.train_dataloader
    cfg = Config(plain.to_dict())
    cfg.val_dataloader = cfg.train_dataloader  # shared
    resident(cfg)
    loader, before = cfg.train_dataloader, plain.train_dataloader
    assert loader.dataset == dict(type='wsld_plugin.ResidentDataset', dataset=before.dataset)
    assert loader.sampler == dict(type='wsld_plugin.KeyedSampler', sampler=before.sampler)
    assert set(loader) == {'dataset', 'sampler', 'batch_size', 'drop_last', 'num_workers', 'collate_fn'}
    assert (loader.batch_size, loader.drop_last, loader.num_workers) == (16, True, 0)
    assert {key: cfg[key] for key in plain if key != 'train_dataloader'} == \
        {key: plain[key] for key in plain if key != 'train_dataloader'}
    check_config(cfg)
    again = resident(Config.fromstring(cfg.dump(), '.py'))
    use_resident_data(plain)
    assert again.train_dataloader == plain.train_dataloader == loader
    cached, whole_images = dict(type='wsld_plugin.CachedTeacher'), [*ROTATED[2::2], AUGMENTED[-1]]
    use_resident_data(packed_cfg(tmp_path, root, distillation(teacher=cached), whole_images))  # is not refused


@pytest.mark.parametrize(('changes', 'message'), [
    *((dict(pipeline=[dict(type=name), AUGMENTED[-1]]), f'has {name}, which.*RandomCrop, RandomFlip, .*, PackInputs')
      for name in ('torchvision/RandomResizedCrop', 'LoadImageFromFile')),
    (dict(model=distillation(teacher=dict(type='wsld_plugin.CachedTeacher'))),
     'CachedTeacher belong to images that were augmented on the CPU'),
    (dict(train_dataloader=None), r'train_dataloader\.dataset is .*, expected the config'),
    (dict(train_dataloader=dict(dataset=[1, 2])), r'train_dataloader\.dataset is .*, expected the config'),
])
def test_other_transforms_cached_soft_labels_of_other_crops_and_no_data_set_are_refused(
        tmp_path, root, changes, message):
    with pytest.raises(ConfigError, match=message):
        use_resident_data(packed_cfg(tmp_path, root, **changes))


@pytest.mark.parametrize('digits', [True, False])
def test_the_same_weights_are_learnt_without_augmentation(tmp_path, root, digits):
    def trained(change):
        if digits:
            return train(change(run_cfg(tmp_path / change.__name__, digits_classifier())))
        model = distillation(architecture=classifier(10, data_preprocessor=RGB), teacher=classifier(10, width=8))
        return train(change(packed_cfg(tmp_path / change.__name__, root, model, AUGMENTED[-1:], epochs=1)))
    assert_same_weights(trained(usual), trained(resident))


@pytest.mark.parametrize('path', sorted((CONFIGS / '_base_/datasets').glob('cifar*.py')), ids=lambda path: path.stem)
def test_the_data_of_every_cifar_config_are_accepted(path):
    cfg = Config.fromfile(path)
    pipeline = cfg.train_dataloader.dataset.pipeline
    use_resident_data(cfg)
    assert cfg.train_dataloader.dataset.dataset.pipeline == pipeline


@pytest.mark.parametrize(('checkpoint', 'settings'), [
    ('iter_2', dict(pipeline=ROTATED, train_cfg=dict(by_epoch=False, max_iters=5, val_interval=5))),
    ('epoch_2', dict(epochs=3))])
def test_resume_in_the_middle_and_at_the_end_of_an_epoch_is_exact(tmp_path, root, checkpoint, settings):
    def run(name, **more):
        cfg = packed_cfg(tmp_path / name, root, **settings, **more)
        cfg.default_hooks.checkpoint.update(by_epoch='epochs' in settings, max_keep_ckpts=-1)
        return train(resident(cfg))
    whole = run('whole')
    resumed = run('resumed', resume=True, load_from=str(tmp_path / f'whole/{checkpoint}.pth'))
    assert resumed.iter == whole.iter
    assert_same_weights(resumed, whole)


@pytest.mark.skipif(torch.cuda.is_available(), reason='would need two GPUs')
def test_two_ranks_train_on_the_pixels_of_one(tmp_path, root):
    cfg = packed_cfg(tmp_path / 'unused', root, pipeline=ROTATED,
                     custom_imports=dict(imports=['wsld_plugin', 'packs']),
                     custom_hooks=[dict(type='RecordPixels', folder=str(tmp_path / 'one'))])
    cfg.accelerate = dict(resident=True)
    path = tmp_path / 'small.py'
    cfg.dump(path)
    train(training_config(str(path), work_dir=str(tmp_path / 'alone')))
    tool('dist_train.sh', path, 2, '--work-dir', tmp_path / 'pair', '--cfg-options',
         f'custom_hooks.0.folder={tmp_path / "halves"}')
    assert len(list((tmp_path / 'halves').iterdir())) == 2
    one = recorded(tmp_path / 'one')
    assert recorded(tmp_path / 'halves') == one
    assert sorted(one) == [(epoch, index) for epoch in range(2) for index in range(96)]
    assert all(len(pixels) == 1 for pixels in one.values())
    assert any(one[0, index] != one[1, index] for index in range(96))
