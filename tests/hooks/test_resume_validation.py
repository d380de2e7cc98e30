import json

import pytest
from factories import digits_classifier, run_cfg
from mmengine.hooks import Hook
from mmengine.runner import Runner


class Interrupt(Hook):
    """Ends the run after so many epochs, before the validation of the last of them or before the next begins."""

    def __init__(self, epoch, before):
        self.epoch = epoch
        setattr(self, f'before_{before}_epoch', self.end)

    def end(self, runner):
        if runner.epoch == self.epoch:
            raise KeyboardInterrupt


def train(work_dir, epochs=3, interrupt_at=None, before='val', **more):
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
    train(tmp_path / 'whole')
    train(tmp_path / 'halves', interrupt_at=epoch)
    assert [step for step, _ in curve(tmp_path / 'halves')] == list(range(1, epoch))
    train(tmp_path / 'halves')
    assert curve(tmp_path / 'halves') == curve(tmp_path / 'whole')


def test_the_best_score_counts_the_epoch_before_the_resume(tmp_path):
    train(tmp_path, interrupt_at=2)
    runner = train(tmp_path)
    assert runner.message_hub.get_info('best_score') == max(accuracy for _, accuracy in curve(tmp_path))


def test_an_epoch_whose_validation_was_not_due_is_not_validated(tmp_path):
    settings = dict(epochs=4, train_cfg=dict(by_epoch=True, max_epochs=4, val_interval=2))
    train(tmp_path, interrupt_at=3, before='train', **settings)
    assert (tmp_path / 'epoch_3.pth').is_file()
    train(tmp_path, **settings)
    assert [step for step, _ in curve(tmp_path)] == [2, 4]


def test_a_new_run_validates_nothing_before_it_trains(tmp_path):
    train(tmp_path, epochs=1)
    assert len(curve(tmp_path)) == 1
