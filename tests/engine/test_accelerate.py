import pytest
import torch
from factories import batch, build, digits_distillation, distillation, run_cfg
from mmengine.config import Config
from mmengine.registry import RUNNERS
from torch import nn

from wsld_plugin.engine.accelerate import DEFAULTS, accelerate
from wsld_plugin.engine.autocast import AutocastOptimWrapper
from wsld_plugin.engine.runner import use_channels_last
from wsld_plugin.errors import ConfigError


def accelerated(**parts):
    cfg = Config(dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=.1)), accelerate=parts))
    accelerate(cfg)
    return cfg


def run(tmp_path, **parts):
    cfg = run_cfg(tmp_path, digits_distillation(), accelerate=parts)
    accelerate(cfg)
    runner = RUNNERS.build(cfg)
    runner.train()
    return runner


def test_parts_that_keep_float32_results_are_on_and_the_others_off():
    cfg = Config(dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=.1))))
    accelerate(cfg)
    assert cfg.accelerate == DEFAULTS
    assert {name for name, value in DEFAULTS.items() if value} == {'channels_last', 'fold_teacher_bn'}
    assert cfg.optim_wrapper == dict(optimizer=dict(type='SGD', lr=.1))
    assert cfg.default_hooks.accelerate.fold_teacher_bn


def test_the_switch_reaches_its_parts_and_a_second_time_changes_nothing():
    cfg = accelerated(amp='bf16', fold_teacher_bn=False, compile=dict(backend='eager'))
    assert cfg.optim_wrapper.type == 'wsld_plugin.AutocastOptimWrapper'
    assert cfg.default_hooks.accelerate == dict(type='wsld_plugin.AccelerateHook', fold_teacher_bn=False,
                                                compile=dict(backend='eager'))
    once = cfg.to_dict()
    accelerate(cfg)
    assert cfg.to_dict() == once


@pytest.mark.parametrize(('parts', 'message'), [
    (dict(channel_last=True), r"accelerate\.channel_last: there is no such part.*'channels_last'"),
    (dict(amp='bf61'), r"accelerate\.amp='bf61', expected one of None, 'bf16', 'fp16'.*'bf16'"),
    (dict(fold_teacher_bn='yes'), r"accelerate\.fold_teacher_bn='yes', expected one of True, False"),
    (dict(decode='half'), r"accelerate\.decode='half', expected one of None, 'exact', 'scaled'"),
    (dict(cuda_graph=True), r'accelerate\.cuda_graph=True needs accelerate\.resident=True'),
    (dict(compile='max'), r"accelerate\.compile='max', expected True, False or a dict"),
])
def test_unknown_parts_and_values_are_refused_with_the_nearest(parts, message):
    with pytest.raises(ConfigError, match=message):
        accelerated(**parts)


def test_a_run_with_the_defaults_trains_what_one_without_them_trains(tmp_path):
    fast = run(tmp_path / 'fast')
    plain = run(tmp_path / 'plain', channels_last=False, fold_teacher_bn=False)
    convolutions = [module for module in fast.model.modules() if isinstance(module, nn.Conv2d)]
    assert any(module.weight.is_contiguous(memory_format=torch.channels_last) and not module.weight.is_contiguous()
               for module in convolutions)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fast.model.teacher.modules())
    wanted = plain.model.state_dict()
    assert fast.model.state_dict().keys() == wanted.keys()
    for name, value in fast.model.state_dict().items():
        torch.testing.assert_close(value, wanted[name], rtol=1e-3, atol=1e-4)
    assert torch.load(tmp_path / 'fast/epoch_2.pth', weights_only=False)['state_dict'].keys() == wanted.keys()


def test_mixed_precision_comes_from_the_switch(tmp_path):
    assert isinstance(run(tmp_path, amp='bf16').optim_wrapper, AutocastOptimWrapper)


def test_channels_last_gives_the_same_losses_and_gradients_and_orders_all_that_convolves():
    found = []
    for ordered in (False, True):
        torch.manual_seed(0)
        model = build(distillation())
        if ordered:
            use_channels_last(model)
        seen = []
        for part in (model.student, model.teacher):
            part.backbone.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[0]))
        data = model.data_preprocessor(batch(8), training=True)
        losses = model(**data, mode='loss')
        sum(value for name, value in losses.items() if 'loss' in name).backward()
        found.append((losses, [parameter.grad for parameter in model.student.parameters()]))
        assert [image.is_contiguous(memory_format=torch.channels_last) for image in seen] == [ordered] * 2
    (losses, gradients), (same_losses, same_gradients) = found
    for name in losses:
        torch.testing.assert_close(same_losses[name], losses[name], rtol=1e-5, atol=1e-6)
    for gradient, same in zip(gradients, same_gradients, strict=True):
        torch.testing.assert_close(same, gradient, rtol=1e-3, atol=1e-5)


def test_a_model_without_convolutions_is_left_as_it_is():
    model = nn.Sequential(nn.Linear(2, 2))
    use_channels_last(model)  # there is no data_preprocessor to hook either
