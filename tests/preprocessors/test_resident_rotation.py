import math

import mmcv.transforms
import mmpretrain.datasets.transforms as mm
import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import chi2_contingency, kstest
from torchvision.transforms import InterpolationMode, RandomRotation

from wsld_plugin.datasets.resident_random import key_states
from wsld_plugin.errors import ConfigError
from wsld_plugin.preprocessors.resident_rotation import Rotation, coefficients
from wsld_plugin.preprocessors.resident_steps import Crop, Flip

SPECIAL = [0, 90, 180, 270, 360, -90, -180, 30, 45, 60, 15, -15, 359.9, 720.5, 1e-14, -1e-14, 180 + 1e-13]
RANDOM = np.random.default_rng(0).uniform(-400, 400, 200)


def states(n, epoch=0):
    return key_states([(0, epoch, index, 0) for index in range(n)])


def rotated(places, a, b, c, d, e, f):
    """One table, pixel by pixel, as the docstring says."""
    height, width = places.shape
    out = np.zeros_like(places)
    for i in range(height):
        for j in range(width):
            column, row = (a * j + b * i + c) >> 16, (d * j + e * i + f) >> 16
            if 0 <= row < height and 0 <= column < width:
                out[i, j] = places[row, column]
    return out


@pytest.mark.parametrize('size', [(32, 32), (7, 9), (9, 4), (1, 6), (6, 1), (1, 1)])
def test_the_coefficients_give_the_pixels_of_pillow(size):
    angles = np.array([*SPECIAL, *(RANDOM[:30] if size[0] == 32 else RANDOM)])
    places = np.arange(1, size[0] * size[1] + 1, dtype=np.int32).reshape(size)
    for angle, numbers in zip(angles.tolist(), coefficients(angles, size).T.tolist(), strict=True):
        assert (rotated(places, *numbers) == np.array(Image.fromarray(places).rotate(angle))).all(), angle


def test_a_coefficient_does_not_depend_on_the_others_of_the_batch():
    found = coefficients(RANDOM, (5, 8))
    assert found.dtype == np.int64
    assert all((coefficients(RANDOM[i:i + 1], (5, 8))[:, 0] == found[:, i]).all() for i in range(20))


@pytest.mark.parametrize(('degrees', 'low', 'high'), [(15, -15, 15), ((20, 300), 20, 300), ((-5.5, -5), -5.5, -5)])
def test_the_angle_is_uniform_in_its_bounds(degrees, low, high):
    angles = Rotation(RandomRotation(degrees), (4, 4), 'here').angles(states(20000))
    assert low <= angles.min() < angles.max() <= high
    assert kstest(angles, 'uniform', args=(low, high - low)).pvalue > 1e-3


def test_the_distribution_of_images_is_that_of_torchvision():
    transform, image = RandomRotation((0, 60)), np.arange(1, 26, dtype=np.uint8).reshape(5, 5)
    torch.manual_seed(0)
    theirs = [np.array(transform(Image.fromarray(image))).tobytes() for _ in range(6000)]
    rotation = Rotation(transform, (5, 5), 'here')
    ours = [rotated(image, *numbers).tobytes() for numbers in np.stack(rotation.draw(states(3000)), 1).tolist()]
    kinds = sorted({*theirs, *ours})
    counts = np.array([[where.count(kind) for kind in kinds] for where in (theirs, ours)])
    frequent = counts.sum(0) > 60
    assert counts[:, frequent].sum() > 0.9 * counts.sum()
    assert frequent.sum() > 10
    assert chi2_contingency(counts[:, frequent]).pvalue > 1e-3


def test_the_angle_of_a_sample_is_independent_of_its_crop_flip_epoch_and_other_angles():
    size, n = (8, 8), 20000
    first, second = (Rotation(RandomRotation(15), size, f'{place}.RandomRotation') for place in (3, 5))
    top, left = Crop(mm.RandomCrop(crop_size=8, padding=4), size, '0.RandomCrop').draw(states(n))
    flip = Flip(mmcv.transforms.RandomFlip(prob=0.5), size, '1.RandomFlip').draw(states(n))[1]
    angle, *others = (np.floor((angles + 15) / 3).astype(int) for angles in (
        first.angles(states(n)), second.angles(states(n)), first.angles(states(n, epoch=1))))
    for other in (top, left, flip, *others):
        table = np.zeros((10, other.max() + 1))
        np.add.at(table, (angle, other), 1)
        assert chi2_contingency(table).pvalue > 1e-3


@pytest.mark.parametrize(('fill', 'channels', 'expected'), [
    (0, 1, [0]), (None, 3, [0] * 3), (7, 1, [7]), (7.9, 3, [7] * 3), ((4, ), 3, [4] * 3), ((4, 5, 6), 3, [4, 5, 6])])
def test_the_filled_pixel_is_that_of_the_transform(fill, channels, expected):
    transform = RandomRotation((45, 45), fill=fill)
    image = np.zeros((6, 6, channels), dtype=np.uint8)
    corner = np.array(transform(Image.fromarray(image[..., 0] if channels == 1 else image)))[0, 0]
    found = Rotation(transform, (6, 6), 'here').fill(channels)
    assert found.dtype == np.uint8
    assert found.ravel().tolist() == np.atleast_1d(corner).tolist() == expected


def test_a_fill_for_other_channels_is_refused():
    with pytest.raises(ConfigError, match=r'fill=\(1, 2, 3\)\): .*does not match the number of channels'):
        Rotation(RandomRotation(15, fill=(1, 2, 3)), (6, 6), 'here').fill(1)


@pytest.mark.parametrize(('arguments', 'message'), [
    (dict(interpolation=InterpolationMode.BILINEAR), r"interpolation='bilinear'\) .*only interpolation='nearest'"),
    (dict(expand=True), r'expand=True\) .*only expand=False'),
    (dict(center=(1, 2)), r'center=\(1, 2\)\) .*only center=None'),
    (dict(degrees=(3, 2)), r'degrees=\[3.0, 2.0\]\), expected the smallest and the largest'),
    (dict(degrees=(0, math.nan)), r'degrees=\[0.0, nan\]\), expected the smallest'),
    (dict(degrees=(0, math.inf)), r'degrees=\[0.0, inf\]\), expected the smallest')])
def test_other_arguments_are_refused_by_name(arguments, message):
    with pytest.raises(ConfigError, match=rf'RandomRotation\({message}'):
        Rotation(RandomRotation(**{'degrees': 15, **arguments}), (6, 6), 'here')
