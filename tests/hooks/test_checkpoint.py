import os

import mmpretrain
import pytest
import torch
from factories import digits_classifier, digits_distillation, run_cfg
from mmengine.config import Config
from mmengine.runner import Runner

from wsld_plugin.files import AtomicLocalBackend


def test_the_last_and_the_best_are_kept_and_older_ones_go(tmp_path):
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


def test_the_averaged_student_is_what_is_exported(tmp_path):
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


def test_a_resumed_run_says_when_nothing_is_left_and_when_the_batches_are_others(tmp_path):
    Runner.from_cfg(run_cfg(tmp_path, digits_distillation(), epochs=1)).train()
    assert 'Nothing is left' not in log_of(tmp_path)
    Runner.from_cfg(run_cfg(tmp_path, digits_distillation(), epochs=1, resume=True)).train()
    assert 'Nothing is left to train' in log_of(tmp_path)
    assert 'another batch size' not in log_of(tmp_path)
    other = run_cfg(tmp_path, digits_distillation(), epochs=2, resume=True)
    other.train_dataloader.batch_size = 10
    Runner.from_cfg(other).train()
    assert 'another batch size or number of processes: 2 iterations in 1 epochs, here 4' in log_of(tmp_path)


def test_a_resumed_run_goes_on_as_if_it_had_not_stopped(tmp_path):
    whole = Runner.from_cfg(run_cfg(tmp_path / 'whole', digits_distillation(), epochs=4))
    whole.train()
    Runner.from_cfg(run_cfg(tmp_path / 'parts', digits_distillation(), epochs=2)).train()
    rest = Runner.from_cfg(run_cfg(tmp_path / 'parts', digits_distillation(), epochs=4, resume=True))
    rest.train()
    assert (rest.epoch, rest.iter) == (4, 8)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, rest.model.state_dict()[name]), name
    assert {path.name for path in (tmp_path / 'parts').glob('epoch_*.pth')} == {'epoch_4.pth'}
