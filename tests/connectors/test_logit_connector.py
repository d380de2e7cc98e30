import doctest
import re

import pytest
import torch
from torch import nn

from wsld_plugin.connectors import LogitConnector, class_map, logit_connector
from wsld_plugin.errors import ConfigError
from wsld_plugin.losses.functional import kd

# isort: split
from mmrazor.registry import MODELS


def fails(error, message):
    return pytest.raises(error, match=re.escape(message))


@pytest.mark.parametrize('given', [None, [0, 1, 2]])
def test_identity_costs_nothing(given):
    logits = torch.randn(4, 3)
    out = LogitConnector(given)(logits)
    assert torch.equal(out, logits)
    assert out.data_ptr() == logits.data_ptr()


def test_first_classes_are_a_view():
    logits = torch.randn(4, 1000)
    out = LogitConnector(range(10))(logits)
    assert torch.equal(out, logits[:, :10])
    assert out.data_ptr() == logits.data_ptr()


@pytest.mark.parametrize('given', [None, [0, 1], [2, 0]])
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16, torch.float64])
def test_output_is_float32(given, dtype):
    logits = torch.randn(4, 3).to(dtype)
    columns = range(3) if given is None else given
    out = LogitConnector(given)(logits)
    assert out.dtype == torch.float32
    assert torch.equal(out, logits[:, list(columns)].float())


def test_each_student_class_gets_its_teacher_class():
    order = torch.randperm(21841, generator=torch.Generator().manual_seed(0))[:1000]
    logits = torch.randn(2, 21841)
    connector = LogitConnector(order.tolist())
    expected = [[row[i] for i in order] for row in logits.tolist()]
    assert torch.equal(connector(logits), torch.tensor(expected))
    assert connector.num_classes == 1000


def test_map_from_a_file(tmp_path):
    (tmp_path / 'map.txt').write_text('2\n0\n')
    assert LogitConnector(str(tmp_path / 'map.txt'))(torch.tensor([[1., 2., 3.]])).tolist() == [[3., 1.]]


def test_no_map_has_no_number_of_classes():
    assert LogitConnector().num_classes is None


def test_gradient_reaches_the_chosen_classes_only():
    logits = torch.randn(2, 3, requires_grad=True)
    LogitConnector([2, 0])(logits).sum().backward()
    assert logits.grad.tolist() == [[1, 0, 1], [1, 0, 1]]


def test_no_checkpoint_holds_the_map_but_it_follows_the_module():
    connector = LogitConnector([2, 0])
    assert not connector.state_dict()
    assert connector.to('meta').class_map.is_meta


@pytest.mark.parametrize(('given', 'teacher', 'student', 'message'), [
    (None, 21841, 1000, 'The teacher has 21841 classes and the student 1000, but the LogitConnector has no'),
    ([2, 0], 3, 10, 'The teacher has 3 classes and the student 10, but class_map has 2 entries'),
    ([2, 0], 2, 2, 'The teacher has 2 classes and the student 2, but class_map names class 2 of a teacher'),
])
def test_classes_that_do_not_fit_are_told_before_training(given, teacher, student, message):
    with fails(ConfigError, message) as error:
        LogitConnector(given).check(teacher, student)
    assert "write class_map as the teacher's index of each student class" in str(error.value)


@pytest.mark.parametrize(('given', 'teacher', 'student'), [(None, 9, 9), ([2, 0], 3, 2), ([0, 1], 21841, 2)])
def test_classes_that_fit_pass(given, teacher, student):
    LogitConnector(given).check(teacher, student)


@pytest.mark.parametrize('given', [[2, 0], [0, 1, 2]])
def test_index_beyond_the_teacher_fails_at_the_first_forward(given):
    with fails(ConfigError, 'class_map names class 2 of a teacher with 2 classes, 0 to 1'):
        LogitConnector(given)(torch.randn(4, 2, device='meta'))


@pytest.mark.parametrize(('record', 'error', 'message'), [
    ((torch.randn(4, 3),), TypeError, 'was given tuple, but a floating point tensor (N, C)'),
    (torch.zeros(4, 3).long(), TypeError, 'was given torch.int64'),
    (torch.zeros(4, 3, 7, 7), ValueError, 'was given shape (4, 3, 7, 7), but logits (N, C)'),
])
def test_record_that_is_no_logits_is_refused(record, error, message):
    with fails(error, message):
        LogitConnector()(record)


def test_repr_tells_the_size_of_the_map():
    assert repr(LogitConnector([2, 0])) == 'LogitConnector(num_classes=2)'


class TinyClassifier(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.head = nn.Linear(4, num_classes)

    def forward(self, x):
        return self.head(x)


@pytest.mark.usefixtures('mmrazor_scope')
def test_distiller_of_mmrazor_uses_it_between_recorder_and_loss():
    recorders = dict(logits=dict(type='ModuleOutputs', source='head'))
    distiller = MODELS.build(dict(
        type='ConfigurableDistiller', student_recorders=recorders, teacher_recorders=recorders,
        distill_losses=dict(loss_kd=dict(type='wsld_plugin.KD')),
        connectors=dict(to_student=dict(type='wsld_plugin.LogitConnector', class_map=[4, 1, 0])),
        loss_forward_mappings=dict(loss_kd=dict(
            student=dict(recorder='logits', from_student=True),
            teacher=dict(recorder='logits', from_student=False, connector='to_student')))))
    student, teacher, x = TinyClassifier(3), TinyClassifier(5), torch.randn(2, 4)
    distiller.prepare_from_student(student)
    distiller.prepare_from_teacher(teacher)
    with distiller.student_recorders, distiller.teacher_recorders:
        s, t = student(x), teacher(x)
    loss = distiller.compute_distill_losses()['loss_kd']
    assert torch.equal(loss, kd(s, t[:, [4, 1, 0]]))


@pytest.mark.parametrize('module', [class_map, logit_connector])
def test_docstring_examples_hold(module):
    result = doctest.testmod(module, extraglobs={'torch': torch})
    assert result.attempted >= 1
    assert result.failed == 0
