import copy
import pickle

import numpy as np
import pytest
from mmengine.dataset import ClassBalancedDataset
from packs import AUGMENTED, CLASSES, arrays, make_pack

from wsld_plugin.datasets import PackedDataset
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


def test_bgr_is_rgb_with_the_channels_reversed(root):
    image = PackedDataset(root, channel_order='bgr').get_data_info(3)['img']
    assert (image == IMAGES[3][..., ::-1]).all()
    assert image.flags.c_contiguous


@pytest.mark.parametrize('order', ['rgb', 'bgr'])
def test_what_a_transform_writes_does_not_reach_the_file(root, order):
    data = PackedDataset(root, channel_order=order)
    before = data.get_data_info(0)['img'].copy()
    data.get_data_info(0)['img'][:] = 0
    assert (data.get_data_info(0)['img'] == before).all()


@pytest.mark.parametrize('again', [copy.deepcopy, lambda data: pickle.loads(pickle.dumps(data))])
def test_a_copy_for_a_worker_holds_no_images(root, again):
    data = PackedDataset(root, pipeline=AUGMENTED)
    assert len(pickle.dumps(data)) < 5000 < IMAGES.nbytes * 2
    assert (again(data).get_data_info(7)['img'] == IMAGES[7]).all()


def test_a_part_is_the_same_part_of_the_arrays(root):
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
    (dict(num_samples=25), '1 … 24'),
    (dict(num_samples=0), '1 … 24'),
    (dict(split='trian'), "pack/trian does not exist. Did you mean 'train'"),
    (dict(classes=['cat', 'dog']), 'names 2 classes, but .*pack/train has 10'),
])
def test_what_is_not_there_is_refused(root, arguments, message):
    with pytest.raises(ConfigError, match=message):
        PackedDataset(root, **arguments)
