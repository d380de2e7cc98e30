import json

import pytest
import torch
from factories import build, digits_classifier, digits_distillation, run_cfg

from wsld_plugin.engine.evaluation import evaluate, evaluation_config
from wsld_plugin.errors import ConfigError


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'small.py'
    run_cfg(tmp_path / 'run', digits_distillation(teacher_ckpt='not/needed.pth')).dump(path)
    return str(path)


def weights(tmp_path, classes):
    path = tmp_path / 'weights.pth'
    state = build(digits_classifier()).state_dict()
    torch.save(dict(meta=dict(dataset_meta=dict(classes=classes)), state_dict=state), path)
    return str(path)


def test_the_metrics_are_returned_and_written(config, tmp_path):
    checkpoint = weights(tmp_path, tuple('0123456789'))
    metrics = evaluate(evaluation_config(config), checkpoint, out=str(tmp_path / 'out.json'))
    assert json.loads((tmp_path / 'out.json').read_text()) == metrics
    assert 0 <= metrics['accuracy/top1'] <= 100


def test_classes_in_another_order_are_refused(config, tmp_path):
    with pytest.raises(ConfigError, match=r'\(trained / tested\): 0: 1 / 0, 1: 0 / 1\. '):
        evaluate(evaluation_config(config), weights(tmp_path, tuple('1023456789')))


def test_a_config_without_a_test_set_is_refused(tmp_path):
    cfg = run_cfg(tmp_path / 'run', digits_classifier())
    cfg.test_dataloader = None
    cfg.dump(tmp_path / 'small.py')
    with pytest.raises(ConfigError, match='no test_dataloader'):
        evaluation_config(str(tmp_path / 'small.py'))
