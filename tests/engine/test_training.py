import json
import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch
from factories import build, digits_classifier, digits_distillation, run_cfg
from mmengine.runner import Runner

from wsld_plugin.engine.training import evaluate, evaluation_config, train, training_config
from wsld_plugin.errors import CheckpointError, ConfigError


@pytest.fixture
def config(tmp_path):
    cfg = run_cfg(tmp_path / 'unused', digits_classifier(), epochs=1, auto_scale_lr=dict(base_batch_size=40))
    cfg.pop('work_dir')
    path = tmp_path / 'small.py'
    cfg.dump(path)
    return str(path)


def test_options_and_amp_change_the_config_and_the_work_dir_is_named_after_it_unless_given(
        config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Path(training_config(config).work_dir) == Path('work_dirs/small')
    cfg = training_config(config, work_dir='elsewhere', amp='bf16', options={'optim_wrapper.optimizer.lr': 0.3})
    assert cfg.work_dir == 'elsewhere'
    assert cfg.optim_wrapper.type == 'wsld_plugin.AutocastOptimWrapper'
    assert cfg.optim_wrapper.optimizer.lr == 0.3


def test_the_learning_rate_scales_with_the_batch_size_and_validation_can_be_left_out(config, tmp_path, monkeypatch):
    monkeypatch.setattr(Runner, 'build_val_loop', lambda *args: pytest.fail('validated'))
    runner = train(training_config(config, work_dir=str(tmp_path / 'run'), auto_scale_lr=True, validate=False))
    assert runner.optim_wrapper.get_lr()['lr'] == [0.025]  # instead of 0.05: 20 images a batch instead of 40
    runner = train(training_config(config, work_dir=str(tmp_path / 'accumulated'), auto_scale_lr=True, validate=False,
                                   options={'optim_wrapper.accumulative_counts': 2}))
    assert runner.optim_wrapper.get_lr()['lr'] == [0.05]
    with pytest.raises(ConfigError, match='base_batch_size'):
        training_config(config, work_dir=str(tmp_path), auto_scale_lr=True,
                        options={'auto_scale_lr': dict(_delete_=True)})


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


@pytest.mark.parametrize('given', [None, 5])
def test_a_resumed_run_has_the_seed_of_its_checkpoint_before_its_data_are_loaded(config, tmp_path, given, capfd):
    (tmp_path / 'run').mkdir()
    torch.save(dict(state_dict={}, optimizer={}, message_hub={}, meta=dict(seed=7)), tmp_path / 'run/epoch_1.pth')
    cfg = training_config(config, work_dir=str(tmp_path / 'run'), resume=True, options={'randomness.seed': given})
    assert cfg.randomness.seed == 7
    assert f'not {given}' in ''.join(capfd.readouterr())


@pytest.mark.parametrize(('name', 'error', 'message'), [
    ('none.pth', FileNotFoundError, r'There is no checkpoint .*none\.pth'),
    ('folder', FileNotFoundError, r'folder is a folder, not a checkpoint'),
    ('weights.pth', CheckpointError, r'has no message_hub and no meta and no optimizer')])
def test_what_cannot_be_resumed_is_rejected(config, tmp_path, name, error, message):
    (tmp_path / 'folder').mkdir()
    torch.save(dict(state_dict={}), tmp_path / 'weights.pth')
    with pytest.raises(error, match=message):
        training_config(config, work_dir=str(tmp_path / 'run'), resume=str(tmp_path / name))


def test_no_worker_outlives_a_run_and_settings_of_workers_are_dropped_without_workers(tmp_path):
    cfg = run_cfg(tmp_path, digits_classifier(), epochs=1)
    cfg.train_dataloader.update(num_workers=1, persistent_workers=True)
    cfg.val_dataloader.update(persistent_workers=True, prefetch_factor=4)
    cfg.dump(tmp_path / 'small.py')
    before = multiprocessing.active_children()
    runner = train(training_config(str(tmp_path / 'small.py'), work_dir=str(tmp_path / 'run')))
    assert multiprocessing.active_children() == before
    assert runner.train_dataloader.persistent_workers
    assert not runner.val_dataloader.persistent_workers


def weights(tmp_path, classes='0123456789'):
    path = tmp_path / 'weights.pth'
    state = build(digits_classifier()).state_dict()
    torch.save(dict(meta=dict(dataset_meta=dict(classes=tuple(classes))), state_dict=state), path)
    return str(path)


def test_the_metrics_are_returned_and_written_and_classes_in_another_order_or_no_test_set_rejected(tmp_path):
    path = str(tmp_path / 'small.py')
    cfg = run_cfg(tmp_path / 'run', digits_distillation(teacher_ckpt='not/needed.pth'))
    cfg.dump(path)
    metrics = evaluate(evaluation_config(path), weights(tmp_path), out=str(tmp_path / 'out.json'))
    assert json.loads((tmp_path / 'out.json').read_text()) == metrics
    assert 0 <= metrics['accuracy/top1'] <= 100
    with pytest.raises(ConfigError, match=r'\(trained / tested\): 0: 1 / 0, 1: 0 / 1\. '):
        evaluate(evaluation_config(path), weights(tmp_path, '1023456789'))
    cfg.test_dataloader = None
    cfg.dump(path)
    with pytest.raises(ConfigError, match='no test_dataloader'):
        evaluation_config(path)


def test_metrics_of_each_class_are_measured_of_the_teacher_and_written(tmp_path):
    path = str(tmp_path / 'small.py')
    metrics = [dict(type='mmpretrain.Accuracy', topk=(1, )), dict(type='mmpretrain.ConfusionMatrix'),
               dict(type='mmpretrain.SingleLabelMetric', average=None)]
    run_cfg(tmp_path / 'run', digits_distillation(), epochs=1, val_evaluator=metrics, test_evaluator=metrics,
            default_hooks=dict(teacher=dict(type='wsld_plugin.TeacherEvalHook'))).dump(path)
    measured = train(training_config(path)).message_hub.get_info('teacher_metrics')
    evaluate(evaluation_config(path), weights(tmp_path), out=str(tmp_path / 'out.json'))
    for found in (measured, json.loads((tmp_path / 'out.json').read_text())):
        assert len(found['single-label/precision_classwise']) == 10
        assert np.array(found['confusion_matrix/result']).sum() == 20
