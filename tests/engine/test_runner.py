import os
import shutil
import signal

import pytest
import torch
from factories import digits_classifier, digits_distillation, run_cfg
from mmengine.hooks import Hook
from mmengine.registry import RUNNERS
from packs import AUGMENTED

from wsld_plugin.datasets.keyed import key_training_set
from wsld_plugin.engine.accelerate import accelerate
from wsld_plugin.errors import CheckpointError, Interrupted

# steps after every third iteration, and samples without keys
ACCUMULATION = dict(options={'optim_wrapper.accumulative_counts': 3}, keyed=False)


class Probe(Hook):
    """Records the first weights and all losses; ends the run by an exception or a signal before an iteration."""

    def __init__(self, stop_at=None, by=None):
        self.losses, self.first, self.stop_at, self.by = [], {}, stop_at, by

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        student = getattr(runner.model, 'student', runner.model)
        self.first = self.first or {name: value.clone() for name, value in student.state_dict().items()}
        if runner.iter == self.stop_at:
            if self.by is None:
                raise ZeroDivisionError
            os.kill(os.getpid(), self.by)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append(outputs['loss'].item())


def built(work_dir, model=digits_distillation, options=(), epochs=3, keyed=True, **more):
    """A Runner of three epochs of two iterations, as training_config configures it; all generators are drawn from."""
    cfg = run_cfg(work_dir, model(), epochs=epochs, **more)
    student = cfg.model.get('architecture', cfg.model)
    student.backbone.drop_path_rate = 0.5
    student.head.loss = dict(type='CrossEntropyLoss', use_soft=True)
    student.train_cfg = dict(augments=[dict(type='Mixup', alpha=1.0), dict(type='CutMix', alpha=1.0)])
    cfg.default_hooks.iteration_seed = dict(type='wsld_plugin.IterationSeedHook')
    cfg.merge_from_dict(dict(options))
    cfg.accelerate = dict(channels_last=False)
    accelerate(cfg)
    if keyed:
        cfg.train_dataloader.dataset.pipeline = [*AUGMENTED[:2], AUGMENTED[-1]]
        key_training_set(cfg)
    return RUNNERS.build(cfg)


def trained(runner, hook=None):
    """The losses of a whole run."""
    hook = hook or Probe()
    runner.register_hook(hook)
    runner.train()
    return hook.losses


def resume(work_dir, checkpoint, **more):
    return built(work_dir, resume=True, load_from=str(checkpoint), **more)


def assert_same(one, other):
    torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """An uninterrupted run, its losses and its folder."""
    folder = tmp_path_factory.mktemp('whole') / 'run'
    runner = built(folder)
    return runner, trained(runner), folder


@pytest.fixture(scope='module')
def accumulated(tmp_path_factory):
    """An uninterrupted run that steps after every third iteration, and its losses."""
    runner = built(tmp_path_factory.mktemp('accumulated') / 'run', **ACCUMULATION)
    return runner, trained(runner)


@pytest.mark.parametrize('file', ['student_last.pth', 'student_best.pth', 'epoch_3.pth'])
def test_a_run_starts_from_the_student_in_any_checkpoint(whole, tmp_path, file):
    runner, hook = built(tmp_path / 'run', load_from=str(whole[2] / file), epochs=1), Probe()
    assert trained(runner, hook)[0] != whole[1][0]
    exported = torch.load(whole[2] / file.replace('epoch_3', 'student_last'), weights_only=True)['state_dict']
    assert_same(hook.first, dict(exported))
    assert runner.iter == 2


DAMAGE = dict(
    missing=lambda state, name: state.pop(name),
    shape=lambda state, name: state.update({name: state[name][:, :-1]}),
    unexpected=lambda state, name: state.update({'architecture.extra': state[name]}),
    empty=lambda state, name: state.clear())


@pytest.mark.parametrize('how', DAMAGE)
@pytest.mark.parametrize('resumed', [True, False])
def test_a_tensor_without_a_place_stops_the_run(whole, tmp_path, how, resumed):
    checkpoint = torch.load(whole[2] / 'epoch_3.pth', weights_only=False)
    DAMAGE[how](checkpoint['state_dict'], 'architecture.head.fc.weight')
    torch.save(checkpoint, tmp_path / 'bad.pth')
    runner = built(tmp_path / 'run', resume=resumed, load_from=str(tmp_path / 'bad.pth'))
    with pytest.raises(CheckpointError, match=r'holds no weights' if how == 'empty' and not resumed else r'bad\.pth'):
        runner.train()


def test_a_checkpoint_of_another_training_is_not_resumed(whole, tmp_path):
    trained(built(tmp_path / 'baseline', digits_classifier, epochs=1))
    adam = {'optim_wrapper.optimizer': dict(_delete_=True, type='Adam', lr=.1)}
    for checkpoint, options, message in (
            (tmp_path / 'baseline/epoch_1.pth', {},
             r'(?s)epoch_1\.pth is not a checkpoint of this .*missing.*load_from'),
            (whole[2] / 'epoch_3.pth', adam, 'was written with another optimizer or schedule than the config has')):
        with pytest.raises(CheckpointError, match=message):
            resume(tmp_path / 'run', checkpoint, options=options).train()


def test_settings_that_a_resume_ignores_are_logged(whole, tmp_path, capfd):
    runner = resume(tmp_path / 'run', whole[2] / 'epoch_3.pth', options={'optim_wrapper.optimizer.momentum': .5})
    trained(runner)
    line, = [line for line in capfd.readouterr().out.splitlines() if 'continues with settings' in line]
    assert 'optimizer.momentum = 0.9 (config: 0.5)' in line
    trained(resume(tmp_path / 'same', whole[2] / 'epoch_3.pth'))
    assert 'continues with settings' not in capfd.readouterr().out


@pytest.mark.parametrize('copied', [True, False])
def test_a_run_that_is_resumed_elsewhere_leaves_the_old_folder_alone_and_has_its_best(whole, tmp_path, copied):
    old, new = tmp_path / 'old', tmp_path / 'new'
    with pytest.raises(ZeroDivisionError):
        trained(built(old), Probe(4))
    before = {path.name: path.read_bytes() for path in old.glob('*.pth')}
    if copied:
        shutil.copytree(old, new)
    runner = resume(new, (new if copied else old) / 'epoch_2.pth')
    trained(runner)
    assert {path.name: path.read_bytes() for path in old.glob('*.pth')} == before
    assert {path.name for path in new.glob('*.pth')} == {path.name for path in whole[2].glob('*.pth')}
    assert_same(runner.model.state_dict(), whole[0].model.state_dict())


def test_exports_of_an_earlier_epoch_are_written_again_when_the_run_is_resumed(whole, tmp_path):
    shutil.copytree(whole[2], tmp_path / 'run')
    for name in ('student_last.pth', 'student_best.pth'):
        torch.save(dict(state_dict={}), tmp_path / 'run' / name)
    trained(resume(tmp_path / 'run', tmp_path / 'run/epoch_3.pth'))
    for name in ('student_last.pth', 'student_best.pth'):
        mine, theirs = (torch.load(folder / name, weights_only=True)['state_dict'] for folder in
                        (tmp_path / 'run', whole[2]))
        assert_same(mine, theirs)


@pytest.mark.parametrize(('number', 'stop_at', 'settings'), [
    (signal.SIGTERM, 2, {}), (signal.SIGINT, 3, {}), (signal.SIGTERM, 2, ACCUMULATION),
    (signal.SIGTERM, 3, ACCUMULATION)])
def test_a_signal_stops_after_the_iteration_and_the_rest_is_exact(
        whole, accumulated, tmp_path, number, stop_at, settings):
    reference, expected, *_ = accumulated if settings else whole
    before = signal.getsignal(number)
    hook = Probe(stop_at, number)
    with pytest.raises(Interrupted, match=rf'{number.name}: stopped after iteration {stop_at + 1} of 6') as raised:
        trained(built(tmp_path / 'run', **settings), hook)
    assert raised.value.number == number
    assert signal.getsignal(number) is before
    assert (tmp_path / 'run/last_checkpoint').read_text() == f'iter_{stop_at + 1}.pth'
    rest = resume(tmp_path / 'run', tmp_path / f'run/iter_{stop_at + 1}.pth', **settings)
    assert hook.losses + trained(rest) == expected
    assert_same(rest.model.state_dict(), reference.model.state_dict())


@pytest.mark.parametrize('stop_at', [2, 4])
def test_gradients_that_wait_at_the_end_of_an_epoch_are_resumed(accumulated, tmp_path, stop_at):
    reference, expected = accumulated
    with pytest.raises(ZeroDivisionError):
        trained(built(tmp_path / 'run', **ACCUMULATION), Probe(stop_at))
    rest = resume(tmp_path / 'run', tmp_path / f'run/epoch_{stop_at // 2}.pth', **ACCUMULATION)
    assert trained(rest) == expected[stop_at:]
    assert_same(rest.model.state_dict(), reference.model.state_dict())
