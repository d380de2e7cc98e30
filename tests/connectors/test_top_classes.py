import doctest
import math
import re

import pytest
import torch
from factories import batch, build, distillation, distiller

from wsld_plugin.connectors import top_classes
from wsld_plugin.connectors.top_classes import TopClasses
from wsld_plugin.errors import ConfigError


def case(n=20, c=7, dtype=torch.float32):
    return torch.randn(n, c, generator=torch.Generator().manual_seed(0)).to(dtype)


@pytest.mark.parametrize('k', [1, 3, 7])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_the_soft_label_is_uniform_over_the_k_largest(k, dtype):
    logits = case(dtype=dtype)
    result = TopClasses(k)(logits)
    assert result.dtype == torch.float32
    for row, probabilities in zip(logits.tolist(), result.double().softmax(1), strict=True):
        inside = [c for c in range(7) if sum(other > row[c] for other in row) < k]
        expected = torch.tensor([1 / k if c in inside else 0. for c in range(7)], dtype=torch.float64)
        if len(inside) == k:  # no tie in bfloat16
            torch.testing.assert_close(probabilities, expected, rtol=0, atol=1e-5)


def test_order_and_size_of_the_logits_inside_and_outside_do_not_count():
    logits = case()
    connector = TopClasses(3)
    assert torch.equal(connector(logits), connector(5 * logits + 2))
    swapped = logits.clone().scatter_(1, logits.topk(2).indices, logits.topk(2).values.flip(1))
    assert torch.equal(connector(logits), connector(swapped))


def test_classes_are_mapped_first():
    logits = torch.tensor([[9., 1., 3., 2.]])
    assert TopClasses(1, class_map=[1, 3])(logits).argmax() == 1


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize('k', [1, 7])
def test_a_row_with_nan_becomes_nan_and_the_others_stay(k, dtype):
    logits = case(dtype=dtype)
    expected = TopClasses(k)(logits)
    expected[[3, 5]] = math.nan
    logits[3], logits[5, 2] = math.nan, math.nan
    torch.testing.assert_close(TopClasses(k)(logits), expected, rtol=0, atol=0, equal_nan=True)


def test_infinite_logits_are_ranked():
    logits = torch.tensor([[math.inf, 1., -math.inf, 2.]])
    assert torch.equal(TopClasses(2)(logits).exp() > .5, torch.tensor([[True, False, False, True]]))


@pytest.mark.parametrize('loss', ['KD', 'PartialLabelLoss'])
def test_a_teacher_of_nan_gives_a_loss_of_nan(loss):
    parts = distiller(dict(type=f'wsld_plugin.{loss}'))
    del parts['loss_forward_mappings']['loss_soft']['gt_labels']
    parts['connectors'] = dict(teacher_logits=dict(type='wsld_plugin.TopClasses', k=2))
    model = build(distillation(distiller=parts))
    torch.nn.init.constant_(model.teacher.head.fc.bias, math.nan)
    losses = model(**model.data_preprocessor(batch(), True), mode='loss')
    assert losses['distill.loss_soft'].isnan()


def test_nothing_is_read_from_the_device():
    assert TopClasses(2)(torch.zeros(4, 3, device='meta')).shape == (4, 3)  # a meta tensor has no values


def test_printed_module_shows_the_settings():
    assert repr(TopClasses(2, floor=0.1, class_map=[0, 2])) == 'TopClasses(k=2, floor=0.1, num_classes=2)'


def test_a_student_learns_from_it():
    parts = distiller(dict(type='wsld_plugin.KD'))
    parts['connectors'] = dict(teacher_logits=dict(type='wsld_plugin.TopClasses', k=2))
    model = build(distillation(distiller=parts))
    losses = model(**model.data_preprocessor(batch(), True), mode='loss')
    losses['distill.loss_soft'].backward()
    assert losses['distill.loss_soft'].item() > 0
    assert model.student.head.fc.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(('settings', 'message'), [
    (dict(k=0), 'k is 0'), (dict(k=1.5), 'k is 1.5'), (dict(k=2, floor=1), 'floor is 1'),
    (dict(k=2, floor=math.nan), 'floor is nan')])
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        TopClasses(**settings)


def test_more_classes_than_there_are_are_refused():
    with pytest.raises(ConfigError, match='k=8, but there are 7 classes: expected 1 … 7'):
        TopClasses(8)(case())
    parts = distiller(dict(type='wsld_plugin.KD'))
    parts['connectors'] = dict(teacher_logits=dict(type='wsld_plugin.TopClasses', k=6))
    with pytest.raises(ConfigError, match='k=6, but there are 5 classes'):
        build(distillation(distiller=parts))


def test_docstring_examples_hold():
    result = doctest.testmod(top_classes)
    assert result.attempted >= 1
    assert result.failed == 0
