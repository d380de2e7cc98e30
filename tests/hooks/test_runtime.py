import copy
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from factories import build, digits_classifier, digits_distillation, run_cfg
from mmengine.hooks import Hook, LoggerHook
from mmengine.logging import MessageHub
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from packs import AUGMENTED, recorded

from wsld_plugin.engine.training import train, training_config
from wsld_plugin.errors import NonFiniteLossError
from wsld_plugin.hooks import FiniteLossHook, IterationSeedHook, RuntimeInfoHook, TeacherEvalHook


def log_of(folder):
    return '\n'.join(path.read_text() for path in folder.glob('*/*.log'))


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
    hook, loss = RuntimeInfoHook(), torch.tensor(1.0)
    hook.after_train_iter(runner, 0, outputs=dict(loss=loss, part_loss=torch.tensor(.5)))
    loss.fill_(7.0)  # its memory is reused
    hook.after_train_iter(runner, 1, outputs=dict(loss=loss, part_loss=torch.tensor(.25)))
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


def poisoned_run(tmp_path, hook, interval, message):
    cfg = run_cfg(tmp_path, digits_distillation(), epochs=4)
    cfg.default_hooks.logger.interval = interval
    poisoned = Runner.from_cfg(cfg)
    poisoned.register_hook(hook, priority='VERY_HIGH')
    with pytest.raises(NonFiniteLossError, match=message):
        poisoned.train()


def test_the_first_bad_iteration_and_the_parts_of_its_loss_are_named_and_the_last_good_checkpoint_kept(tmp_path):
    poisoned_run(tmp_path, Poison(5), 100, r'iteration 5 \(epoch 3\).*student\.loss = nan.*distill\.loss_soft.*'
                                           r'last good checkpoint is .*epoch_2\.pth')
    good = torch.load(tmp_path / 'epoch_2.pth', weights_only=True)
    assert all(torch.isfinite(value).all() for value in good['state_dict'].values())
    assert not (tmp_path / 'epoch_3.pth').exists()


def test_a_weight_that_is_not_finite_after_the_last_loss_is_not_saved(tmp_path):
    poisoned_run(tmp_path, Poison(2, after=True), 1,
                 r'architecture\.head\.fc\.weight became non-finite by iteration 2.*No checkpoint was written')
    assert not (tmp_path / 'epoch_1.pth').exists()


def test_a_loss_that_is_not_finite_in_the_first_step_is_blamed_on_weights_and_images(tmp_path):
    poisoned_run(tmp_path, Poison(1), 1, r"iteration 1 .*This is the first step: .*the teacher's too")


@pytest.mark.usefixtures('no_reading')
def test_the_check_does_not_wait_for_the_device_between_readings(runner):
    hook = FiniteLossHook()
    for _ in range(3):
        hook.after_train_iter(runner, 0, outputs=dict(loss=torch.tensor(1.0)))


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


@HOOKS.register_module()
class StopHere(Hook):
    """Ends the run in the middle of an epoch, as a crash would."""

    def __init__(self, iteration):
        self.iteration = iteration

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.iteration:
            raise KeyboardInterrupt


def config(tmp_path, name, *hooks):
    """Mixup, stochastic depth and augmentation, each drawn from another generator; 2 batches an epoch."""
    model = digits_classifier()
    model['backbone']['drop_path_rate'] = 0.5
    model['head']['loss'] = dict(type='CrossEntropyLoss', use_soft=True)
    model['train_cfg'] = dict(augments=[dict(type='Mixup', alpha=1.0), dict(type='CutMix', alpha=1.0)])
    cfg = run_cfg(tmp_path / 'unused', model, custom_hooks=list(hooks))
    cfg.default_hooks.iteration_seed = dict(type='wsld_plugin.IterationSeedHook')
    cfg.custom_hooks.append(dict(type='RecordPixels', folder=str(tmp_path / name)))
    cfg.train_dataloader.dataset.pipeline = [AUGMENTED[0], AUGMENTED[1], AUGMENTED[-1]]
    cfg.accelerate = dict(channels_last=False)
    path = tmp_path / f'{name}{len(hooks)}.py'
    cfg.dump(path)
    return str(path)


def test_a_run_interrupted_within_an_epoch_ends_with_the_weights_of_an_uninterrupted_run(tmp_path):
    whole = train(training_config(config(tmp_path, 'whole'), work_dir=str(tmp_path / 'run')))
    stopped = config(tmp_path, 'stopped', dict(type='StopHere', iteration=3))
    with pytest.raises(KeyboardInterrupt):
        train(training_config(stopped, work_dir=str(tmp_path / 'again')))
    torch.rand(3)
    resumed = train(training_config(config(tmp_path, 'stopped'), work_dir=str(tmp_path / 'again'), resume=True))
    assert recorded(tmp_path / 'stopped') == recorded(tmp_path / 'whole')
    assert resumed.iter == whole.iter == 4
    weights, expected = resumed.model.state_dict(), whole.model.state_dict()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


# TeacherEvalHook

def teacher_accuracy(runner):
    """Counted without the evaluator."""
    right = total = 0
    for data in runner.val_dataloader:
        labels = torch.cat([sample.gt_label for sample in data['data_samples']])
        inputs = runner.model.data_preprocessor(copy.deepcopy(data), False)['inputs']
        right += int((runner.model.teacher(inputs, mode='tensor').argmax(1) == labels).sum())
        total += len(labels)
    return 100 * right / total


def test_the_teacher_is_measured_once_also_over_a_resume_and_the_training_is_the_same(tmp_path, monkeypatch):
    def run(folder, hook=True, **overrides):
        cfg = run_cfg(tmp_path / folder, digits_distillation(), **overrides)
        if hook:
            cfg.default_hooks.teacher = dict(type='wsld_plugin.TeacherEvalHook')
        trained = Runner.from_cfg(cfg)
        trained.train()
        return trained

    first, without = run('with', epochs=1), run('without', hook=False, epochs=1)
    assert first.message_hub.get_info('teacher_metrics') == {'accuracy/top1': teacher_accuracy(first)}
    for name, value in first.model.state_dict().items():
        assert torch.equal(value, without.model.state_dict()[name]), name
    assert log_of(tmp_path / 'with').count('Teacher: accuracy/top1') == 1
    monkeypatch.setattr(TeacherEvalHook, '_measure', lambda *args: {}['measured again'])
    resumed = run('with', epochs=2, resume=True)
    assert resumed.message_hub.get_info('teacher_metrics') == first.message_hub.get_info('teacher_metrics')


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
