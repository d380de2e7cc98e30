import json
import os

import numpy as np
import pytest
from packs import arrays, make_pack

from wsld_plugin.datasets.pack_format import Pack
from wsld_plugin.errors import ConfigError


@pytest.fixture
def folder(tmp_path):
    return make_pack(tmp_path / 'pack') / 'train'


def cut(path, by):
    with path.open('r+b') as file:
        file.truncate(max(path.stat().st_size + by, 0))


@pytest.mark.parametrize('name', ['images.npy', 'labels.npy'])
@pytest.mark.parametrize('by', [-1, -150, 1, -10**6])
def test_an_array_that_is_cut_short_or_longer_is_refused_by_name(folder, name, by):
    cut(folder / name, by)
    with pytest.raises(ConfigError, match=f'train/{name} is damaged'):
        Pack(folder)


@pytest.mark.parametrize('name', ['images.npy', 'labels.npy'])
def test_a_missing_array_is_refused_by_name(folder, name):
    os.remove(folder / name)
    with pytest.raises(ConfigError, match=f'train/{name} is missing'):
        Pack(folder)


def test_a_folder_without_meta_is_half_written(folder):
    os.remove(folder / 'meta.json')
    with pytest.raises(ConfigError, match=r'half-written one: it has no meta\.json.*adopt'):
        Pack(folder)
    os.remove(folder / 'labels.npy')
    with pytest.raises(ConfigError, match=r'half-written one: it has no meta\.json.*cifar100'):
        Pack(folder)


def test_a_folder_that_is_not_there_says_how_to_make_it(tmp_path):
    with pytest.raises(ConfigError, match=r'does not exist.*tools/pack_dataset\.py cifar100 data/cifar100'):
        Pack(tmp_path / 'cifar100/train')


@pytest.mark.parametrize('change', [
    dict(format=2), dict(num_images=25), dict(num_images='24'), dict(height=0), dict(width=9), dict(classes='names'),
    dict(classes=[]), dict(classes=[1, 2]), dict(sha256=None)])
def test_a_meta_that_does_not_fit_is_refused(folder, change):
    meta = json.loads((folder / 'meta.json').read_text())
    (folder / 'meta.json').write_text(json.dumps({**meta, **change}))
    with pytest.raises(ConfigError, match=r'train/(meta\.json|images\.npy)'):
        Pack(folder)


@pytest.mark.parametrize('text', ['', '[1]', '{"format": 1}', '{"format": 1, '])
def test_a_meta_that_cannot_be_read_is_refused(folder, text):
    (folder / 'meta.json').write_text(text)
    with pytest.raises(ConfigError, match=r'train/meta\.json is damaged'):
        Pack(folder)


def _objects(path):
    np.save(path, np.array([{}] * 24, dtype=object), allow_pickle=True)


@pytest.mark.parametrize('write', [
    lambda path: np.save(path, arrays(24)[0].astype(np.int16)),
    lambda path: np.save(path, np.asfortranarray(arrays(24)[0])),
    lambda path: np.save(path, arrays(24)[0].transpose(0, 3, 1, 2)),
    _objects,
    lambda path: path.write_bytes(b'no array')])
def test_images_of_another_kind_are_refused(folder, write):
    write(folder / 'images.npy')
    with pytest.raises(ConfigError, match=r'train/images\.npy.*expected uint8 of shape \(24, 8, 8, 3\)'):
        Pack(folder)


@pytest.mark.parametrize('label', [-1, 10])
def test_labels_outside_the_classes_are_refused(folder, label):
    labels = arrays(24)[1]
    labels[5] = label
    np.save(folder / 'labels.npy', labels)
    with pytest.raises(ConfigError, match=r'train/labels\.npy holds the labels .*expected 0 … 9'):
        Pack(folder)
