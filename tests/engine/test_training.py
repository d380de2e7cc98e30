import json
import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch
from factories import build, digits_classifier, digits_distillation, run_cfg
from mmengine.config import Config
from mmengine.runner import Runner

from wsld_plugin.engine.training import drop_worker_settings, evaluate, evaluation_config, train, training_config
from wsld_plugin.errors import CheckpointError, ConfigError


@pytest.fixture
def config(tmp_path):
    cfg = run_cfg(tmp_path / 'unused', digits_classifier(), epochs=1, auto_scale_lr=dict(base_batch_size=40))
    cfg.pop('work_dir')
    path = tmp_path / 'small.py'
    cfg.dump(path)
    return str(path)


def test_the_work_dir_is_named_after_the_config_unless_it_is_given(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Path(training_config(config).work_dir) == Path('work_dirs/small')
    assert training_config(config, work_dir='elsewhere').work_dir == 'elsewhere'


def test_the_learning_rate_scales_with_the_batch_size_and_validation_can_be_left_out(config, tmp_path, monkeypatch):
    monkeypatch.setattr(Runner, 'build_val_loop', lambda *args: pytest.fail('validated'))
    runner = train(training_config(config, work_dir=str(tmp_path / 'run'), auto_scale_lr=True, validate=False))
    assert runner.optim_wrapper.get_lr()['lr'] == [0.025]  # instead of 0.05: 20 images a batch instead of 40
    with pytest.raises(ConfigError, match='base_batch_size'):
        training_config(config, work_dir=str(tmp_path), auto_scale_lr=True,
                        options={'auto_scale_lr': dict(_delete_=True)})


def test_options_and_amp_change_the_config(config, tmp_path):
    cfg = training_config(config, work_dir=str(tmp_path), amp='bf16', options={'optim_wrapper.optimizer.lr': 0.3})
    assert cfg.optim_wrapper.type == 'wsld_plugin.AutocastOptimWrapper'
    assert cfg.optim_wrapper.optimizer.lr == 0.3


def test_resume_without_a_checkpoint_starts_and_sets_an_exported_model_aside(config, tmp_path, capfd):
    work_dir = tmp_path / 'run'
    work_dir.mkdir()
    (work_dir / 'model_best.pth').write_text('of a run that was killed before its first checkpoint')
    cfg = training_config(config, work_dir=str(work_dir), resume=True)
    assert 'holds no checkpoint yet' in ''.join(capfd.readouterr())
    assert cfg.load_from is None
    train(cfg)
    assert (work_dir / 'interrupted_1/model_best.pth').read_text().startswith('of a run')
    assert torch.load(work_dir / 'model_best.pth', weights_only=True)['state_dict']


def test_resume_in_a_config_is_resume_on_the_command_line(config, tmp_path):
    (tmp_path / 'run').mkdir()
    for epoch in (1, 2):
        torch.save(dict(state_dict={}, optimizer={}, message_hub={}, meta={}), tmp_path / f'run/epoch_{epoch}.pth')
    for options, expected in ((dict(resume=True), 'run/epoch_2.pth'),
                              (dict(resume=True, load_from=str(tmp_path / 'run/epoch_1.pth')), 'run/epoch_1.pth')):
        cfg = training_config(config, work_dir=str(tmp_path / 'run'), options=options)
        assert (cfg.resume, cfg.load_from) == (True, str(tmp_path / expected))


@pytest.mark.parametrize(('name', 'error', 'message'), [
    ('none.pth', FileNotFoundError, r'There is no checkpoint .*none\.pth'),
    ('folder', FileNotFoundError, r'folder is a folder, not a checkpoint'),
    ('weights.pth', CheckpointError, r'has no message_hub and no meta and no optimizer')])
def test_what_cannot_be_resumed_is_rejected(config, tmp_path, name, error, message):
    (tmp_path / 'folder').mkdir()
    torch.save(dict(state_dict={}), tmp_path / 'weights.pth')
    with pytest.raises(error, match=message):
        training_config(config, work_dir=str(tmp_path / 'run'), resume=str(tmp_path / name))


def test_no_worker_outlives_a_run(tmp_path):
    cfg = run_cfg(tmp_path, digits_classifier(), epochs=1)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.update(num_workers=1, persistent_workers=True)
    before = multiprocessing.active_children()
    runner = train(cfg)
    assert multiprocessing.active_children() == before
    assert runner.train_dataloader.persistent_workers


def test_settings_of_workers_are_dropped_without_workers():
    plain = dict(batch_size=2, num_workers=0, persistent_workers=True, prefetch_factor=4)
    cfg = Config(dict(train_dataloader=dict(plain), val_dataloader=dict(plain, num_workers=1), test_dataloader=None))
    drop_worker_settings(cfg)
    assert cfg.train_dataloader == dict(batch_size=2, num_workers=0)
    assert cfg.val_dataloader == dict(plain, num_workers=1)
    assert cfg.test_dataloader is None


@pytest.fixture
def distillation_file(tmp_path):
    path = tmp_path / 'small.py'
    run_cfg(tmp_path / 'run', digits_distillation(teacher_ckpt='not/needed.pth')).dump(path)
    return str(path)


def weights(tmp_path, classes):
    path = tmp_path / 'weights.pth'
    state = build(digits_classifier()).state_dict()
    torch.save(dict(meta=dict(dataset_meta=dict(classes=classes)), state_dict=state), path)
    return str(path)


def test_the_metrics_are_returned_and_written(distillation_file, tmp_path):
    checkpoint = weights(tmp_path, tuple('0123456789'))
    metrics = evaluate(evaluation_config(distillation_file), checkpoint, out=str(tmp_path / 'out.json'))
    assert json.loads((tmp_path / 'out.json').read_text()) == metrics
    assert 0 <= metrics['accuracy/top1'] <= 100


def test_metrics_of_each_class_are_measured_of_the_teacher_and_written(tmp_path):
    metrics = [dict(type='mmpretrain.Accuracy', topk=(1, )), dict(type='mmpretrain.ConfusionMatrix'),
               dict(type='mmpretrain.SingleLabelMetric', average=None)]
    run_cfg(tmp_path / 'run', digits_distillation(), epochs=1, val_evaluator=metrics, test_evaluator=metrics,
            default_hooks=dict(teacher=dict(type='wsld_plugin.TeacherEvalHook'))).dump(tmp_path / 'small.py')
    runner = train(training_config(str(tmp_path / 'small.py')))
    measured = runner.message_hub.get_info('teacher_metrics')
    evaluate(evaluation_config(str(tmp_path / 'small.py')), weights(tmp_path, tuple('0123456789')),
             out=str(tmp_path / 'out.json'))
    for found in (measured, json.loads((tmp_path / 'out.json').read_text())):
        assert len(found['single-label/precision_classwise']) == 10
        assert np.array(found['confusion_matrix/result']).sum() == 20


def test_classes_in_another_order_are_rejected(distillation_file, tmp_path):
    with pytest.raises(ConfigError, match=r'\(trained / tested\): 0: 1 / 0, 1: 0 / 1\. '):
        evaluate(evaluation_config(distillation_file), weights(tmp_path, tuple('1023456789')))


def test_a_config_without_a_test_set_is_rejected(tmp_path):
    cfg = run_cfg(tmp_path / 'run', digits_classifier())
    cfg.test_dataloader = None
    cfg.dump(tmp_path / 'small.py')
    with pytest.raises(ConfigError, match='no test_dataloader'):
        evaluation_config(str(tmp_path / 'small.py'))
