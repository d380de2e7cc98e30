import pytest
import torch
from factories import digits_distillation, run_cfg
from mmengine.hooks import Hook
from mmengine.runner import Runner

from wsld_plugin.errors import NonFiniteLossError
from wsld_plugin.hooks import FiniteLossHook


class Poison(Hook):
    """Puts a NaN into a weight before an iteration, or after it."""

    def __init__(self, iteration, after=False):
        self.iteration, self.after = iteration, after

    def _poison(self, runner):
        if runner.iter + 1 == self.iteration:
            with torch.no_grad():
                runner.model.student.head.fc.weight[0, 0] = float('nan')

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if not self.after:
            self._poison(runner)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if self.after:
            self._poison(runner)


def poisoned_run(tmp_path, hook, interval):
    cfg = run_cfg(tmp_path, digits_distillation(), epochs=4)
    del cfg.default_hooks['finite_loss']
    cfg.default_hooks.logger.interval = 100
    runner = Runner.from_cfg(cfg)
    runner.register_hook(hook)
    runner.register_hook(FiniteLossHook(interval=interval))
    return runner


@pytest.mark.parametrize('interval', [1, 3, 100])
def test_the_first_bad_iteration_its_epoch_and_the_parts_of_its_loss_are_named(tmp_path, interval):
    runner = poisoned_run(tmp_path, Poison(5), interval)
    with pytest.raises(NonFiniteLossError, match=r'iteration 5 \(epoch 3\).*student\.loss = nan.*distill\.loss_soft'):
        runner.train()


def test_the_last_good_checkpoint_is_kept_and_named(tmp_path):
    runner = poisoned_run(tmp_path, Poison(5), 100)
    with pytest.raises(NonFiniteLossError, match=r'last good checkpoint is .*epoch_2\.pth'):
        runner.train()
    good = torch.load(tmp_path / 'epoch_2.pth', weights_only=True)
    assert all(torch.isfinite(value).all() for value in good['state_dict'].values())
    assert not (tmp_path / 'epoch_3.pth').exists()


def test_a_weight_that_broke_after_the_last_loss_is_not_saved(tmp_path):
    runner = poisoned_run(tmp_path, Poison(4, after=True), 1)
    with pytest.raises(NonFiniteLossError, match=r'architecture\.head\.fc\.weight became non-finite by iteration 4'):
        runner.train()
    assert not (tmp_path / 'epoch_2.pth').exists()


def test_between_readings_no_step_waits_for_the_device(tmp_path, monkeypatch):
    runner = poisoned_run(tmp_path, Poison(10 ** 9), 100)
    hook = next(hook for hook in runner.hooks if isinstance(hook, FiniteLossHook))
    hook.before_train(runner)
    monkeypatch.setattr(hook, 'is_last_train_iter', lambda runner: False)
    for name in ('item', 'tolist', '__bool__', '__float__', 'cpu', 'numpy'):
        monkeypatch.setattr(torch.Tensor, name, lambda *args, name=name: pytest.fail(f'{name} reads the device'))
    monkeypatch.setattr(Runner, 'iter', 0)
    for _ in range(3):
        hook.after_train_iter(runner, 0, outputs=dict(loss=torch.tensor(1.0)))


def test_a_finite_run_is_not_disturbed(tmp_path):
    runner = Runner.from_cfg(run_cfg(tmp_path, digits_distillation(), epochs=1))
    runner.train()
    assert (tmp_path / 'epoch_1.pth').exists()
