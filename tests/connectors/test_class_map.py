import json
import re

import numpy as np
import pytest

from wsld_plugin.connectors.class_map import load_class_map
from wsld_plugin.errors import ConfigError


def fails(message):
    return pytest.raises(ConfigError, match=re.escape(message))


@pytest.mark.parametrize('class_map', [[2, 0, 5], (2, 0, 5), np.array([2, 0, 5], np.uint8)])
def test_any_sequence_of_integers_is_a_map(class_map):
    assert load_class_map(class_map) == [2, 0, 5]


@pytest.mark.parametrize('name', ['map.json', 'map.txt', 'map.npy'])
@pytest.mark.parametrize('as_path', [str, lambda path: path])
def test_files_of_every_kind_hold_the_same_map(tmp_path, name, as_path):
    (tmp_path / 'map.json').write_text(json.dumps([2, 0, 5]))
    (tmp_path / 'map.txt').write_text('2\n0\n5\n\n')
    np.save(tmp_path / 'map.npy', np.array([2, 0, 5]))
    assert load_class_map(as_path(tmp_path / name)) == [2, 0, 5]


@pytest.mark.parametrize('entry', [-1, 1.0, '1', True, None, [1], np.float64(1)])
def test_entry_that_is_no_index_is_refused(entry):
    with fails(f'class_map has {entry!r} for student class 1, but an integer from 0 up is expected'):
        load_class_map([0, entry])


@pytest.mark.parametrize('class_map', [[], np.array([], int)])
def test_empty_map_is_refused(class_map):
    with fails('class_map is empty'):
        load_class_map(class_map)


@pytest.mark.parametrize('class_map', [10, {0: 1}])
def test_what_is_no_list_is_refused(class_map):
    with fails(f'class_map holds one {type(class_map).__name__}, but a list of integers is expected'):
        load_class_map(class_map)


def test_missing_file_names_the_nearest(tmp_path):
    (tmp_path / 'imagenet21k_to_1k.txt').write_text('0')
    with fails("Did you mean 'imagenet21k_to_1k.txt'?"):
        load_class_map(tmp_path / 'imagenet21k_to1k.txt')
    with fails('is no file'):
        load_class_map(tmp_path / 'no' / 'where.txt')


def test_unknown_kind_of_file_is_refused(tmp_path):
    with fails("ends in '.csv', but a .json, .txt, .npy file is expected"):
        load_class_map(tmp_path / 'map.csv')


@pytest.mark.parametrize(('name', 'content'), [
    ('map.json', b'[0, 1'), ('map.txt', b'0\none\n'), ('map.txt', b'0.5\n'), ('map.txt', b'\xff\xfe'),
    ('map.npy', b''), ('map.npy', b'no array'),
])
def test_broken_file_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with fails('cannot be read'):
        load_class_map(tmp_path / name)


@pytest.mark.parametrize(('name', 'content', 'message'), [
    ('map.json', '{"0": 1}', 'holds one dict'), ('map.json', '[0, 1.5]', 'has 1.5 for student class 1'),
    ('map.txt', '0\n-3\n', 'has -3 for student class 1'),
    ('map.json', '[]', 'is empty'), ('map.txt', '\n', 'is empty'),
])
def test_file_of_something_else_is_refused(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with fails(message):
        load_class_map(tmp_path / name)


@pytest.mark.parametrize('array', [np.zeros((2, 2), int), np.array([0.0, 1.0]), np.array(3)])
def test_array_that_is_no_list_of_integers_is_refused(tmp_path, array):
    np.save(tmp_path / 'map.npy', array)
    with fails('integer'):
        load_class_map(tmp_path / 'map.npy')


def test_pickled_array_is_not_unpickled(tmp_path):
    np.save(tmp_path / 'map.npy', np.array([0, 'x'], dtype=object), allow_pickle=True)
    with fails('cannot be read'):
        load_class_map(tmp_path / 'map.npy')


def test_repeated_index_is_kept_with_a_warning():
    with pytest.warns(UserWarning, match='gives class 7 of the teacher to more than one student class'):
        assert load_class_map([7, 3, 7]) == [7, 3, 7]
