"""Invalid input: the message says what was given and what to do, and no device but a CPU is waited for."""
import math
import re

import pytest
import torch
from factories import OperationLog

from wsld_plugin.errors import ConfigError
from wsld_plugin.losses import KD, WSLD, BadTeacherLoss, PartialLabelLoss
from wsld_plugin.losses.biased import partial_label
from wsld_plugin.losses.functional import gradient_parts, kd, regularization_samples, wsld, wsld_weights

S = torch.zeros(4, 3)
Y = torch.tensor([0, 1, 2, 0])
P = torch.full((4, 3), 1 / 3)
SOFT, ALL = (KD, WSLD), (KD, WSLD, PartialLabelLoss)


def fails(error, message):
    return pytest.raises(error, match=re.escape(message))


def third(values, value):
    """The values, of which the third is another."""
    return torch.cat([values[:2], torch.tensor([value]), values[3:]])


@pytest.mark.parametrize(('student', 'teacher', 'error', 'message'), [
    (S, torch.zeros(4, 5), ConfigError, 'shape (4, 3) and the teacher logits (4, 5), but both must be'),
    (S, torch.zeros(3, 3), ConfigError, 'LogitConnector'),
    (S[..., None], S[..., None], ConfigError, 'The student logits have shape (4, 3, 1), but (N, C)'),
    (S, torch.zeros(3), ConfigError, 'The teacher logits have shape (3,), but (N, C)'),
    (S[:0], S[:0], ConfigError, 'at least one sample and one class'),
    (S.long(), S, TypeError, 'The student logits are a tensor of torch.int64, but a floating point tensor (N, C)'),
    (S, (S, S), TypeError, 'The teacher logits are a tuple, but'),
])
def test_logits_of_wrong_shape_or_type(student, teacher, error, message):
    for call in (lambda: kd(student, teacher), lambda: wsld(student, teacher, Y),
                 lambda: wsld_weights(student, teacher, Y), lambda: partial_label(student, teacher),
                 lambda: gradient_parts(student, teacher, Y, 1.0)):
        with fails(error, message):
            call()


@pytest.mark.parametrize(('given', 'error', 'message'), [
    (dict(target=Y[:3]), ConfigError,
     'shape (3,) and type torch.int64, but for logits (4, 3) integer class indices (4,)'),
    (dict(target=P.long()), ConfigError, 'Sample 0 has sum 0 and minimum 0, but each row of an (N, C) target must'),
    (dict(target=Y.float()), ConfigError, 'shape (4,) and type torch.float32'),
    (dict(target=P[:, :2]), ConfigError, 'floating point probabilities (4, 3) are expected'),
    (dict(target=Y.bool()), TypeError, 'The target is a tensor of torch.bool, but integer class indices (N,)'),
    (dict(target=P.to(torch.complex64)), TypeError, 'The target is a tensor of torch.complex64'),
    (dict(target=[0, 1, 2, 0]), TypeError, 'The target is a list'),
    (dict(target=third(P, [.5, .5, .5])), ConfigError,
     'Sample 2 has sum 1.5 and minimum 0.5, but each row of an (N, C) target must be probabilities'),
    (dict(target=third(P, [1.5, -.5, 0])), ConfigError, 'Sample 2 has sum 1 and minimum -0.5'),
    (dict(target=third(P, [math.nan, .5, .5])), ConfigError, 'Sample 2 has sum nan and minimum nan'),
    (dict(target=third(P, [math.inf, 0, 0])), ConfigError, 'Sample 2 has sum inf and minimum 0'),
    (dict(teacher_ce=torch.ones(3)), ConfigError,
     'teacher_ce has shape (3,), but one cross entropy per sample, (4,)'),
    (dict(teacher_ce=Y), TypeError, 'teacher_ce is a tensor of torch.int64'),
    (dict(teacher_ce=2.0), TypeError, 'teacher_ce is a float'),
    (dict(teacher_ce=third(torch.ones(4), -.5)), ConfigError,
     'Sample 2 has teacher_ce -0.5, but a cross entropy is never'),
    (dict(teacher_ce=third(torch.ones(4), math.nan)), ConfigError, 'Sample 2 has teacher_ce nan'),
])
def test_target_or_teacher_ce_of_wrong_shape_type_or_value(given, error, message):
    with fails(error, message):
        wsld(S, S, **{**dict(target=Y), **given})


@pytest.mark.parametrize('wrong', [3, -1, -100, -2**63])
def test_target_out_of_range(wrong):
    target = third(Y, wrong)
    for call in (lambda: wsld(S, S, target), lambda: wsld_weights(S, S, target),
                 lambda: wsld(S, S, target, teacher_ce=torch.ones(4)), lambda: gradient_parts(S, S, target, 1.0)):
        with fails(ConfigError, f'Sample 2 has class {wrong:.6g}, but logits of 3 classes need indices from 0 to 2: '
                                'compare num_classes of the head') as error:
            call()
        assert 'wsld_plugin.KD learns from such samples' in str(error.value)


@pytest.mark.parametrize('tau', [0, -2.0, math.inf, torch.tensor(2.0)])
def test_temperature_must_be_positive_and_finite(tau):
    for call in (lambda: kd(S, S, tau), lambda: wsld(S, S, Y, tau), lambda: gradient_parts(S, S, Y, tau),
                 lambda: KD(tau), lambda: WSLD(tau), lambda: PartialLabelLoss(tau)):
        with fails(ConfigError, f'tau={tau!r}, expected a finite number in (0, inf)'):
            call()


@pytest.mark.parametrize(('kinds', 'settings', 'message'), [
    (ALL, dict(loss_weight=math.nan), 'loss_weight=nan, expected a finite number'),
    (ALL, dict(loss_weight=False), 'loss_weight=False, expected a finite number'),
    ((KD, ), dict(student_tau=0), 'student_tau=0, expected a finite number in (0, inf)'),
    ((KD, ), dict(tau_squared='False'), "tau_squared='False', expected True or False"),
    ((KD, ), dict(tau_squared=1), 'tau_squared=1,'),
    ((KD, ), dict(mean_over='element'), "expected one of 'samples', 'elements'. Did you mean 'elements'?"),
    ((KD, ), dict(multiplier=math.inf), 'multiplier=inf, expected a finite number'),
    (SOFT, dict(samples=dict(regularisation=0)), "Did you mean 'regularization'"),
    (SOFT, dict(samples=dict(reading='rows')), "Did you mean 'row'"),
    (SOFT, dict(samples=dict(others=-1)), 'samples.others=-1, expected a finite number in [0, inf]'),
    (SOFT, dict(samples='label'), 'None or a dict'),
    ((BadTeacherLoss, ), dict(k=1), 'k=1, expected an integer of 2 or more'),
    ((BadTeacherLoss, ), dict(k=2.0), 'k=2.0'),
    ((BadTeacherLoss, ), dict(compensate_margin=-1), 'compensate_margin=-1, expected a finite number in [0, inf]'),
    ((BadTeacherLoss, ), dict(random=math.nan), 'random=nan'),
])
def test_invalid_settings_are_refused_when_the_loss_is_built(kinds, settings, message):
    for kind in kinds:
        with fails(ConfigError, message):
            kind(**settings)


def test_invalid_arguments_of_functions_are_refused_and_unknown_choices_name_the_nearest():
    for call in (lambda: kd(S, S, reduction='meen'), lambda: wsld(S, S, Y, reduction='meen')):
        with fails(ConfigError, "reduction='meen', expected one of 'mean', 'sum', 'none'. Did you mean 'mean'?"):
            call()
    with fails(ConfigError, "reading='lable', expected one of 'label', 'row'. Did you mean 'label'?"):
        regularization_samples(S, S, Y, 2.0, 'lable')
    with fails(ConfigError, 'student_tau=-1.0, expected'):
        kd(S, S, student_tau=-1.0)


def test_values_are_asserted_and_nothing_is_read_from_a_device_that_is_not_the_cpu():
    # A meta tensor has no values: whatever would wait for one, or make a shape of them, raises.
    s = torch.zeros(4, 3, device='meta', requires_grad=True)
    indices, probabilities = Y.to('meta'), P.to('meta')
    with OperationLog() as log:
        wsld(s, s, indices, teacher_ce=torch.ones(4, device='meta')).backward()
        wsld(s, s, probabilities).backward()
        kd(s, s).backward()
        BadTeacherLoss(k=3)(s, probabilities).backward()
    assert s.grad.shape == s.shape
    # of teacher_ce and twice of probabilities, whose companions are the fourth: cross entropy asserts the indices
    assert log.names.count('aten._assert_async.msg') == 4
    assert not {'aten._local_scalar_dense.default', 'aten.nonzero.default'} & set(log.names)
