import pytest
import torch
from factories import digits_distillation, run_cfg
from mmengine.runner import Runner

from wsld_plugin.hooks import RuntimeInfoHook


def trained(tmp_path, hook, log_interval=2, **overrides):
    cfg = run_cfg(tmp_path, digits_distillation(), **{'epochs': 2, **overrides})
    cfg.default_hooks.runtime_info = dict(type=hook)
    cfg.default_hooks.logger.interval = log_interval
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


def histories(hub):
    return {name: list(buffer.data[0]) for name, buffer in hub.log_scalars.items() if 'loss' in name}


@pytest.mark.parametrize('interval', [1, 2, 3, 100])
def test_the_history_of_a_run_is_mmengines(tmp_path, interval):
    ours = trained(tmp_path / 'ours', 'wsld_plugin.RuntimeInfoHook', interval)
    theirs = trained(tmp_path / 'theirs', 'mmengine.RuntimeInfoHook', interval)
    wanted = histories(theirs.message_hub)
    assert histories(ours.message_hub) == wanted
    assert all(len(values) == 4 for values in wanted.values())
    assert len(wanted) >= 3


def test_a_checkpoint_between_two_readings_has_the_whole_history(tmp_path):
    runner = trained(tmp_path, 'wsld_plugin.RuntimeInfoHook', 100, train_cfg=dict(by_epoch=False, max_iters=3))
    saving = RuntimeInfoHook(interval=100)
    saving._waiting = [(('loss', ), torch.tensor([2.0]))]
    runner.hooks[:] = [saving]
    runner.save_checkpoint(str(tmp_path), 'between.pth')
    saved = torch.load(tmp_path / 'between.pth', weights_only=False)['message_hub']
    assert list(saved['log_scalars']['train/loss'].data[0])[-1] == 2.0
    assert len(saved['log_scalars']['train/loss'].data[0]) == 4


def test_between_readings_no_step_waits_for_the_device(tmp_path, monkeypatch):
    runner = Runner.from_cfg(run_cfg(tmp_path, digits_distillation()))
    hook = RuntimeInfoHook(interval=100)
    monkeypatch.setattr(RuntimeInfoHook, 'end_of_epoch', lambda *_: False)
    monkeypatch.setattr(RuntimeInfoHook, 'is_last_train_iter', lambda *_: False)
    for name in ('item', 'tolist', '__bool__', '__float__', 'cpu', 'numpy'):
        monkeypatch.setattr(torch.Tensor, name, lambda *_, name=name: pytest.fail(f'{name} reads the device'))
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    for batch_idx in range(3):
        hook.after_train_iter(runner, batch_idx, outputs=dict(loss=torch.tensor(1.0), part_loss=torch.tensor(.5)))
    assert 'train/loss' not in runner.message_hub.log_scalars


def test_what_a_captured_step_overwrites_was_copied(tmp_path, monkeypatch):
    runner = Runner.from_cfg(run_cfg(tmp_path, digits_distillation()))
    hook = RuntimeInfoHook(interval=2)
    monkeypatch.setattr(RuntimeInfoHook, 'end_of_epoch', lambda *_: False)
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    loss = torch.tensor(1.0)
    hook.after_train_iter(runner, 0, outputs=dict(loss=loss))
    loss.fill_(7.0)
    hook.after_train_iter(runner, 1, outputs=dict(loss=loss))
    assert list(runner.message_hub.get_scalar('train/loss').data[0]) == [1.0, 7.0]
