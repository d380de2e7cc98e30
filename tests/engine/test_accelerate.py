"""Each part of the switch, and what is learnt with it."""
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from factories import RGB, batch, build, classifier, digits_classifier, digits_distillation, distillation, run_cfg
from mmengine.config import Config, ConfigDict
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS, RUNNERS, DefaultScope
from packs import AUGMENTED, recorded
from processes import tool
from torch import nn
from torch._inductor import cpp_builder
from torch._inductor.exc import InvalidCxxCompiler

from wsld_plugin.config.check import check_config
from wsld_plugin.datasets import SampleKey
from wsld_plugin.datasets.keyed import key_training_set
from wsld_plugin.datasets.packing import Source, pack
from wsld_plugin.engine.accelerate import (
    DEFAULTS,
    MANY_CLASSES,
    AutocastOptimWrapper,
    accelerate,
    compile_backbones,
    compile_losses,
    use_amp,
    use_channels_last,
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


def test_without_the_switch_only_channels_last_is_on():
    cfg = Config(dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=.1))))
    accelerate(cfg)
    assert cfg.accelerate == DEFAULTS
    assert [name for name, value in DEFAULTS.items() if value] == ['channels_last']
    assert cfg.optim_wrapper == dict(optimizer=dict(type='SGD', lr=.1))


def test_the_switch_configures_its_parts_and_a_second_call_changes_nothing():
    cfg = accelerated(amp='bf16', compile=dict(backend='eager'))
    assert cfg.optim_wrapper.type == 'wsld_plugin.AutocastOptimWrapper'
    assert cfg.default_hooks.accelerate == dict(type='wsld_plugin.AccelerateHook', compile=dict(backend='eager'))
    once = cfg.to_dict()
    accelerate(cfg)
    assert cfg.to_dict() == once


@pytest.mark.parametrize(('parts', 'message'), [
    (dict(channel_last=True), r"accelerate\.channel_last: unknown part.*Did you mean 'channels_last'"),
    (dict(amp='bf61'), r"accelerate\.amp='bf61', expected one of None, 'bf16', 'fp16'.*'bf16'"),
    (dict(channels_last='yes'), r"accelerate\.channels_last='yes', expected one of True, False"),
    (dict(compile='max'), r"accelerate\.compile='max', expected True, False or a dict"),
    (dict(cuda_graph=True), r"cuda_graph=True: .*compile=dict\(mode='reduce-overhead'\)"),
    (dict(decode='scaled'), r"decode='scaled': .*Remove `accelerate\.decode`"),
    (dict(decode='exact'), r"decode='exact': .*Remove `accelerate\.decode`"),
])
def test_unknown_and_removed_parts_and_values_are_refused_with_what_to_write(parts, message):
    with pytest.raises(ConfigError, match=message):
        accelerated(**parts)


@pytest.mark.parametrize('removed', [
    dict(fold_teacher_bn=True, cuda_graph=False, decode=None),
    dict(fold_teacher_bn='yes', cuda_graph=None, decode=False)])
def test_settings_that_ask_for_nothing_removed_are_dropped(removed):
    cfg = Config(dict(optim_wrapper={}, accelerate=dict(removed, compile=True), default_hooks=dict(
        accelerate=dict(type='wsld_plugin.AccelerateHook', fold_teacher_bn=True, compile=True))))
    accelerate(cfg)
    assert cfg.accelerate == dict(DEFAULTS, compile=True)
    assert cfg.default_hooks.accelerate == dict(type='wsld_plugin.AccelerateHook', compile=True)


@pytest.mark.parametrize(('asked', 'message'), [
    (dict(runner_type='FlexibleRunner'), r"runner_type='FlexibleRunner': .*runner_type='Runner'"),
    (dict(strategy=dict(type='wsld_plugin.FSDPStrategy')), r"strategy\.type='wsld_plugin\.FSDPStrategy': .*DDP"),
    (dict(strategy=dict(type='DDPStrategy')), r'strategy=.*DDPStrategy.*FSDP and DeepSpeed were removed'),
    (dict(custom_hooks=[dict(type='wsld_plugin.CapturedStepHook')]), r"custom_hooks\.0\.type=.*'reduce-overhead'"),
    (dict(train_dataloader=dict(dataset=dict(pipeline=[dict(type='wsld_plugin.LoadRandomResizedCrop')]))),
     r"pipeline\.0\.type=.*'LoadImageFromFile'.*'RandomResizedCrop'"),
    (dict(train_dataloader=dict(dataset=dict(pipeline=[dict(type='wsld_plugin.PackPlanes')]))), "'PackInputs'"),
])
def test_removed_types_are_refused_with_what_to_write(asked, message):
    with pytest.raises(ConfigError, match=message):
        accelerate(Config(dict(optim_wrapper={}, **asked)))


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
    wanted = plain.model.state_dict()
    assert fast.model.state_dict().keys() == wanted.keys()
    for name, value in fast.model.state_dict().items():
        torch.testing.assert_close(value, wanted[name], rtol=1e-3, atol=1e-4)


def test_mixed_precision_comes_from_the_switch(tmp_path):
    assert isinstance(run(tmp_path, amp='bf16').optim_wrapper, AutocastOptimWrapper)


def test_channels_last_converts_student_and_teacher_and_keeps_losses_and_gradients():
    found = []
    for converted in (False, True):
        torch.manual_seed(0)
        model = build(distillation(architecture=classifier(width=16, data_preprocessor=RGB),
                                   teacher=classifier(width=16)))
        if converted:
            use_channels_last(model)
        seen = []
        for part in (model.student, model.teacher):
            part.backbone.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[0]))
        data = model.data_preprocessor(batch(8), training=True)
        losses = model(**data, mode='loss')
        sum(value for name, value in losses.items() if 'loss' in name).backward()
        found.append((losses, [parameter.grad for parameter in model.student.parameters()]))
        assert [image.is_contiguous(memory_format=torch.channels_last) for image in seen] == [converted] * 2
    (losses, gradients), (same_losses, same_gradients) = found
    for name in losses:
        torch.testing.assert_close(same_losses[name], losses[name], rtol=1e-5, atol=1e-6)
    for gradient, same in zip(gradients, same_gradients, strict=True):
        torch.testing.assert_close(same, gradient, rtol=1e-3, atol=1e-5)


def test_a_model_without_convolutions_is_not_converted():
    model = nn.Sequential(nn.Linear(2, 2))
    use_channels_last(model)  # there is no data_preprocessor to hook either


@pytest.mark.parametrize(('widths', 'norm', 'layer'), [
    ((8, 16), 'BN', 'backbone.layer2.0.downsample.0 of the model (Conv2d)'),
    ((16, 8), 'BN', 'backbone.layer2.0.downsample.0 of the teacher (Conv2d)'),
    ((16, 16), 'GN', 'of the model (GroupNorm)')])
def test_a_layer_with_a_faulty_kernel_keeps_the_model_contiguous_on_a_cpu(widths, norm, layer, monkeypatch):
    student, teacher = (classifier(width=width, data_preprocessor=RGB) for width in widths)
    if norm == 'GN':
        student['backbone']['norm_cfg'] = dict(type='GN', num_groups=2)
    log = []
    monkeypatch.setattr('wsld_plugin.engine.accelerate.print_log', lambda text, logger: log.append(text))
    for device, converted in (('cpu', False), ('cuda', True)):
        model = build(distillation(architecture=student, teacher=teacher))
        monkeypatch.setattr('wsld_plugin.engine.accelerate.get_device', lambda device=device: device)
        use_channels_last(model)
        weights = [weight for part in (model.student, model.teacher) for weight in part.parameters()
                   if weight.dim() == 4 and min(weight.shape[1:3]) > 1]
        assert {weight.is_contiguous(memory_format=torch.channels_last) for weight in weights} == {converted}
    line, = log
    assert layer in line


def test_a_bf16_step_computes_in_bf16_and_keeps_float32_weights_and_losses():
    torch.manual_seed(0)
    model = build(distillation())
    optimizer = dict(type='SGD', lr=0.1)
    wrapper = build_optim_wrapper(model, dict(type='wsld_plugin.AutocastOptimWrapper', optimizer=optimizer))
    dtypes = {}
    model.student.head.register_forward_hook(lambda m, i, output: dtypes.update(logits=output.dtype))
    model.distiller.distill_losses['loss_soft'].register_forward_hook(lambda m, i, out: dtypes.update(loss=out.dtype))
    model.train()
    before = [p.clone() for p in model.parameters()]
    losses = model.train_step(batch(), wrapper)
    assert dtypes == dict(logits=torch.bfloat16, loss=torch.float32)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert all(torch.isfinite(value) for value in losses.values())
    assert any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_a_bf16_step_is_close_to_the_float32_step():
    losses = []
    for kind in ('OptimWrapper', 'wsld_plugin.AutocastOptimWrapper'):
        torch.manual_seed(0)
        model = build(distillation())
        wrapper = build_optim_wrapper(model, dict(type=kind, optimizer=dict(type='SGD', lr=.1)))
        losses.append(model.train_step(batch(), wrapper)['loss'])
    torch.testing.assert_close(*losses, rtol=0.03, atol=0)


def test_float16_without_a_scaler_is_refused():
    with pytest.raises(ConfigError, match=r"dtype='float16'.*AmpOptimWrapper"):
        AutocastOptimWrapper(dtype='float16', optimizer=torch.optim.SGD([torch.zeros(1)], lr=1))


def test_amp_switches_a_config_and_keeps_the_optimizer():
    cfg = ConfigDict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=.1), clip_grad=dict(max_norm=1)))
    use_amp(cfg, 'bf16')
    assert cfg.optim_wrapper == dict(type='wsld_plugin.AutocastOptimWrapper', dtype='bfloat16',
                                     optimizer=dict(type='SGD', lr=.1), clip_grad=dict(max_norm=1))


@pytest.mark.skipif(torch.cuda.is_available(), reason='float16 works on a GPU')
def test_float16_on_a_cpu_is_refused():
    with pytest.raises(ConfigError, match='--amp bf16'):
        use_amp(ConfigDict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=.1))), 'fp16')


def test_an_unknown_optimizer_wrapper_is_not_replaced():
    with pytest.raises(ConfigError, match='ApexOptimWrapper'):
        use_amp(ConfigDict(optim_wrapper=dict(type='ApexOptimWrapper')), 'bf16')


def test_backbones_are_compiled_between_the_recorders_and_train_the_same():
    losses = []
    for compiled in (False, True):
        torch.manual_seed(0)
        model = build(distillation())
        if compiled:
            lines = compile_backbones(model, dict(backend='aot_eager'))
            assert lines == ["compile: the teacher's backbone.", "compile: the student's backbone."]
        data = model.data_preprocessor(batch(8), training=True)
        losses.append({name: value.item() for name, value in model(**data, mode='loss').items()})
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_a_backbone_with_a_recorder_inside_is_not_compiled():
    model = build(distillation())
    model.student.backbone.layer3.register_forward_hook(lambda *_: None)
    lines = compile_backbones(model, dict(backend='eager'))
    assert "compile: left out for the student's backbone, 'layer3' in it has a hook." in lines
    assert model.student.backbone._compiled_call_impl is None
    assert model.teacher.backbone._compiled_call_impl is not None


def test_losses_of_few_classes_and_of_no_distillation_are_not_compiled():
    assert compile_losses(build(distillation()), dict(backend='eager')) == []
    assert compile_losses(build(classifier()), dict(backend='eager')) == []


# torch: dynamo instantiates an autograd function and reads the .grad of logits; both warn
@pytest.mark.filterwarnings('ignore:.*should not be instantiated:DeprecationWarning',
                            'ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning')
def test_losses_of_many_classes_are_compiled_and_train_the_same():
    losses = []
    for compiled in (False, True):
        torch.manual_seed(0)
        student, teacher = (classifier(MANY_CLASSES, width, RGB) for width in (4, 8))
        model = build(distillation(architecture=student, teacher=teacher))
        if compiled:
            assert compile_losses(model, dict(backend='aot_eager')) == ['compile: the loss loss_soft.']
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


def test_compiled_parts_are_logged_once(tmp_path):
    run(tmp_path, compile=dict(backend='eager'))
    log, = tmp_path.glob('*/*.log')
    assert re.findall(r'accelerate\.compile: (the .*)', log.read_text()) == ["the teacher's backbone.",
                                                                            "the student's backbone."]


def test_every_member_of_an_ensemble_is_compiled():
    members = [dict(model=classifier(width=width), checkpoint=False) for width in (4, 8)]
    model = build(distillation(teacher=dict(type='wsld_plugin.EnsembleTeacher', members=members)))
    assert len(compile_backbones(model, dict(backend='eager'))) == 3


CROP_AND_FLIP = [*AUGMENTED[:2], AUGMENTED[-1]]
ROTATED = [*AUGMENTED[:2], dict(type='mmpretrain.NumpyToPIL'),
           dict(type='mmpretrain.torchvision/RandomRotation', degrees=15), dict(type='mmpretrain.PILToNumpy'),
           AUGMENTED[-1]]
CONFIGS = Path(__file__).parents[2] / 'configs'


def coloured(n, seed):
    """Images of four classes, each with its own mean colour, under noise."""
    random = np.random.default_rng(seed)
    colours = np.array([[90, 128, 128], [166, 128, 128], [128, 90, 128], [128, 166, 128]])
    labels = np.arange(n) % 4
    noise = random.normal(0, 60, (n, 8, 8, 3))
    images = np.clip(colours[labels][:, None, None] + noise, 0, 255).astype(np.uint8)
    return Source(['a', 'b', 'c', 'd'], n, zip(images, labels.tolist(), strict=True))


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    out = tmp_path_factory.mktemp('data') / 'pack'
    pack(out, dict(train=coloured(96, 0), test=coloured(200, 1)))
    return out


def packed_cfg(work_dir, root, model=None, pipeline=CROP_AND_FLIP, **overrides):
    """As configs of packed data are written, with workers, 96 images, six iterations an epoch."""
    def loader(split, pipeline, shuffle):
        return dict(batch_size=16, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=shuffle),
                    collate_fn=dict(type='default_collate'),
                    dataset=dict(type='wsld_plugin.PackedDataset', data_root=str(root), split=split,
                                 pipeline=pipeline))
    return run_cfg(work_dir, model or classifier(4, data_preprocessor=RGB),
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


def weights_of(runner):
    return {name: value.clone() for name, value in runner.model.state_dict().items()}


def same(first, second):
    """To the last bit; a GPU adds in a varying order."""
    tolerance = 1e-3 if torch.cuda.is_available() else 0
    return all(torch.allclose(first[name], second[name], rtol=tolerance, atol=tolerance) for name in first)


def test_only_how_the_training_set_is_loaded_changes(tmp_path, root):
    plain = packed_cfg(tmp_path, root)
    plain.train_dataloader.update(num_workers=4, persistent_workers=True, prefetch_factor=3, pin_memory=True,
                                  drop_last=True)
    cfg = resident(Config(plain.to_dict()))
    loader, before = cfg.train_dataloader, plain.train_dataloader
    assert loader.dataset == dict(type='wsld_plugin.ResidentDataset', dataset=before.dataset)
    assert loader.sampler == dict(type='wsld_plugin.KeyedSampler', sampler=before.sampler)
    assert set(loader) == {'dataset', 'sampler', 'batch_size', 'drop_last', 'num_workers', 'collate_fn'}
    assert (loader.batch_size, loader.drop_last, loader.num_workers) == (16, True, 0)
    assert {key: cfg[key] for key in plain if key != 'train_dataloader'} == \
        {key: plain[key] for key in plain if key != 'train_dataloader'}
    check_config(cfg)


def test_a_second_call_and_a_saved_config_change_nothing(tmp_path, root):
    cfg = resident(packed_cfg(tmp_path, root))
    again = resident(Config.fromstring(cfg.dump(), '.py'))
    assert again.train_dataloader == cfg.train_dataloader


def test_a_plain_config_is_keyed_first(tmp_path, root):
    cfg = packed_cfg(tmp_path, root)
    use_resident_data(cfg)
    assert cfg.train_dataloader == resident(packed_cfg(tmp_path, root)).train_dataloader


def test_a_shared_validation_loader_is_not_changed(tmp_path, root):
    cfg = packed_cfg(tmp_path, root)
    cfg.val_dataloader = cfg.train_dataloader
    assert resident(cfg).val_dataloader.dataset.type == 'wsld_plugin.PackedDataset'


@pytest.mark.parametrize('name', ['torchvision/RandomResizedCrop', 'LoadImageFromFile'])
def test_other_transforms_are_refused_before_anything_is_built(tmp_path, root, name):
    cfg = packed_cfg(tmp_path, root, pipeline=[dict(type=name), AUGMENTED[-1]])
    with pytest.raises(ConfigError, match=f'has {name}, which.*RandomCrop, RandomFlip, .*, PackInputs'):
        resident(cfg)


def test_cached_soft_labels_of_other_crops_are_refused(tmp_path, root):
    model = distillation(teacher=dict(type='wsld_plugin.CachedTeacher'))
    with pytest.raises(ConfigError, match='CachedTeacher belong to images that were augmented on the CPU'):
        use_resident_data(packed_cfg(tmp_path, root, model))


def test_cached_soft_labels_of_whole_images_are_accepted(tmp_path, root):
    model = distillation(teacher=dict(type='wsld_plugin.CachedTeacher'))
    whole = [transform for transform in ROTATED if 'Random' not in transform['type']]
    cfg = packed_cfg(tmp_path, root, model, pipeline=whole)
    use_resident_data(cfg)
    assert cfg.train_dataloader.dataset.type == 'wsld_plugin.ResidentDataset'


@pytest.mark.parametrize('loader', [None, dict(dataset=[1, 2])])
def test_no_data_set_is_refused(loader):
    with pytest.raises(ConfigError, match=r'train_dataloader\.dataset is .*, expected the config'):
        use_resident_data(Config(dict(train_dataloader=loader)))


def test_the_same_weights_are_learnt_without_augmentation(tmp_path, root):
    runs = [train(change(packed_cfg(tmp_path / change.__name__, root, pipeline=AUGMENTED[-1:], epochs=1,
                                    model=distillation(architecture=classifier(4, data_preprocessor=RGB),
                                                       teacher=classifier(4, width=8)))))
            for change in (usual, resident)]
    assert same(weights_of(runs[0]), weights_of(runs[1]))


def test_the_digits_learn_the_same_weights(tmp_path):
    runs = [train(change(run_cfg(tmp_path / change.__name__, digits_classifier()))) for change in (usual, resident)]
    assert same(weights_of(runs[0]), weights_of(runs[1]))


@pytest.mark.parametrize('path', sorted((CONFIGS / '_base_/datasets').glob('cifar*.py')), ids=lambda path: path.stem)
def test_the_data_of_every_cifar_config_are_accepted(path):
    cfg = Config.fromfile(path)
    pipeline = cfg.train_dataloader.dataset.pipeline
    use_resident_data(cfg)
    assert cfg.train_dataloader.dataset.dataset.pipeline == pipeline


def test_a_teacher_free_config_is_rotated_with_the_switch(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3), dtype=np.uint8)
    pack(tmp_path / 'pack', dict(train=Source([str(i) for i in range(100)], 24, ((img, 0) for img in images))))
    cfg = training_config(
        str(CONFIGS / 'tf_kd/lsr_resnet18_1xb128_cifar100.py'), work_dir=str(tmp_path / 'run'), validate=False,
        options={'accelerate.resident': True, 'train_dataloader.dataset.data_root': str(tmp_path / 'pack'),
                 'train_dataloader.batch_size': 8})
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        data = DATASETS.build({**cfg.train_dataloader.dataset, 'device': 'cpu'})
    for epoch in range(2):
        keys = [SampleKey(0, epoch, index) for index in range(24)]
        inputs = data.__getitems__(keys)['inputs']
        assert (inputs.shape, inputs.dtype) == ((24, 3, 32, 32), torch.uint8)
        # a crop alone fills whole rows and columns; a rotation also cuts the corners
        filled = (inputs == 0).all(1)
        corners = filled & ~filled.all(1, keepdim=True) & ~filled.all(2, keepdim=True)
        assert corners.flatten(1).any(1).sum() > 12


def test_augmented_training_is_as_accurate(tmp_path, root):
    model = classifier(4, data_preprocessor=RGB)
    model['backbone'] = dict(type='wsld_plugin.CifarResNet', depth=8, stem_channels=8, base_channels=8)

    def accuracy(change, seed):
        runner = train(change(packed_cfg(
            tmp_path / f'{change.__name__}{seed}', root, model, randomness=dict(seed=seed),
            train_cfg=dict(by_epoch=True, max_epochs=15, val_interval=15),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.02, momentum=0.9)))))
        return runner.message_hub.get_scalar('val/accuracy/top1').current()
    found = {change: [accuracy(change, seed) for seed in range(2)] for change in (usual, resident)}
    means = [np.mean(each) for each in found.values()]
    assert min(means) > 80  # 25 by chance
    assert abs(means[0] - means[1]) < 10  # one run has a standard deviation of 3
    assert found[usual] != found[resident]


@pytest.mark.parametrize('interval', [2, 4])
def test_resume_in_the_middle_of_an_epoch_is_exact(tmp_path, root, interval):
    def cfg(name, **more):
        made = packed_cfg(tmp_path / name, root, pipeline=ROTATED,
                          train_cfg=dict(by_epoch=False, max_iters=5, val_interval=5), **more)
        made.default_hooks.checkpoint = dict(type='wsld_plugin.CheckpointHook', interval=interval, by_epoch=False)
        return resident(made)
    whole = weights_of(train(cfg('whole')))
    resumed = train(cfg('resumed', resume=True, load_from=str(tmp_path / 'whole' / f'iter_{interval}.pth')))
    assert resumed.iter == 5
    assert same(weights_of(resumed), whole)


def test_resume_after_an_epoch_is_exact(tmp_path, root):
    whole = weights_of(train(resident(packed_cfg(tmp_path / 'run', root, epochs=3))))
    train(resident(packed_cfg(tmp_path / 'part', root, epochs=2)))
    checkpoint = tmp_path / 'part' / 'epoch_2.pth'
    resumed = train(resident(packed_cfg(tmp_path / 'part', root, epochs=3, resume=True, load_from=str(checkpoint))))
    assert same(weights_of(resumed), whole)


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
