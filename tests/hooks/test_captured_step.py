import pytest
import torch
from factories import digits_distillation, run_cfg
from mmengine.config import Config

from wsld_plugin.config.check import check_config
from wsld_plugin.datasets.keyed import key_training_set
from wsld_plugin.engine.graph import CapturedStep
from wsld_plugin.engine.graph_settings import use_captured_step
from wsld_plugin.engine.resident import use_resident_data
from wsld_plugin.engine.training import train
from wsld_plugin.errors import ConfigError

# numbers that float32 holds exactly, as the tensor of the recorded rate does
FUSED = dict(optimizer=dict(type='SGD', lr=0.0625, momentum=0.9, fused=True))
HALVING = dict(type='MultiStepLR', by_epoch=True, milestones=[1], gamma=0.5)


def cfg(work_dir, resident=True, hook=None, epochs=3, **overrides):
    made = run_cfg(work_dir, digits_distillation(), epochs=epochs,
                   **{**dict(optim_wrapper=FUSED, param_scheduler=HALVING), **overrides})
    key_training_set(made)
    if resident:
        use_resident_data(made)
    if hook is not None:
        made.custom_hooks = [dict(type='wsld_plugin.CapturedStepHook', **hook)]
    return made


@pytest.fixture(scope='module')
def usual(tmp_path_factory):
    return train(cfg(tmp_path_factory.mktemp('usual')))


def weights(runner):
    return torch.cat([value.flatten().float() for value in runner.model.state_dict().values()])


def same(first, second):
    """To the last bit; a GPU adds in a varying order."""
    tolerance = 1e-3 if torch.cuda.is_available() else 0
    return torch.allclose(weights(first), weights(second), rtol=tolerance, atol=tolerance)


def logged(runner, name):
    return runner.message_hub.get_scalar(name).data[0].tolist()


def test_a_run_of_static_steps_learns_what_a_usual_one_does(tmp_path, usual):
    static = train(cfg(tmp_path / 'static', hook=dict(capture=False, warmup=1)))
    assert same(static, usual)
    tolerance = 1e-2 if torch.cuda.is_available() else 0
    for name in ('train/loss', 'train/lr', 'train/distill.loss_soft'):
        assert logged(static, name) == pytest.approx(logged(usual, name), rel=tolerance)


def test_a_resumed_run_uses_the_fused_kernel_and_ends_the_same(tmp_path, usual):
    plain = dict(optimizer=dict(type='SGD', lr=0.0625, momentum=0.9))
    train(cfg(tmp_path / 'part', epochs=2, hook=dict(capture=False), optim_wrapper=plain))
    resumed = train(cfg(tmp_path / 'part', hook=dict(capture=False), optim_wrapper=plain, resume=True,
                        load_from=str(tmp_path / 'part' / 'epoch_2.pth')))
    assert same(resumed, usual)
    assert all(group['fused'] for group in resumed.optim_wrapper.optimizer.param_groups)


def test_the_step_is_replaced_while_training_only(tmp_path, monkeypatch):
    seen = []
    step = CapturedStep.__call__
    monkeypatch.setattr(CapturedStep, '__call__', lambda self, *args, **more: (seen.append(self), step(
        self, *args, **more))[1])
    runner = train(cfg(tmp_path, hook=dict(capture=False)))
    assert len(seen) == 6
    assert len(set(map(id, seen))) == 1
    assert seen[0].recordings == 1
    assert 'train_step' not in vars(runner.model)


@pytest.mark.skipif(torch.cuda.is_available(), reason='for machines without a GPU')
def test_without_cuda_it_is_left_out_with_a_line(tmp_path, usual):
    left_out = train(cfg(tmp_path, hook=dict()))
    assert same(left_out, usual)
    log, = tmp_path.glob('*/*.log')
    assert 'not captured: there is no CUDA device' in log.read_text()


def test_usual_data_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r'needs resident data.*docs/resident\.md'):
        train(cfg(tmp_path, resident=False, hook=dict(capture=False)))


def test_settings_are_refused_before_the_first_step(tmp_path):
    with pytest.raises(ConfigError, match='optimizer AdamW, expected SGD'):
        train(cfg(tmp_path, hook=dict(capture=False), optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3))))


def test_the_switch_adds_the_hook_once(tmp_path):
    made = cfg(tmp_path)
    before = Config(made.to_dict())
    for _ in range(2):
        use_captured_step(made)
    added = made.default_hooks.pop('captured_step')
    assert added == dict(type='wsld_plugin.CapturedStepHook')
    assert made.to_dict() == before.to_dict()
    made.default_hooks.captured_step = added
    check_config(made)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_a_captured_run_learns_what_a_usual_one_does(tmp_path, usual):
    assert same(train(cfg(tmp_path, hook=dict(warmup=1))), usual)
