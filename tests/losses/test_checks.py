"""Invalid input: the message says what was given and what to do, and no device but a CPU is waited for."""
import math
import re

import pytest
import torch
from factories import OperationLog

from wsld_plugin.errors import ConfigError
from wsld_plugin.losses import KD, WSLD, PartialLabelLoss
from wsld_plugin.losses.biased import partial_label
from wsld_plugin.losses.functional import kd, wsld, wsld_weights

S = torch.zeros(4, 3)
Y = torch.tensor([0, 1, 2, 0])
P = torch.full((4, 3), 1 / 3)


def fails(error, message):
    return pytest.raises(error, match=re.escape(message))


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
                 lambda: wsld_weights(student, teacher, Y), lambda: partial_label(student, teacher)):
        with fails(error, message):
            call()


@pytest.mark.parametrize(('target', 'error', 'message'), [
    (Y[:3], ConfigError, 'shape (3,) and type torch.int64, but for logits (4, 3) integer class indices (4,)'),
    (P.long(), ConfigError, 'Sample 0 has sum 0 and minimum 0, but each row of an (N, C) target must be'),
    (Y.float(), ConfigError, 'shape (4,) and type torch.float32'),
    (P[:, :2], ConfigError, 'floating point probabilities (4, 3) are expected'),
    (Y.bool(), TypeError, 'The target is a tensor of torch.bool, but integer class indices (N,)'),
    (P.to(torch.complex64), TypeError, 'The target is a tensor of torch.complex64'),
    ([0, 1, 2, 0], TypeError, 'The target is a list'),
])
def test_target_of_wrong_shape_or_type(target, error, message):
    with fails(error, message):
        wsld(S, S, target)


@pytest.mark.parametrize('dtype', [torch.int64, torch.uint8, torch.float32])
def test_one_hot_rows_of_any_type_are_the_labels(dtype):
    student, teacher = torch.randn(4, 3).double(), torch.randn(4, 3).double()
    rows = torch.eye(3)[Y].to(dtype)
    torch.testing.assert_close(wsld(student, teacher, rows), wsld(student, teacher, Y))


@pytest.mark.parametrize('wrong', [3, -1, -100, 21841, -2**63])
def test_target_out_of_range(wrong):
    target = torch.tensor([0, 1, wrong, 0])
    for call in (lambda: wsld(S, S, target), lambda: wsld_weights(S, S, target),
                 lambda: wsld(S, S, target, teacher_ce=torch.ones(4))):
        with fails(ConfigError, f'Sample 2 has class {wrong:.6g}, but logits of 3 classes need indices from 0 to 2: '
                                'compare num_classes of the head') as error:
            call()
        assert 'wsld_plugin.KD learns from such samples' in str(error.value)


@pytest.mark.parametrize(('row', 'given'), [
    ([.5, .5, .5], 'sum 1.5 and minimum 0.5'),
    ([1.5, -.5, 0], 'sum 1 and minimum -0.5'),
    ([math.nan, .5, .5], 'sum nan and minimum nan'),
    ([math.inf, 0, 0], 'sum inf and minimum 0'),
])
def test_target_rows_that_are_no_probabilities(row, given):
    target = P.clone()
    target[2] = torch.tensor(row)
    with fails(ConfigError, f'Sample 2 has {given}, but each row of an (N, C) target must be probabilities'):
        wsld(S, S, target)


@pytest.mark.parametrize(('teacher_ce', 'error', 'message'), [
    (torch.ones(3), ConfigError, 'teacher_ce has shape (3,), but one cross entropy per sample, (4,)'),
    (torch.ones(4).long(), TypeError, 'teacher_ce is a tensor of torch.int64'),
    (2.0, TypeError, 'teacher_ce is a float'),
    (torch.tensor([1, 1, -.5, 1]), ConfigError, 'Sample 2 has teacher_ce -0.5, but a cross entropy is never'),
    (torch.tensor([1, math.nan, 1, 1]), ConfigError, 'Sample 1 has teacher_ce nan'),
])
def test_wrong_teacher_ce(teacher_ce, error, message):
    with fails(error, message):
        wsld(S, S, Y, teacher_ce=teacher_ce)


@pytest.mark.parametrize('tau', [0, -2.0, math.nan, math.inf, True, '2', None, torch.tensor(2.0)])
def test_temperature_must_be_positive_and_finite(tau):
    for call in (lambda: kd(S, S, tau), lambda: wsld(S, S, Y, tau), lambda: KD(tau), lambda: WSLD(tau),
                 lambda: PartialLabelLoss(tau)):
        with fails(ConfigError, f'tau={tau!r}, expected a finite number in (0, inf)'):
            call()


@pytest.mark.parametrize(('settings', 'message'), [
    (dict(student_tau=0), 'student_tau=0, expected a finite number in (0, inf)'),
    (dict(student_tau='1'), "student_tau='1'"),
    (dict(tau_squared='False'), "tau_squared='False', expected True or False"),
    (dict(tau_squared=1), 'tau_squared=1,'),
    (dict(mean_over='element'), "expected one of 'samples', 'elements'. Did you mean 'elements'?"),
    (dict(multiplier=math.inf), 'multiplier=inf, expected a finite number'),
])
def test_invalid_factors_of_kd_are_refused(settings, message):
    with fails(ConfigError, message):
        KD(**settings)
    with fails(ConfigError, 'student_tau=-1.0, expected'):
        kd(S, S, student_tau=-1.0)


@pytest.mark.parametrize('loss_weight', [math.nan, '1', None, False])
def test_loss_weight_must_be_a_finite_number(loss_weight):
    for module in (KD, WSLD, PartialLabelLoss):
        with fails(ConfigError, f'loss_weight={loss_weight!r}, expected a finite number'):
            module(loss_weight=loss_weight)


def test_unknown_reduction_names_the_nearest():
    for call in (lambda: kd(S, S, reduction='meen'), lambda: wsld(S, S, Y, reduction='meen')):
        with fails(ConfigError, "reduction='meen', expected one of 'mean', 'sum', 'none'. Did you mean 'mean'?"):
            call()


def test_values_are_asserted_without_a_wait_off_the_cpu():
    # A meta tensor has no values: whatever would wait for one raises.
    s = torch.zeros(4, 3, device='meta', requires_grad=True)
    indices, probabilities = Y.to('meta'), P.to('meta')
    with OperationLog() as log:
        wsld(s, s, indices, teacher_ce=torch.ones(4, device='meta')).backward()
        wsld(s, s, probabilities).backward()
        kd(s, s).backward()
    # of teacher_ce and of the probabilities: the cross entropy itself asserts the range of indices
    assert log.names.count('aten._assert_async.msg') == 2
    assert 'aten._local_scalar_dense.default' not in log.names
