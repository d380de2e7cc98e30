import copy
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from factories import digits_classifier, digits_distillation, run_cfg
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from packs import AUGMENTED, recorded

from wsld_plugin.engine.training import train, training_config
from wsld_plugin.errors import NonFiniteLossError
from wsld_plugin.hooks import FiniteLossHook, IterationSeedHook, RuntimeInfoHook, TeacherEvalHook


def logged_run(tmp_path, hook, log_interval=2, **overrides):
    cfg = run_cfg(tmp_path, digits_distillation(), **{'epochs': 2, **overrides})
    cfg.default_hooks.runtime_info = dict(type=hook)
    cfg.default_hooks.logger.interval = log_interval
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


def histories(hub):
    return {name: list(buffer.data[0]) for name, buffer in hub.log_scalars.items() if 'loss' in name}


@pytest.mark.parametrize('interval', [1, 3, 100])
def test_the_history_of_a_run_is_mmengines(tmp_path, interval):
    ours = logged_run(tmp_path / 'ours', 'wsld_plugin.RuntimeInfoHook', interval)
    theirs = logged_run(tmp_path / 'theirs', 'mmengine.RuntimeInfoHook', interval)
    wanted = histories(theirs.message_hub)
    assert histories(ours.message_hub) == wanted
    assert all(len(values) == 4 for values in wanted.values())
    assert len(wanted) >= 3


def test_a_checkpoint_between_two_readings_has_the_complete_history(tmp_path):
    runner = logged_run(tmp_path, 'wsld_plugin.RuntimeInfoHook', 100, train_cfg=dict(by_epoch=False, max_iters=3))
    saving = RuntimeInfoHook(interval=100)
    saving._waiting = [(('loss', ), torch.tensor([2.0]))]
    runner.hooks[:] = [saving]
    runner.save_checkpoint(str(tmp_path), 'between.pth')
    saved = torch.load(tmp_path / 'between.pth', weights_only=False)['message_hub']
    assert list(saved['log_scalars']['train/loss'].data[0])[-1] == 2.0
    assert len(saved['log_scalars']['train/loss'].data[0]) == 4


def test_logging_does_not_wait_for_the_device_between_readings(tmp_path, monkeypatch):
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


def test_losses_whose_memory_is_reused_were_copied(tmp_path, monkeypatch):
    runner = Runner.from_cfg(run_cfg(tmp_path, digits_distillation()))
    hook = RuntimeInfoHook(interval=2)
    monkeypatch.setattr(RuntimeInfoHook, 'end_of_epoch', lambda *_: False)
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    loss = torch.tensor(1.0)
    hook.after_train_iter(runner, 0, outputs=dict(loss=loss))
    loss.fill_(7.0)
    hook.after_train_iter(runner, 1, outputs=dict(loss=loss))
    assert list(runner.message_hub.get_scalar('train/loss').data[0]) == [1.0, 7.0]


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


def test_the_check_does_not_wait_for_the_device_between_readings(tmp_path, monkeypatch):
    runner = poisoned_run(tmp_path, Poison(10 ** 9), 100)
    hook = next(hook for hook in runner.hooks if isinstance(hook, FiniteLossHook))
    hook.before_train(runner)
    monkeypatch.setattr(hook, 'is_last_train_iter', lambda runner: False)
    for name in ('item', 'tolist', '__bool__', '__float__', 'cpu', 'numpy'):
        monkeypatch.setattr(torch.Tensor, name, lambda *args, name=name: pytest.fail(f'{name} reads the device'))
    monkeypatch.setattr(Runner, 'iter', 0)
    for _ in range(3):
        hook.after_train_iter(runner, 0, outputs=dict(loss=torch.tensor(1.0)))


def test_a_loss_that_is_not_finite_in_the_first_step_is_blamed_on_weights_and_images(tmp_path):
    with pytest.raises(NonFiniteLossError, match=r"iteration 1 .*This is the first step: .*the teacher's too"):
        poisoned_run(tmp_path, Poison(1), 1).train()


def draws(iteration, seed=0):
    IterationSeedHook().before_train_iter(SimpleNamespace(seed=seed, iter=iteration), 0)
    return random.random(), np.random.random_sample(), torch.rand(()).item()  # noqa: NPY002


def test_draws_are_a_function_of_the_seed_the_iteration_and_the_rank(monkeypatch):
    first = draws(3)
    draws(4)
    torch.rand(5)
    assert draws(3) == first
    others = [draws(4), draws(3, seed=1)]
    monkeypatch.setattr('wsld_plugin.hooks.runtime.get_rank', lambda: 1)
    others.append(draws(3))
    assert all(a != b for other in others for a, b in zip(other, first, strict=True))


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_the_gpu_is_seeded_too():
    torch.zeros(1, device='cuda')
    draws(3)
    first = torch.rand(3, device='cuda')
    draws(4)
    assert (torch.rand(3, device='cuda') != first).any()
    draws(3)
    assert (torch.rand(3, device='cuda') == first).all()


@HOOKS.register_module()
class StopHere(Hook):
    """Ends the run in the middle of an epoch, as a crash would."""

    def __init__(self, iteration):
        self.iteration = iteration

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.iteration:
            raise KeyboardInterrupt


def config(tmp_path, name, workers, *hooks):
    """Mixup, stochastic depth and augmentation, each drawn from another generator; 2 batches an epoch."""
    model = digits_classifier()
    model['backbone']['drop_path_rate'] = 0.5
    model['head']['loss'] = dict(type='CrossEntropyLoss', use_soft=True)
    model['train_cfg'] = dict(augments=[dict(type='Mixup', alpha=1.0), dict(type='CutMix', alpha=1.0)])
    cfg = run_cfg(tmp_path / 'unused', model, epochs=3, custom_hooks=list(hooks))
    cfg.default_hooks.iteration_seed = dict(type='wsld_plugin.IterationSeedHook')
    cfg.custom_hooks.append(dict(type='RecordPixels', folder=str(tmp_path / name)))
    cfg.train_dataloader.dataset.pipeline = [AUGMENTED[0], AUGMENTED[1], AUGMENTED[-1]]
    cfg.train_dataloader.num_workers = workers
    path = tmp_path / f'{name}{len(hooks)}.py'
    cfg.dump(path)
    return str(path)


@pytest.mark.parametrize('workers', [0, 2])
def test_a_run_interrupted_within_an_epoch_ends_with_the_weights_of_an_uninterrupted_run(tmp_path, workers):
    whole = train(training_config(config(tmp_path, 'whole', workers), work_dir=str(tmp_path / 'run')))
    stopped = config(tmp_path, 'stopped', workers, dict(type='StopHere', iteration=3))
    with pytest.raises(KeyboardInterrupt):
        train(training_config(stopped, work_dir=str(tmp_path / 'again')))
    torch.rand(3)
    resumed = train(training_config(config(tmp_path, 'stopped', workers), work_dir=str(tmp_path / 'again'),
                                    resume=True))
    assert recorded(tmp_path / 'stopped') == recorded(tmp_path / 'whole')
    assert resumed.iter == whole.iter == 6
    weights, expected = resumed.model.state_dict(), whole.model.state_dict()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


def cfg_with_hook(tmp_path, **overrides):
    cfg = run_cfg(tmp_path, digits_distillation(), **overrides)
    cfg.default_hooks.teacher = dict(type='wsld_plugin.TeacherEvalHook')
    return cfg


def teacher_accuracy(runner):
    """Counted without the evaluator."""
    right = total = 0
    for data in runner.val_dataloader:
        labels = torch.cat([sample.gt_label for sample in data['data_samples']])
        inputs = runner.model.data_preprocessor(copy.deepcopy(data), False)['inputs']
        right += int((runner.model.teacher(inputs, mode='tensor').argmax(1) == labels).sum())
        total += len(labels)
    return 100 * right / total


def test_the_teachers_accuracy_is_measured_once_and_survives_a_resume(tmp_path, monkeypatch):
    runner = Runner.from_cfg(cfg_with_hook(tmp_path, epochs=2))
    runner.train()
    assert runner.message_hub.get_info('teacher_metrics') == {'accuracy/top1': teacher_accuracy(runner)}
    log = '\n'.join(path.read_text() for path in tmp_path.glob('*/*.log'))
    assert log.count('Teacher: accuracy/top1') == 1

    monkeypatch.setattr(TeacherEvalHook, '_measure', lambda *args: {}['measured again'])
    resumed = Runner.from_cfg(cfg_with_hook(tmp_path, epochs=3, resume=True))
    resumed.train()
    assert resumed.message_hub.get_info('teacher_metrics') == runner.message_hub.get_info('teacher_metrics')


def test_validating_the_teacher_does_not_change_the_training(tmp_path):
    states = []
    for cfg in (cfg_with_hook(tmp_path / 'with'), run_cfg(tmp_path / 'without', digits_distillation())):
        runner = Runner.from_cfg(cfg)
        runner.train()
        states.append(runner.model.state_dict())
    for key, value in states[0].items():
        assert torch.equal(value, states[1][key]), key


def test_a_run_without_validation_logs_that_the_teacher_is_not_validated(tmp_path):
    cfg = cfg_with_hook(tmp_path, epochs=1)
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    Runner.from_cfg(cfg).train()
    log = '\n'.join(path.read_text() for path in tmp_path.glob('*/*.log'))
    assert 'not validated' in log


def test_a_model_without_a_teacher_is_skipped(tmp_path):
    cfg = run_cfg(tmp_path, digits_classifier(), epochs=1)
    cfg.default_hooks.teacher = dict(type='wsld_plugin.TeacherEvalHook')
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert 'teacher_metrics' not in runner.message_hub.runtime_info
