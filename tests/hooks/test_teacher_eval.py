import copy

import torch
from factories import digits_classifier, digits_distillation, run_cfg
from mmengine.runner import Runner

from wsld_plugin.hooks import TeacherEvalHook


def cfg_with_hook(tmp_path, **overrides):
    cfg = run_cfg(tmp_path, digits_distillation(), **overrides)
    cfg.default_hooks.teacher = dict(type='wsld_plugin.TeacherEvalHook')
    return cfg


def teacher_accuracy(runner):
    """Counted by hand."""
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


def test_it_changes_nothing_in_the_training(tmp_path):
    states = []
    for cfg in (cfg_with_hook(tmp_path / 'with'), run_cfg(tmp_path / 'without', digits_distillation())):
        runner = Runner.from_cfg(cfg)
        runner.train()
        states.append(runner.model.state_dict())
    for key, value in states[0].items():
        assert torch.equal(value, states[1][key]), key


def test_a_run_without_validation_says_that_it_is_left_out(tmp_path):
    cfg = cfg_with_hook(tmp_path, epochs=1)
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    Runner.from_cfg(cfg).train()
    log = '\n'.join(path.read_text() for path in tmp_path.glob('*/*.log'))
    assert 'not validated' in log


def test_a_model_without_a_teacher_is_left_alone(tmp_path):
    cfg = run_cfg(tmp_path, digits_classifier(), epochs=1)
    cfg.default_hooks.teacher = dict(type='wsld_plugin.TeacherEvalHook')
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert 'teacher_metrics' not in runner.message_hub.runtime_info
