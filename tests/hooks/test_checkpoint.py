import json
import os

import mmpretrain
import pytest
import torch
from factories import digits_classifier, digits_distillation, run_cfg
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from wsld_plugin.errors import ConfigError
from wsld_plugin.files import AtomicLocalBackend
from wsld_plugin.hooks.checkpoint import newest_checkpoint, refuse_to_overwrite


def test_the_last_and_the_best_are_kept_and_older_ones_are_removed(tmp_path):
    Runner.from_cfg(run_cfg(tmp_path, digits_distillation(), epochs=3)).train()
    names = {path.name for path in tmp_path.glob('*.pth')}
    best = {name for name in names if name.startswith('best_')}
    assert names - best == {'epoch_3.pth', 'student_last.pth', 'student_best.pth'}
    assert len(best) == 1


def test_a_checkpoint_holds_no_teacher(tmp_path):
    Runner.from_cfg(run_cfg(tmp_path, digits_distillation(), epochs=1)).train()
    checkpoint = torch.load(tmp_path / 'epoch_1.pth', weights_only=True)
    assert {name.split('.')[0] for name in checkpoint['state_dict']} == {'architecture'}
    momenta = checkpoint['optimizer']['state']
    assert len(momenta) == sum('architecture' in name and 'running' not in name and 'batches' not in name
                               for name in checkpoint['state_dict'])


def test_a_crash_while_writing_keeps_the_checkpoint_before(tmp_path, monkeypatch):
    runner = Runner.from_cfg(run_cfg(tmp_path, digits_distillation(), epochs=3))
    put = AtomicLocalBackend.put

    def crash_in_second_epoch(self, data, path):
        if 'epoch_2' in str(path):
            raise OSError(28, 'No space left on device')
        put(self, data, path)

    monkeypatch.setattr(AtomicLocalBackend, 'put', crash_in_second_epoch)
    with pytest.raises(OSError, match='No space left'):
        runner.train()
    assert torch.load(tmp_path / 'epoch_1.pth', weights_only=True)['meta']['epoch'] == 1
    assert any(name.startswith('best_') for name in os.listdir(tmp_path))


@pytest.mark.parametrize(('model', 'name'), [(digits_distillation, 'student'), (digits_classifier, 'model')])
@pytest.mark.parametrize('which', ['last', 'best'])
def test_mmpretrain_loads_the_exported_classifier_and_gives_its_logits(tmp_path, model, name, which, capfd):
    runner = Runner.from_cfg(run_cfg(tmp_path, model(), epochs=1))
    runner.train()
    exported = mmpretrain.get_model(str(tmp_path / f'{name}.py'), pretrained=str(tmp_path / f'{name}_{which}.pth'))
    images = torch.randn(3, 1, 8, 8)
    trained = getattr(runner.model, 'student', runner.model).eval()
    assert torch.equal(exported(images, mode='tensor'), trained(images, mode='tensor'))
    out = capfd.readouterr()
    assert 'missing keys' not in out.out + out.err
    assert 'unexpected key' not in out.out + out.err
    assert exported._dataset_meta['classes'] == tuple('0123456789')


def test_the_exported_config_stands_alone(tmp_path):
    Runner.from_cfg(run_cfg(tmp_path, digits_distillation(), epochs=1)).train()
    cfg = Config.fromfile(tmp_path / 'student.py')
    text = cfg.pretty_text
    assert cfg.model.type == 'ImageClassifier'
    assert cfg.model.data_preprocessor.mean == [77.8]
    assert 'teacher' not in text
    assert 'distill' not in text


def test_the_averaged_student_is_exported(tmp_path):
    cfg = run_cfg(tmp_path, digits_distillation(), epochs=1,
                  custom_hooks=[dict(type='EMAHook', momentum=0.5)])
    runner = Runner.from_cfg(cfg)
    runner.train()
    ema = next(hook for hook in runner.hooks if type(hook).__name__ == 'EMAHook').ema_model.module.student
    exported = torch.load(tmp_path / 'student_last.pth', weights_only=True)['state_dict']
    state = ema.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in exported.items() if 'running' not in name)
    assert any(not torch.equal(value, runner.model.student.state_dict()[name]) for name, value in exported.items())


def log_of(folder):
    return '\n'.join(path.read_text() for path in sorted(folder.glob('*/*.log')))


def test_a_resumed_run_warns_if_nothing_is_left_and_if_the_batch_size_differs(tmp_path):
    Runner.from_cfg(run_cfg(tmp_path, digits_distillation(), epochs=1)).train()
    assert 'Nothing is left' not in log_of(tmp_path)
    Runner.from_cfg(run_cfg(tmp_path, digits_distillation(), epochs=1, resume=True)).train()
    assert 'Nothing is left to train' in log_of(tmp_path)
    assert 'another batch size' not in log_of(tmp_path)
    other = run_cfg(tmp_path, digits_distillation(), epochs=2, resume=True)
    other.train_dataloader.batch_size = 10
    Runner.from_cfg(other).train()
    assert 'another batch size or number of processes: 2 iterations in 1 epochs, here 4' in log_of(tmp_path)


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path):
    whole = Runner.from_cfg(run_cfg(tmp_path / 'whole', digits_distillation(), epochs=4))
    whole.train()
    Runner.from_cfg(run_cfg(tmp_path / 'parts', digits_distillation(), epochs=2)).train()
    rest = Runner.from_cfg(run_cfg(tmp_path / 'parts', digits_distillation(), epochs=4, resume=True))
    rest.train()
    assert (rest.epoch, rest.iter) == (4, 8)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, rest.model.state_dict()[name]), name
    assert {path.name for path in (tmp_path / 'parts').glob('epoch_*.pth')} == {'epoch_4.pth'}


class Interrupt(Hook):
    """Ends the run after an epoch, before its validation or before the next epoch."""

    def __init__(self, epoch, before):
        self.epoch = epoch
        setattr(self, f'before_{before}_epoch', self.end)

    def end(self, runner):
        if runner.epoch == self.epoch:
            raise KeyboardInterrupt


def train_in(work_dir, epochs=3, interrupt_at=None, before='val', **more):
    cfg = run_cfg(work_dir, digits_classifier(), epochs=epochs, **more)
    cfg.default_hooks.resume_validation = dict(type='wsld_plugin.ResumeValidationHook')
    if list(work_dir.glob('epoch_*.pth')):
        cfg.resume = True
    runner = Runner.from_cfg(cfg)
    if interrupt_at is None:
        runner.train()
        return runner
    runner.register_hook(Interrupt(interrupt_at, before))
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    return None


def curve(work_dir):
    records = [json.loads(line) for log in sorted(work_dir.glob('*/vis_data/scalars.json'))
               for line in log.read_text().splitlines()]
    return [(record['step'], record['accuracy/top1']) for record in records if 'accuracy/top1' in record]


@pytest.mark.parametrize('epoch', [2, 3])
def test_the_accuracy_of_the_epoch_before_a_resume_is_that_of_a_run_without_interruption(tmp_path, epoch):
    train_in(tmp_path / 'whole')
    train_in(tmp_path / 'halves', interrupt_at=epoch)
    assert [step for step, _ in curve(tmp_path / 'halves')] == list(range(1, epoch))
    train_in(tmp_path / 'halves')
    assert curve(tmp_path / 'halves') == curve(tmp_path / 'whole')


def test_the_best_score_counts_the_epoch_before_the_resume(tmp_path):
    train_in(tmp_path, interrupt_at=2)
    runner = train_in(tmp_path)
    assert runner.message_hub.get_info('best_score') == max(accuracy for _, accuracy in curve(tmp_path))


def test_an_epoch_whose_validation_was_not_due_is_not_validated(tmp_path):
    settings = dict(epochs=4, train_cfg=dict(by_epoch=True, max_epochs=4, val_interval=2))
    train_in(tmp_path, interrupt_at=3, before='train', **settings)
    assert (tmp_path / 'epoch_3.pth').is_file()
    train_in(tmp_path, **settings)
    assert [step for step, _ in curve(tmp_path)] == [2, 4]


def test_a_new_run_validates_nothing_before_it_trains(tmp_path):
    train_in(tmp_path, epochs=1)
    assert len(curve(tmp_path)) == 1


def files(folder, *names):
    for name in names:
        (folder / name).touch()


def test_the_pointer_names_the_newest(tmp_path):
    files(tmp_path, 'epoch_1.pth', 'epoch_2.pth')
    (tmp_path / 'last_checkpoint').write_text('/elsewhere/before/the/move/epoch_1.pth')
    assert newest_checkpoint(tmp_path).name == 'epoch_1.pth'


@pytest.mark.parametrize('pointer', [None, '', 'epoch_7.pth'])
def test_without_a_usable_pointer_the_highest_number_counts(tmp_path, pointer):
    files(tmp_path, 'epoch_2.pth', 'epoch_10.pth', 'best_accuracy_top1_epoch_11.pth', 'student_last.pth')
    if pointer is not None:
        (tmp_path / 'last_checkpoint').write_text(pointer)
    assert newest_checkpoint(tmp_path).name == 'epoch_10.pth'


def test_an_empty_or_missing_folder_has_none(tmp_path):
    assert newest_checkpoint(tmp_path) is None
    assert newest_checkpoint(tmp_path / 'missing') is None


def test_a_new_run_does_not_overwrite_a_trained_one(tmp_path):
    refuse_to_overwrite(tmp_path)
    files(tmp_path, 'iter_5.pth')
    with pytest.raises(ConfigError, match=r'iter_5\.pth.*--resume.*--work-dir'):
        refuse_to_overwrite(tmp_path)


def test_an_exported_student_alone_is_not_overwritten_either(tmp_path):
    files(tmp_path, 'student_best.pth')
    with pytest.raises(ConfigError, match=r'student_best\.pth.*Start a new one with --work-dir'):
        refuse_to_overwrite(tmp_path)
