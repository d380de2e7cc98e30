import json
import multiprocessing
from types import SimpleNamespace

import mmpretrain
import pytest
import torch
from factories import build, digits_classifier, digits_distillation, run_cfg
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import distributed

from wsld_plugin.errors import ConfigError
from wsld_plugin.files import AtomicLocalBackend
from wsld_plugin.hooks.checkpoint import CheckpointHook, ResumeValidationHook, _warn_about_resume


class Interrupt(Hook):
    """Ends the run after an epoch, before its validation."""

    def __init__(self, epoch):
        self.epoch = epoch

    def before_val_epoch(self, runner):
        if runner.epoch == self.epoch:
            raise KeyboardInterrupt


def train_in(work_dir, model=digits_distillation, epochs=3, hooks=(), **more):
    cfg = run_cfg(work_dir, model(), epochs=epochs, resume=work_dir.exists(), **more)
    cfg.default_hooks.resume_validation = dict(type='wsld_plugin.ResumeValidationHook')
    runner = Runner.from_cfg(cfg)
    for hook in hooks:
        runner.register_hook(hook)
    runner.train()
    return runner


def curve(work_dir):
    records = [json.loads(line) for log in sorted(work_dir.glob('*/vis_data/scalars.json'))
               for line in log.read_text().splitlines()]
    return [(record['step'], record['accuracy/top1']) for record in records if 'accuracy/top1' in record]


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """An uninterrupted run of three epochs: its runner and its folder."""
    folder = tmp_path_factory.mktemp('whole') / 'run'
    return train_in(folder), folder


def test_the_last_and_the_best_are_kept_without_the_teacher_and_older_ones_are_removed(whole):
    runner, folder = whole
    names = {path.name for path in folder.glob('*.pth')}
    best = {name for name in names if name.startswith('best_')}
    assert names - best == {'epoch_3.pth', 'student_last.pth', 'student_best.pth'}
    assert len(best) == 1
    assert [step for step, _ in curve(folder)] == [1, 2, 3]  # a new run validates nothing before it trains
    checkpoint = torch.load(folder / 'epoch_3.pth', weights_only=True)
    assert {name.split('.')[0] for name in checkpoint['state_dict']} == {'architecture'}
    assert len(checkpoint['optimizer']['state']) == len(list(runner.model.student.parameters()))


def test_mmpretrain_loads_the_exported_student_and_its_config_stands_alone(whole, capfd):
    folder = whole[1]
    model, images = build(digits_distillation()).eval(), torch.randn(3, 1, 8, 8)
    for which, checkpoint in (('last', folder / 'epoch_3.pth'), ('best', next(folder.glob('best_*.pth')))):
        model.load_state_dict(torch.load(checkpoint, weights_only=True)['state_dict'])
        exported = mmpretrain.get_model(str(folder / 'student.py'), pretrained=str(folder / f'student_{which}.pth'))
        assert torch.equal(exported(images, mode='tensor'), model.student(images, mode='tensor'))
        assert exported._dataset_meta['classes'] == tuple('0123456789')
    out = capfd.readouterr()
    assert 'missing keys' not in out.out + out.err
    assert 'unexpected key' not in out.out + out.err
    cfg = Config.fromfile(folder / 'student.py')
    assert cfg.model.type == 'ImageClassifier'
    assert cfg.model.data_preprocessor.mean == [77.8]
    assert 'teacher' not in cfg.pretty_text
    assert 'distill' not in cfg.pretty_text


def test_a_model_without_teacher_is_exported_and_averaged_weights_are_those_exported(tmp_path):
    folder = tmp_path / 'run'
    runner = train_in(folder, digits_classifier, epochs=1, custom_hooks=[dict(type='EMAHook', momentum=0.5)])
    ema = next(hook for hook in runner.hooks if type(hook).__name__ == 'EMAHook').ema_model.module.state_dict()
    for which in ('last', 'best'):
        exported = torch.load(folder / f'model_{which}.pth', weights_only=True)['state_dict']
        assert all(torch.equal(value, ema[name]) for name, value in exported.items() if 'running' not in name)
        assert any(not torch.equal(value, runner.model.state_dict()[name]) for name, value in exported.items())
    mmpretrain.get_model(str(folder / 'model.py'), pretrained=str(folder / 'model_best.pth'))


def test_a_crash_while_writing_keeps_the_checkpoint_before(tmp_path, monkeypatch):
    put = AtomicLocalBackend.put

    def crash_in_second_epoch(self, data, path):
        if 'epoch_2' in str(path):
            raise OSError(28, 'No space left on device')
        put(self, data, path)

    monkeypatch.setattr(AtomicLocalBackend, 'put', crash_in_second_epoch)
    with pytest.raises(OSError, match='No space left'):
        train_in(tmp_path / 'run')
    assert torch.load(tmp_path / 'run/epoch_1.pth', weights_only=True)['meta']['epoch'] == 1
    assert list((tmp_path / 'run').glob('best_*epoch_1.pth'))


def test_a_wrong_save_best_is_named_with_the_metrics(tmp_path):
    cfg = run_cfg(tmp_path, digits_classifier(), epochs=1)
    cfg.default_hooks.checkpoint.save_best = 'top1'
    with pytest.raises(ConfigError, match=r"save_best='top1', expected one of .*: accuracy/top1\."):
        Runner.from_cfg(cfg).train()
    assert (tmp_path / 'epoch_1.pth').is_file()


def _save_in_an_accumulation(rank, folder, queue):
    torch.set_num_threads(1)
    distributed.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2)
    model = torch.nn.Linear(2, 1)
    model.weight.grad = torch.tensor([[4. * rank, 1.]])
    runner = SimpleNamespace(model=model, iter=3, optim_wrapper=SimpleNamespace(_accumulative_counts=2),
                             save_checkpoint=lambda *_, **__: queue.put((rank, model.weight.grad.tolist())),
                             work_dir=folder)
    hook = CheckpointHook()
    hook.out_dir = str(folder)
    hook.save_now(runner)


def test_gradients_of_an_accumulation_are_saved_as_the_mean_of_all_processes(tmp_path):
    context = multiprocessing.get_context('fork')
    queue = context.Queue()
    processes = [context.Process(target=_save_in_an_accumulation, args=(rank, tmp_path, queue)) for rank in (0, 1)]
    for process in processes:
        process.start()
    assert sorted(queue.get(timeout=60) for _ in processes) == [(rank, [[2., 1.]]) for rank in (0, 1)]
    for process in processes:
        process.join()


@pytest.mark.parametrize('epoch', [2, 3])
def test_a_run_resumed_after_an_interrupted_validation_equals_an_uninterrupted_one(tmp_path, whole, epoch):
    folder = tmp_path / 'run'
    with pytest.raises(KeyboardInterrupt):
        train_in(folder, hooks=[Interrupt(epoch)])
    assert [step for step, _ in curve(folder)] == list(range(1, epoch))
    rest = train_in(folder)
    assert curve(folder) == curve(whole[1])
    assert rest.message_hub.get_info('best_score') == max(accuracy for _, accuracy in curve(folder))
    assert (rest.epoch, rest.iter) == (3, 6)
    for name, value in whole[0].model.state_dict().items():
        assert torch.equal(value, rest.model.state_dict()[name]), name
    assert [path.name for path in folder.glob('epoch_*.pth')] == ['epoch_3.pth']
    log = '\n'.join(path.read_text() for path in folder.glob('*/*.log'))
    assert ('Nothing is left to train' in log) == (epoch == 3)


@pytest.mark.parametrize(('epoch', 'iteration', 'settings', 'expected'), [
    (0, 0, {}, []), (1, 2, {}, ['validated']), (1, 3, {}, []), (1, 2, dict(val_interval=2), []),
    (2, 4, dict(val_interval=2), ['validated']), (1, 2, dict(val_begin=2), []),
    (4, 8, dict(val_interval=3), ['validated', 'Nothing is left to train: the checkpoint has 4 of 4']),
    (1, 4, {}, ['another batch size or number of processes: 4 iterations in 1 epochs, here of 2'])])
def test_a_resumed_run_validates_if_that_was_due_and_warns_if_nothing_is_left_or_the_batch_size_differs(
        epoch, iteration, settings, expected):
    """What the hooks read of a Runner that resumes; epochs have two iterations, the run four epochs."""
    loop = object.__new__(EpochBasedTrainLoop)
    vars(loop).update(dict(_max_epochs=4, val_interval=1, val_begin=1) | settings)
    calls = []
    runner = SimpleNamespace(
        train_loop=loop, epoch=epoch, iter=iteration, max_epochs=4, train_dataloader=[0, 1],
        logger=SimpleNamespace(warning=calls.append, info=lambda text: None),
        val_loop=SimpleNamespace(run=lambda: calls.append('validated')))
    ResumeValidationHook().before_train(runner)
    _warn_about_resume(runner)
    assert all(each in found for each, found in zip(expected, calls, strict=True))
