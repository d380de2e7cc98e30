from pathlib import Path

import numpy as np
import pytest
import torch
from mmrazor.models import SingleTeacherDistill
from mmrazor.models.losses import WSLD as MMRazorWSLD
from torch import nn

from wsld_plugin.benchmarks.configs import read_training_config
from wsld_plugin.benchmarks.gate import RefusedVariant, check_agrees
from wsld_plugin.benchmarks.ladder import Rung, _operations, reference_config, rungs
from wsld_plugin.benchmarks.ladder_report import ladder_markdown, ladder_report
from wsld_plugin.benchmarks.run import climb
from wsld_plugin.benchmarks.step import TrainStep
from wsld_plugin.engine.accelerate import AutocastOptimWrapper
from wsld_plugin.errors import ConfigError

CONFIGS = Path(__file__).parents[2] / 'configs'
WSLD = str(CONFIGS / 'wsld/wsld_resnet18-w32_resnet18-w8_digits.py')
KD = str(CONFIGS / 'kd/kd_resnet18-w32_resnet18-w8_digits.py')


@pytest.fixture(scope='module')
def cfg():
    return read_training_config(WSLD)


def test_the_first_rung_is_mmrazors_own_classes(cfg):
    step = TrainStep('MMRazor', reference_config(cfg), 4, 8)
    assert type(step.model) is SingleTeacherDistill
    loss = step.model.distiller.distill_losses['loss_wsld']
    assert type(loss) is MMRazorWSLD
    assert (loss.tau, loss.loss_weight, loss.num_classes) == (4.0, 2.25, 10)
    assert isinstance(step.new_batch()['inputs'], list)


def test_each_rung_adds_one_thing_and_trains_from_the_same_weights(cfg):
    ladder = rungs(cfg, 8, ['logits-only teacher', 'stacked batches', 'channels-last', 'folded teacher', 'bf16'])
    first = TrainStep(ladder[0].name, ladder[0].cfg, 4, 8)
    first.sharpen(10)
    found = []
    for rung in ladder[1:]:
        step = TrainStep(rung.name, rung.cfg, 4, 8, like=first)
        check_agrees(rung.name, first.check(), step.check(), rung.tolerance)
        weight = step.model.student.backbone.layer1[0].conv1.weight
        torch.testing.assert_close(weight, first.model.student.backbone.layer1[0].conv1.weight)
        found.append((not isinstance(step.new_batch()['inputs'], list), not weight.is_contiguous(),
                      not any(isinstance(part, nn.BatchNorm2d) for part in step.model.teacher.modules()),
                      isinstance(step.optim_wrapper, AutocastOptimWrapper)))
    assert found == [tuple(index > place for place in range(4)) for index in range(5)]


def test_a_rung_that_computes_something_else_is_refused():
    check_agrees('right', dict(loss=1.0, accuracy=5.0), dict(loss=1.000001), 1e-5)
    for other in (dict(loss=1.001), dict(), dict(loss=float('nan'))):
        with pytest.raises(RefusedVariant, match=r'wrong is not timed: loss .* expected the same to 1e-05'):
            check_agrees('wrong', dict(loss=1.0), other, 1e-5)


def test_a_config_without_a_reference_and_an_unknown_rung_are_refused(cfg):
    with pytest.raises(ConfigError, match="begins with MMRazor's WSLD"):
        rungs(read_training_config(KD), 8)
    with pytest.raises(ConfigError, match="Did you mean 'channels-last'"):
        rungs(cfg, 8, ['channel-last'])


def test_factors_are_medians_of_ratios_within_a_round(cfg):
    seconds = dict(a=(4.0, 8.0, 6.0), b=(2.0, 2.0, 3.0), c=(1.0, 2.0, 3.0))
    ladder = [Rung('a', cfg, 1e-5), Rung('b', cfg, 1e-5, '≤ 2'), Rung('c', cfg, None)]
    losses = dict(a=dict(loss=2.0), b=dict(loss=2.002), c=dict(loss=9.0))
    head = dict(benchmark='step', batch_size=6, image_size=8, pairs=3, warmup=0, date='d', machine='m', threads=1,
                load=None, versions={}, command='c')
    report = ladder_report(head, ladder, seconds, losses, {})
    a, b, c = report['rows']
    assert [row['speedup'][1] for row in (a, b, c)] == [1.0, 2.0, 4.0]
    assert [row['gain'][1] for row in (a, b, c)] == [1.0, 2.0, 1.0]
    assert [row['items_per_second'] for row in (a, b, c)] == [1.0, 3.0, 3.0]
    assert (b['loss_difference'], c['loss_difference']) == (pytest.approx(1e-3), None)
    np.testing.assert_allclose(c['speedup'], np.quantile([4, 4, 2], [.25, .5, .75]))
    assert '| b | 2000.0   | 3.0   | 2.00 ' in ladder_markdown(report)


def test_the_ladder_is_climbed_in_turns(capsys):
    chosen = ['stacked batches', 'cached, fp32', 'student alone, bf16']
    report = climb(WSLD, pairs=2, warmup=1, batch_size=4, chosen=chosen)
    assert [row['name'] for row in report['rows']] == ['MMRazor', 'stacked batches', 'cached, fp32',
                                                      'student alone, bf16']
    assert all(len(row['seconds']) == 2 for row in report['rows'])
    assert report['rows'][1]['loss_difference'] < 1e-5
    assert report['rows'][2]['loss_difference'] < 1e-3
    assert report['left_out'] == ([] if torch.cuda.is_available() else ['graphs: not run, needs a CUDA device.'])


def test_the_prediction_counts_operations():
    # two convolutions of 3 × 3, 3 → 4 and 4 → 4 channels, on two images of 8 × 8 pixels: multiply and add
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1))
    forward = model.forward
    model.forward = lambda images, mode: forward(images)
    object.__setattr__(model, 'data_preprocessor', nn.Identity())  # not called
    assert _operations(model, 8) == 2 * 2 * 64 * 9 * (3 * 4 + 4 * 4)
