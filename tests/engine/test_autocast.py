import pytest
import torch
from factories import batch, build, distillation
from mmengine.config import ConfigDict
from mmengine.optim import build_optim_wrapper

from wsld_plugin.engine.autocast import AutocastOptimWrapper, use_amp
from wsld_plugin.errors import ConfigError


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
    with pytest.raises(ConfigError, match='DeepSpeedOptimWrapper'):
        use_amp(ConfigDict(optim_wrapper=dict(type='DeepSpeedOptimWrapper')), 'bf16')
