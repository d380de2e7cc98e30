import doctest
import json
import math
import re

import numpy as np
import pytest
import torch
from factories import batch, build, distillation, distiller

from wsld_plugin import connectors
from wsld_plugin.connectors import LogitConnector, TopClasses, load_class_map
from wsld_plugin.errors import ConfigError


def fails(message, error=ConfigError):
    return pytest.raises(error, match=re.escape(message))


def case(n=20, c=7, dtype=torch.float32):
    return torch.randn(n, c, generator=torch.Generator().manual_seed(0)).to(dtype)


# Class maps

def test_sequences_of_integers_and_files_of_each_kind_are_maps_and_a_repeated_index_warns(tmp_path):
    (tmp_path / 'map.json').write_text(json.dumps([2, 0, 5]))
    (tmp_path / 'map.txt').write_text('2\n0\n5\n\n')
    np.save(tmp_path / 'map.npy', np.array([2, 0, 5]))
    files = [tmp_path / f'map.{ending}' for ending in ('json', 'txt', 'npy')]
    for class_map in ((2, 0, 5), np.array([2, 0, 5], np.uint8), torch.tensor([2, 0, 5]), *files, str(files[0])):
        assert load_class_map(class_map) == [2, 0, 5]
    with pytest.warns(UserWarning, match='gives class 7 of the teacher to more than one student class'):
        assert load_class_map([7, 3, 7]) == [7, 3, 7]


@pytest.mark.parametrize(('class_map', 'message'), [
    ([], 'is empty'), (np.array([], int), 'is empty'), (10, 'holds one int'), ({0: 1}, 'holds one dict'),
    *(([0, entry], f": the teacher's index of student class 1={entry!r}, expected an integer of 0 or more")
      for entry in (-1, 1.0, '1', True))])
def test_a_value_that_is_not_a_list_of_indices_is_refused(class_map, message):
    with fails(message):
        load_class_map(class_map)


@pytest.mark.parametrize(('name', 'content', 'message'), [
    ('map.json', b'[0, 1', 'cannot be read'), ('map.txt', b'0\none\n', 'cannot be read'),
    ('map.txt', b'\xff\xfe', 'cannot be read'), ('map.npy', b'', 'cannot be read'),
    ('map.npy', b'no array', 'cannot be read'), ('map.csv', b'0', "ends in '.csv', expected a .json, .txt, .npy"),
    ('map.json', b'{"0": 1}', 'holds one dict'), ('map.json', b'[0, 1.5]', 'index of student class 1=1.5'),
    ('map.txt', b'0\n-3\n', 'index of student class 1=-3'), ('map.txt', b'\n', 'is empty'),
    ('map.npy', np.zeros((2, 2), int), 'integer'), ('map.npy', np.array([0.0, 1.0]), 'integer'),
    ('map.npy', np.array(3), 'integer'), ('map.npy', np.array([0, 'x'], dtype=object), 'cannot be read'),
    ('imagenet21k_to1k.txt', None, "Did you mean 'imagenet21k_to_1k.txt'?"),
    ('no/where.txt', None, 'there is no such file'),
])
def test_a_file_without_a_list_of_indices_is_refused_and_never_unpickled(tmp_path, name, content, message):
    (tmp_path / 'imagenet21k_to_1k.txt').write_text('0')
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    elif content is not None:
        np.save(tmp_path / name, content, allow_pickle=True)
    with fails(message):
        load_class_map(tmp_path / name)


# LogitConnector

@pytest.mark.parametrize('class_map', [None, range(4), range(7), [2, 0]])
def test_half_precision_becomes_float32_and_the_identity_and_the_first_classes_are_otherwise_not_copied(class_map):
    for dtype in (torch.bfloat16, torch.float16, torch.float32, torch.float64):
        logits = case(dtype=dtype)
        expected = torch.promote_types(dtype, torch.float32)
        out = LogitConnector(class_map)(logits)
        assert out.dtype == TopClasses(1, class_map=class_map)(logits).dtype == expected
        assert torch.equal(out, logits[:, list(class_map or range(7))].to(expected))
        assert (out.data_ptr() == logits.data_ptr()) == (dtype == expected and class_map != [2, 0])


def test_each_student_class_gets_its_teacher_class_which_the_gradient_reaches(tmp_path):
    order = torch.randperm(21841, generator=torch.Generator().manual_seed(0))[:1000].tolist()
    (tmp_path / 'map.json').write_text(json.dumps(order))
    logits = case(2, 21841).requires_grad_()
    connector = LogitConnector(str(tmp_path / 'map.json'))
    out = connector(logits)
    assert torch.equal(out, torch.tensor([[row[i] for i in order] for row in logits.tolist()]))
    out.sum().backward()
    assert torch.equal(logits.grad, torch.zeros(2, 21841).index_fill(1, torch.tensor(order), 1))
    assert connector.num_classes == 1000
    assert LogitConnector().num_classes is None
    assert not connector.state_dict()
    assert connector.to('meta').class_map.is_meta  # it follows the module


@pytest.mark.parametrize(('given', 'teacher', 'student', 'message'), [
    (None, 21841, 1000, 'The teacher has 21841 classes and the student 1000, but there is no class_map'),
    ([2, 0], 3, 10, 'The teacher has 3 classes and the student 10, but class_map has 2 entries'),
    ([2, 0], 2, 2, 'The teacher has 2 classes and the student 2, but class_map names class 2 of a teacher'),
])
def test_numbers_of_classes_that_do_not_fit_are_refused(given, teacher, student, message):
    with fails(message) as error:
        LogitConnector(given).check(teacher, student)
    assert "write class_map as the teacher's index of each student class" in str(error.value)


@pytest.mark.parametrize(('record', 'error', 'message'), [
    ((torch.randn(4, 3),), TypeError, 'was given tuple, expected a floating point tensor (N, C)'),
    (torch.zeros(4, 3).long(), TypeError, 'was given torch.int64'),
    (torch.zeros(4, 3, 7, 7), ValueError, 'was given shape (4, 3, 7, 7), expected logits (N, C)'),
    (torch.zeros(4, 2, device='meta'), ConfigError, 'class_map names class 2 of a teacher with 2 classes, 0 to 1'),
])
def test_a_record_that_is_not_logits_of_the_teachers_classes_is_refused(record, error, message):
    with fails(message, error):
        LogitConnector([2, 0])(record)


# TopClasses

@pytest.mark.parametrize('k', [1, 3, 7])
def test_the_soft_label_is_uniform_over_the_k_largest(k):
    logits = case()
    for row, probabilities in zip(logits.tolist(), TopClasses(k)(logits).double().softmax(1), strict=True):
        expected = [1 / k if sum(other > value for other in row) < k else 0. for value in row]
        torch.testing.assert_close(probabilities, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-5)


def test_only_the_set_of_the_largest_classes_counts():
    logits = case()
    swapped = logits.clone().scatter_(1, logits.topk(2).indices, logits.topk(2).values.flip(1))
    for same in (5 * logits + 2, swapped):
        assert torch.equal(TopClasses(3)(logits), TopClasses(3)(same))
    assert TopClasses(1, class_map=[1, 3])(torch.tensor([[9., 1., 3., 2.]])).argmax() == 1  # mapped before


def test_a_row_with_nan_becomes_nan_and_infinite_logits_are_ranked():
    logits = case()
    expected = TopClasses(2)(logits)
    expected[[3, 5]] = math.nan
    logits[3], logits[5, 2] = math.nan, math.nan
    torch.testing.assert_close(TopClasses(2)(logits), expected, rtol=0, atol=0, equal_nan=True)
    label = TopClasses(2)(torch.tensor([[math.inf, 1., -math.inf, 2.]]))
    assert torch.equal(label.exp() > .5, torch.tensor([[True, False, False, True]]))
    assert TopClasses(2)(torch.zeros(4, 3, device='meta')).shape == (4, 3)  # values are never read from the device


def top_distillation(k, loss='KD'):
    parts = distiller(dict(type=f'wsld_plugin.{loss}'))
    del parts['loss_forward_mappings']['loss_soft']['gt_labels']
    parts['connectors'] = dict(teacher_logits=dict(type='wsld_plugin.TopClasses', k=k))
    return build(distillation(distiller=parts))


@pytest.mark.parametrize('loss', ['KD', 'PartialLabelLoss'])
def test_a_student_learns_from_top_classes_and_nan_of_the_teacher_reaches_the_loss(loss):
    with fails('k=6, but there are 5 classes'):
        top_distillation(6)
    model = top_distillation(2, loss)
    data = model.data_preprocessor(batch(), True)
    value = model(**data, mode='loss')['distill.loss_soft']
    value.backward()
    assert value.item() > 0
    assert model.student.head.fc.weight.grad.abs().sum() > 0
    torch.nn.init.constant_(model.teacher.head.fc.bias, math.nan)
    assert model(**data, mode='loss')['distill.loss_soft'].isnan()


@pytest.mark.parametrize(('settings', 'message'), [
    *((settings, f'TopClasses: {wrong}, expected') for settings, wrong in (
        (dict(k=0), 'k=0'), (dict(k=1.5), 'k=1.5'), (dict(k=2, floor=1), 'floor=1'),
        (dict(k=2, floor=math.nan), 'floor=nan'))),
    (dict(k=8), 'k=8, but there are 7 classes: expected 1 … 7')])
def test_invalid_settings_of_top_classes_are_refused(settings, message):
    with fails(message):
        TopClasses(**settings)(case())


def test_docstring_examples_hold_and_printed_modules_show_the_settings():
    result = doctest.testmod(connectors)
    assert result.attempted >= 3
    assert result.failed == 0
    assert repr(LogitConnector([2, 0])) == 'LogitConnector(num_classes=2)'
    assert repr(TopClasses(2, floor=0.1, class_map=[0, 2])) == 'TopClasses(k=2, floor=0.1, num_classes=2)'
