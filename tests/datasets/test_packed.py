import copy
import json
import os
import pickle

import numpy as np
import pytest
from mmengine.dataset import ClassBalancedDataset
from packs import AUGMENTED, CLASSES, arrays, make_pack

from wsld_plugin.datasets import PackedDataset
from wsld_plugin.datasets.packed import Pack
from wsld_plugin.errors import ConfigError

IMAGES, LABELS = arrays(24)


@pytest.fixture
def root(tmp_path):
    return str(make_pack(tmp_path / 'pack', train=24, val=10))


def test_samples_are_the_packed_arrays_in_order(root):
    data = PackedDataset(root)
    infos = [data.get_data_info(index) for index in range(len(data))]
    assert (np.stack([info['img'] for info in infos]) == IMAGES).all()
    assert [info['gt_label'] for info in infos] == list(LABELS) == list(data.get_gt_labels())
    assert [data.get_cat_ids(index) for index in range(3)] == [[0], [1], [2]]
    assert data.metainfo['classes'] == tuple(CLASSES)
    assert len(PackedDataset(root, split='val')) == 10


@pytest.mark.parametrize(('order', 'step'), [('rgb', 1), ('bgr', -1)])
def test_an_image_is_a_copy_in_the_chosen_channel_order(root, order, step):
    data = PackedDataset(root, channel_order=order)
    image = data.get_data_info(3)['img']
    assert image.flags.c_contiguous
    assert (image == IMAGES[3][..., ::step]).all()
    image[:] = 0
    assert (data.get_data_info(3)['img'] == IMAGES[3][..., ::step]).all()


def test_a_copy_for_a_worker_contains_no_images(root):
    data = PackedDataset(root, pipeline=AUGMENTED)
    assert len(pickle.dumps(data)) < 5000 < IMAGES.nbytes * 2
    for again in (copy.deepcopy(data), pickle.loads(pickle.dumps(data))):
        assert (again.get_data_info(7)['img'] == IMAGES[7]).all()


def test_num_samples_and_indices_select_from_the_arrays(root):
    assert list(PackedDataset(root, num_samples=5).get_gt_labels()) == list(LABELS[:5])
    assert list(PackedDataset(root, num_samples=5, indices=-2).get_gt_labels()) == list(LABELS[3:5])
    part = PackedDataset(root, indices=[7, 2])
    assert (part.get_data_info(0)['img'] == IMAGES[7]).all()
    assert part.get_data_info(-1)['sample_idx'] == 1
    assert (PackedDataset(root).get_subset([4, 9]).get_data_info(1)['img'] == IMAGES[9]).all()


def test_wrappers_of_mmengine_take_it(root):
    balanced = ClassBalancedDataset(PackedDataset(root, num_samples=11), oversample_thr=0.2)
    assert np.bincount([balanced.get_cat_ids(index)[0] for index in range(len(balanced))]).min() > 1


def test_nothing_is_opened_before_it_is_needed(tmp_path):
    data = PackedDataset(str(tmp_path / 'later'), lazy_init=True)
    make_pack(tmp_path / 'later')
    assert len(data) == 24


@pytest.mark.parametrize(('arguments', 'message'), [
    (dict(channel_order='rbg'), "channel_order='rbg'.*Did you mean 'rgb'"),
    (dict(num_samples=25), 'num_samples=25, expected an integer from 1 to 24'),
    (dict(num_samples=0), 'num_samples=0'),
    (dict(split='trian'), "pack/trian does not exist. Did you mean 'train'"),
    (dict(classes=['cat', 'dog']), 'names 2 classes, but .*pack/train has 10'),
])
def test_arguments_that_do_not_fit_the_pack_are_refused(root, arguments, message):
    with pytest.raises(ConfigError, match=message):
        PackedDataset(root, **arguments)


@pytest.fixture
def folder(tmp_path):
    return make_pack(tmp_path / 'pack') / 'train'


@pytest.mark.parametrize('name', ['images.npy', 'labels.npy'])
def test_an_array_that_is_truncated_extended_or_missing_is_refused_by_name(folder, name):
    content = (folder / name).read_bytes()
    for damaged in (content[:-1], content[:-150], content + b' ', b''):
        (folder / name).write_bytes(damaged)
        with pytest.raises(ConfigError, match=f'train/{name} is damaged'):
            Pack(folder)
    os.remove(folder / name)
    with pytest.raises(ConfigError, match=f'train/{name} is missing'):
        Pack(folder)


def test_a_folder_without_meta_is_incomplete(folder):
    os.remove(folder / 'meta.json')
    with pytest.raises(ConfigError, match=r'incomplete one: it has no meta\.json.*adopt'):
        Pack(folder)
    os.remove(folder / 'labels.npy')
    with pytest.raises(ConfigError, match=r'incomplete one: it has no meta\.json.*cifar100'):
        Pack(folder)
    with pytest.raises(ConfigError, match=r'does not exist.*tools/pack_dataset\.py cifar100 data/cifar100'):
        Pack(folder / 'nowhere/train')


@pytest.mark.parametrize('change', [
    dict(format=2), dict(num_images=25), dict(num_images='24'), dict(height=0), dict(width=9), dict(classes='names'),
    dict(classes=[]), dict(classes=[1, 2]), dict(sha256=None)])
def test_a_meta_that_does_not_fit_is_refused(folder, change):
    meta = json.loads((folder / 'meta.json').read_text())
    del meta['crc32']  # as in a pack of before
    (folder / 'meta.json').write_text(json.dumps({**meta, **change}))
    with pytest.raises(ConfigError, match=r'train/(meta\.json|images\.npy)'):
        Pack(folder)


@pytest.mark.parametrize('text', ['', '[1]', '{"format": 1}', '{"format": 1, ', '[' * 100_000])
def test_a_meta_that_cannot_be_read_is_refused(folder, text):
    (folder / 'meta.json').write_text(text)
    with pytest.raises(ConfigError, match=r'train/meta\.json is damaged'):
        Pack(folder)


@pytest.mark.parametrize('images', [IMAGES.astype(np.int16), np.asfortranarray(IMAGES), IMAGES.transpose(0, 3, 1, 2),
                                    np.array([{}] * 24, dtype=object)])
def test_images_of_another_type_or_shape_are_refused(folder, images):
    np.save(folder / 'images.npy', images, allow_pickle=True)
    with pytest.raises(ConfigError, match=r'train/images\.npy.*expected uint8 of shape \(24, 8, 8, 3\)'):
        Pack(folder)


@pytest.mark.parametrize('label', [-1, 10])
def test_labels_outside_the_classes_are_refused(folder, label):
    labels = LABELS.copy()
    labels[5] = label
    np.save(folder / 'labels.npy', labels)
    with pytest.raises(ConfigError, match=r'train/labels\.npy holds the labels .*expected 0 … 9'):
        Pack(folder)
