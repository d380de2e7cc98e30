import mmcv.transforms
import mmpretrain.datasets.transforms as mm
import numpy as np
import pytest
import torchvision.transforms
from mmpretrain.registry import TRANSFORMS

from wsld_plugin.errors import ConfigError
from wsld_plugin.preprocessors.resident_read import check_supported, read_steps

SHAPE = (3, 7, 9)
CROP = mm.RandomCrop(crop_size=(7, 9), padding=4)
FLIP = mmcv.transforms.RandomFlip(prob=0.5)
PACK = mm.PackInputs()
TO_PIL, FROM_PIL = mm.NumpyToPIL(), mm.PILToNumpy()


def wrapped(name='RandomRotation', **settings):
    return TRANSFORMS.build(dict(type=f'torchvision/{name}', **settings))


TURN = wrapped(degrees=15)


class OwnCrop(mm.RandomCrop):
    pass


class OwnRotation(torchvision.transforms.RandomRotation):
    pass


def own_rotation():
    transform = wrapped(degrees=15)
    transform.t = OwnRotation(15)
    return transform


def test_the_steps_come_in_order_with_their_sizes_and_purposes():
    steps, fill = read_steps([CROP, TO_PIL, TURN, FROM_PIL, mm.RandomCrop(crop_size=5), FLIP, PACK], SHAPE)
    assert [(type(step).__name__, step.name, step.size) for step in steps] == [
        ('Crop', '0.RandomCrop', (7, 9)), ('Rotation', '2.RandomRotation', (7, 9)), ('Crop', '4.RandomCrop', (5, 5)),
        ('Flip', '5.RandomFlip', (5, 5))]
    assert fill.tolist() == [[[0]]] * 3


@pytest.mark.parametrize('pipeline', [[], [PACK], [FLIP, PACK], [TO_PIL, FROM_PIL], [mm.RandomCrop(crop_size=5)]])
def test_without_padding_and_rotation_nothing_is_filled(pipeline):
    assert read_steps(pipeline, SHAPE)[1] is None


@pytest.mark.parametrize(('turned', 'expected'), [(False, [1, 2, 3]), (True, [3, 2, 1])])
def test_the_fill_is_turned_round_with_the_channels(turned, expected):
    pair = mm.NumpyToPIL(to_rgb=turned), mm.PILToNumpy(to_bgr=turned)
    _, fill = read_steps([pair[0], wrapped(degrees=15, fill=(1, 2, 3)), pair[1]], SHAPE)
    assert fill.ravel().tolist() == expected
    results = dict(img=np.zeros((7, 9, 3), dtype=np.uint8))
    for transform in (pair[0], wrapped(degrees=(45, 45), fill=(1, 2, 3)), pair[1]):
        results = transform(results)
    assert results['img'][0, 0].tolist() == expected


@pytest.mark.parametrize(('transform', 'message'), [
    (torchvision.transforms.RandomRotation(15), r'has torchvision\..*RandomRotation, which .* Supported are '),
    (torchvision.transforms.RandomCrop(4), r'has torchvision\..*RandomCrop, which'),
    (wrapped('RandomCrop', size=4), 'has torchvision/RandomCrop, which'),
    (own_rotation(), 'has .*TorchVisonTransformWrapper, which'),
    (mm.ColorJitter(brightness=0.4), r'has .*ColorJitter, which'),
    (OwnCrop(crop_size=4), r'has .*OwnCrop, which'),
    (mm.RandomCrop(crop_size=20, pad_if_needed=True, padding_mode='edge'), r"padding_mode='edge'.*'constant'"),
    (mm.PackInputs(algorithm_keys=('mask',)), r"algorithm_keys=\('mask',\)"),
    (mm.PackInputs(input_key='image'), "input_key='image'")])
def test_what_is_not_computed_is_refused_by_name(transform, message):
    with pytest.raises(ConfigError, match=message):
        read_steps([CROP, transform], SHAPE)


@pytest.mark.parametrize(('pipeline', 'message'), [
    ([TURN], 'torchvision/RandomRotation is given an array'),
    ([TO_PIL, FROM_PIL, TURN], 'torchvision/RandomRotation is given an array'),
    ([FROM_PIL], 'PILToNumpy is given an array'),
    ([TO_PIL, TO_PIL], 'NumpyToPIL is given a PIL image'),
    ([TO_PIL, TURN, CROP, FROM_PIL], 'RandomCrop is given a PIL image. Put NumpyToPIL before and PILToNumpy behind'),
    ([TO_PIL, TURN, FLIP, FROM_PIL], 'RandomFlip is given a PIL image'),
    ([TO_PIL, TURN, PACK], 'PackInputs is given a PIL image'),
    ([TO_PIL, TURN], 'NumpyToPIL without a PILToNumpy')])
def test_a_rotation_outside_its_pair_and_anything_else_in_it_is_refused(pipeline, message):
    with pytest.raises(ConfigError, match=message):
        read_steps(pipeline, SHAPE)


@pytest.mark.parametrize(('pair', 'channels', 'message'), [
    ((mm.NumpyToPIL(to_rgb=True), FROM_PIL), 3, r'NumpyToPIL\(to_rgb=True\) and PILToNumpy\(to_bgr=False\) leave'),
    ((TO_PIL, mm.PILToNumpy(to_bgr=True)), 3, r'NumpyToPIL\(to_rgb=False\) and PILToNumpy\(to_bgr=True\) leave'),
    ((TO_PIL, mm.PILToNumpy(dtype='float32')), 3, r"PILToNumpy\(dtype='float32'\), expected None"),
    ((mm.NumpyToPIL(to_rgb=True), mm.PILToNumpy(to_bgr=True)), 1, 'with 1 channels, expected 3'),
    ((TO_PIL, FROM_PIL), 4, 'with 4 channels, expected 3, or 1')])
def test_a_pair_that_changes_more_than_the_kind_of_image_is_refused(pair, channels, message):
    with pytest.raises(ConfigError, match=message):
        read_steps([pair[0], TURN, pair[1]], (channels, 7, 9))


@pytest.mark.parametrize(('others', 'values'), [
    ([mm.RandomCrop(crop_size=8, padding=2, pad_val=1)], '1, 0, 0'),  # so does OpenCV
    ([TO_PIL, wrapped(degrees=15, fill=1), FROM_PIL], '1, 1, 1'),
    ([TO_PIL, wrapped(degrees=15, fill=(0, 0, 1)), FROM_PIL], '0, 0, 1')])
def test_filling_with_different_values_is_refused_with_both(others, values):
    with pytest.raises(ConfigError, match=rf'values, \[0, 0, 0\], \[{values}\].* the same pad_val and fill'):
        read_steps([CROP, *others], SHAPE)


def test_names_of_a_config_are_checked_with_their_scope():
    check_supported(['RandomCrop', 'mmpretrain.RandomFlip', 'mmcv.RandomFlip', 'mmpretrain.PackInputs', 'NumpyToPIL',
                     'torchvision/RandomRotation', 'mmpretrain.torchvision/RandomRotation', 'mmpretrain.PILToNumpy'])
    for name in ('torchvision/RandomCrop', 'LoadImageFromFile', 'RandomResizedCrop'):
        with pytest.raises(ConfigError, match=f'has {name}, which'):
            check_supported(['RandomFlip', name])
    with pytest.raises(ConfigError, match='has ColorJitter, torchvision/ColorJitter, which'):
        check_supported(['ColorJitter', 'RandomFlip', 'torchvision/ColorJitter'])
    for name, near in (('RandomFlp', 'RandomFlip'), ('RandomRotation', 'torchvision/RandomRotation')):
        with pytest.raises(ConfigError, match=f"Did you mean '{near}'"):
            check_supported([name])
