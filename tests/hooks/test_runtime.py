import copy
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from factories import build, digits_classifier, digits_distillation, labels_of, run_cfg
from mmengine.hooks import Hook, LoggerHook
from mmengine.logging import MessageHub
from mmengine.runner import Runner
from mmengine.visualization import LocalVisBackend
from mmpretrain.utils import load_json_log

from wsld_plugin.errors import NonFiniteLossError
from wsld_plugin.hooks import FiniteLossHook, IterationSeedHook, RuntimeInfoHook, TeacherEvalHook
from wsld_plugin.hooks.runtime import add_scalars


@pytest.fixture
def runner(request):
    """What a hook reads of a Runner in the middle of a long epoch; the logger logs every 100 iterations."""
    return SimpleNamespace(hooks=[LoggerHook(interval=100)], iter=0, max_iters=1000, train_dataloader=range(1000),
                           message_hub=MessageHub.get_instance(request.node.name))


@pytest.fixture
def no_reading(monkeypatch):
    """Reading a tensor's value fails."""
    with monkeypatch.context() as forbidding:
        for name in ('item', 'tolist', '__bool__', '__float__', 'cpu', 'numpy'):
            forbidding.setattr(torch.Tensor, name, lambda *_, name=name: pytest.fail(f'{name} reads the device'))
        yield forbidding


# RuntimeInfoHook

def test_the_history_of_a_run_is_mmengines(tmp_path):
    histories = []
    for hook in ('wsld_plugin.RuntimeInfoHook', 'mmengine.RuntimeInfoHook'):
        cfg = run_cfg(tmp_path / hook, digits_distillation())
        cfg.default_hooks.runtime_info = dict(type=hook)
        cfg.default_hooks.logger.interval = 3
        trained = Runner.from_cfg(cfg)
        trained.train()
        histories.append({name: list(buffer.data[0]) for name, buffer in trained.message_hub.log_scalars.items()
                          if 'loss' in name})
    assert histories[0] == histories[1]
    assert [len(values) for values in histories[0].values()] == [4, 4, 4]


def test_losses_are_copied_and_not_read_before_the_logger_logs_or_a_checkpoint_is_saved(runner, no_reading):
    hook, finite, loss = RuntimeInfoHook(), FiniteLossHook(), torch.tensor(1.0)
    for iteration, part in enumerate((.5, .25)):
        outputs = dict(loss=loss, part_loss=torch.tensor(part))
        hook.after_train_iter(runner, iteration, outputs=outputs)
        finite.after_train_iter(runner, iteration, outputs=outputs)
        loss.fill_(7.0)  # its memory is reused
    assert 'train/loss' not in runner.message_hub.log_scalars
    no_reading.undo()
    checkpoint = {}
    hook.before_save_checkpoint(runner, checkpoint)
    for name, values in (('loss', [1.0, 7.0]), ('part_loss', [.5, .25])):
        assert list(runner.message_hub.get_scalar(f'train/{name}').data[0]) == values
        assert list(checkpoint['message_hub']['log_scalars'][f'train/{name}'].data[0]) == values


# FiniteLossHook

class Poison(Hook):
    """Puts a NaN into a weight before an iteration, or after it."""

    def __init__(self, iteration, after=False):
        self.iteration = iteration
        setattr(self, 'after_train_iter' if after else 'before_train_iter', self.poison)

    def poison(self, runner, *_, **__):
        if runner.iter + 1 == self.iteration:
            with torch.no_grad():
                runner.model.student.head.fc.weight[0, 0] = float('nan')


@pytest.mark.parametrize(('poison', 'interval', 'message', 'last_good'), [
    (Poison(5), 100, r'iteration 5 \(epoch 3\).*student\.loss = nan.*distill\.loss_soft.*last good checkpoint is '
                     r'.*epoch_2\.pth', 2),
    (Poison(2, after=True), 1, r'architecture\.head\.fc\.weight became non-finite by iteration 2.*'
                               r'No checkpoint was written', 0),
    (Poison(1), 1, r"iteration 1 .*This is the first step: .*the teacher's too", 0)])
def test_the_first_bad_iteration_and_its_cause_are_named_and_the_last_good_checkpoint_is_kept(
        tmp_path, poison, interval, message, last_good):
    cfg = run_cfg(tmp_path, digits_distillation(), epochs=4)
    cfg.default_hooks.logger.interval = interval
    poisoned = Runner.from_cfg(cfg)
    poisoned.register_hook(poison, priority='VERY_HIGH')
    with pytest.raises(NonFiniteLossError, match=message):
        poisoned.train()
    assert [path.name for path in tmp_path.glob('epoch_*.pth')] == [f'epoch_{last_good}.pth'] * bool(last_good)
    for path in tmp_path.glob('epoch_*.pth'):
        assert all(value.isfinite().all() for value in torch.load(path, weights_only=True)['state_dict'].values())


# IterationSeedHook

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
    found = [(draws(iteration), torch.rand(3, device='cuda').tolist())[1] for iteration in (3, 4, 3)]
    assert found[0] == found[2] != found[1]


# TeacherEvalHook

def test_the_teacher_is_measured_once_also_over_a_resume_and_the_training_is_the_same(tmp_path, monkeypatch):
    def run(folder, hook=True, **overrides):
        cfg = run_cfg(tmp_path / folder, digits_distillation(), **overrides)
        if hook:
            cfg.default_hooks.teacher = dict(type='wsld_plugin.TeacherEvalHook')
        trained = Runner.from_cfg(cfg)
        trained.train()
        return trained

    first, without = run('with', epochs=1), run('without', hook=False, epochs=1)
    data, = first.val_dataloader
    inputs = first.model.data_preprocessor(copy.deepcopy(data), False)['inputs']
    right = first.model.teacher(inputs, mode='tensor').argmax(1) == labels_of(data)
    assert first.message_hub.get_info('teacher_metrics') == {'accuracy/top1': 100 * int(right.sum()) / 20}
    torch.testing.assert_close(first.model.state_dict(), without.model.state_dict(), rtol=0, atol=0)
    log, = tmp_path.glob('with/*/*.log')
    assert log.read_text().count('Teacher: accuracy/top1') == 1
    monkeypatch.setattr(TeacherEvalHook, '_measure', lambda *args: {}['measured again'])
    resumed = run('with', epochs=2, resume=True)
    assert resumed.message_hub.get_info('teacher_metrics') == first.message_hub.get_info('teacher_metrics')
    for path in tmp_path.glob('with/*/vis_data/scalars.json'):  # as mmpretrain's plotter reads it
        assert [line['step'] for line in load_json_log(path)['val'] if line['accuracy/top1'] >= 0]


def test_values_beside_the_losses_reach_all_backends_but_the_file_of_the_plotter(runner, tmp_path):
    sent = []
    other = SimpleNamespace(add_scalars=lambda values, step: sent.append((values, step)))
    runner.visualizer = SimpleNamespace(_vis_backends=dict(file=LocalVisBackend(str(tmp_path)), other=other))
    add_scalars(runner, {'teacher/accuracy': 1.0}, step=3)
    assert sent == [({'teacher/accuracy': 1.0}, 3)]
    assert not list(tmp_path.glob('*.json'))


@pytest.mark.parametrize(('model', 'lines'), [
    (digits_classifier(), []),
    (digits_distillation(), ['The teacher is not validated: this run has no validation set.']),
    (digits_distillation(teacher=dict(type='wsld_plugin.VirtualTeacher', num_classes=10)),
     ['The teacher is not validated: it reads the labels.'])])
def test_without_a_teacher_or_a_validation_set_or_with_labels_read_nothing_is_measured(runner, model, lines):
    runner.model, runner.val_loop, logged = build(model), None, []
    runner.logger = SimpleNamespace(info=logged.append)
    TeacherEvalHook().before_train(runner)
    assert logged == lines
    assert 'teacher_metrics' not in runner.message_hub.runtime_info
