import numpy as np
import pytest
import torch
from mmengine.model import BaseDataPreprocessor, ImgDataPreprocessor
from mmpretrain.models.utils import ClsDataPreprocessor
from mmpretrain.models.utils.batch_augments import CutMix, Mixup

from wsld_plugin.errors import ConfigError
from wsld_plugin.teachers import Renormalize, renormalize

HALF = dict(mean=[127.5] * 3, std=[127.5] * 3)  # as mmpretrain's vision transformers trained elsewhere
MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


def rgb(**changes):
    """As mmpretrain's ImageNet configs."""
    return ClsDataPreprocessor(**{**dict(mean=MEAN, std=STD, to_rgb=True), **changes})


def bgr(**changes):
    """As mmpretrain's RegNet configs."""
    return ClsDataPreprocessor(**{**dict(mean=MEAN[::-1], std=STD[::-1], to_rgb=False), **changes})


PREPROCESSORS = {
    'rgb': rgb, 'bgr': bgr, 'half': lambda: rgb(**HALF), 'one number': lambda: rgb(mean=[100.0], std=[50.0]),
    'means differ, one std': lambda: ImgDataPreprocessor(mean=MEAN, std=[60.0], bgr_to_rgb=True),
    'pixels, rgb': lambda: ImgDataPreprocessor(bgr_to_rgb=True),
    'base': lambda: BaseDataPreprocessor(),
}


@pytest.fixture
def pixels():
    generator = torch.Generator().manual_seed(0)
    batch = torch.randint(0, 256, (3, 3, 5, 7), dtype=torch.uint8, generator=generator)
    batch[0, :, 0, 0], batch[0, :, 0, 1] = 0, 255
    return batch


def seen_by(preprocessor, pixels):
    return preprocessor(dict(inputs=pixels.clone()))['inputs']


def converted(source, target, pixels):
    found = renormalize(source, target)
    inputs = seen_by(source, pixels)
    return inputs if found is None else found(inputs)


def check(source, target, pixels):
    """Equal up to a float32 rounding of a normalised pixel, in units of the largest one."""
    expected = seen_by(target, pixels).float()
    torch.testing.assert_close(converted(source, target, pixels).float(), expected, rtol=1e-6,
                               atol=1e-6 * max(1.0, expected.abs().max().item()))


def test_it_gives_what_the_target_preprocessor_would_have_given_and_none_if_both_see_the_same(pixels):
    for source in PREPROCESSORS:
        for target in PREPROCESSORS:
            check(PREPROCESSORS[source](), PREPROCESSORS[target](), pixels)
            assert (renormalize(PREPROCESSORS[source](), PREPROCESSORS[target]()) is None) == (source == target)
    assert renormalize(rgb(), ImgDataPreprocessor(mean=MEAN, std=STD, bgr_to_rgb=True)) is None
    assert renormalize(ClsDataPreprocessor(), BaseDataPreprocessor()) is None
    assert renormalize(rgb(**HALF), rgb(mean=[127.5], std=[127.5])) is None
    gray, four = pixels[:, :1], torch.cat([pixels, pixels[:, :1]], dim=1)  # only three channels are reversed
    for source, target, images in [
            (dict(mean=[33.0], std=[78.0]), dict(mean=[127.5], std=[127.5], to_rgb=True), gray),
            (dict(mean=[33.0], std=[78.0]), dict(mean=MEAN, std=STD, to_rgb=True), gray),
            (dict(mean=MEAN, std=STD, to_rgb=True), dict(mean=MEAN[::-1], std=[60.0] * 3), gray),
            (dict(mean=[1.0, 2.0, 3.0, 4.0], std=[1.0, 2.0, 3.0, 4.0], to_rgb=True),
             dict(mean=[4.0, 3.0, 2.0, 1.0], std=[5.0, 6.0, 7.0, 8.0]), four)]:
        check(ClsDataPreprocessor(**source), ClsDataPreprocessor(**target), images)


@pytest.mark.parametrize('padding', [{}, dict(pad_size_divisor=4, pad_value=0)])
def test_rgb_to_bgr_of_the_same_constants_is_a_flip_alone_exact_to_the_bit_also_of_padding(padding, pixels):
    for source, target in ((rgb, bgr), (bgr, rgb)):
        assert not renormalize(source(**padding), target(**padding)).affine
        out = converted(source(**padding), target(**padding), pixels)
        assert torch.equal(out, seen_by(target(**padding), pixels))
        assert out.shape[-2:] == ((8, 8) if padding else (5, 7))


@pytest.mark.parametrize('mix', [Mixup(alpha=0.8), CutMix(alpha=1.0)])
def test_it_commutes_with_mixing(mix, pixels):
    source, target, mixed = rgb(), ClsDataPreprocessor(mean=[10.0, 20.0, 30.0], std=[40.0, 50.0, 60.0]), []
    for preprocessor in (source, target):
        np.random.seed(1)  # noqa: NPY002  mmpretrain draws from numpy's and torch's global generators
        torch.manual_seed(1)
        mixed.append(mix(seen_by(preprocessor, pixels), torch.eye(3))[0])
    assert not torch.equal(mixed[0], seen_by(source, pixels))
    torch.testing.assert_close(renormalize(source, target)(mixed[0]), mixed[1], rtol=1e-6, atol=1e-5)


def test_type_and_memory_format_are_kept_and_constants_stay_float32_in_no_state_dict_and_follow_the_module(pixels):
    found = renormalize(rgb(), rgb(**HALF))
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        inputs = seen_by(rgb(), pixels).to(dtype, memory_format=torch.channels_last)
        before = inputs.clone()
        out = found(inputs)
        assert out.dtype == dtype
        assert out.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(inputs, before)
        expected = (inputs.double() * found.scale.double() + found.shift.double()).to(dtype)
        eps = torch.finfo(dtype).eps
        torch.testing.assert_close(out, expected, rtol=2 * eps, atol=2 * min(eps, 1e-7))
    assert (found.state_dict(), list(found.parameters())) == ({}, [])
    assert found.to('meta').scale.device.type == 'meta'
    assert repr(Renormalize(torch.full((1, 1, 1), 2.0), torch.zeros(1, 1, 1), flip=True)) == (
        'Renormalize(scale=[2.0], shift=[0.0], flip=True)')


def test_padding_that_differs_and_an_unknown_preprocessor_are_refused_unless_both_models_share_it():
    with pytest.raises(ConfigError, match=r'multiples of 32 pixels for one .* of 1 for .*pad_size_divisor'):
        renormalize(rgb(pad_size_divisor=32), rgb())
    with pytest.raises(ConfigError, match=r'padding of value 0 becomes .*, expected 0'):
        renormalize(rgb(pad_size_divisor=32), rgb(mean=[127.5], std=[127.5], pad_size_divisor=32))
    shared = type('Scaling', (BaseDataPreprocessor,), {})()
    for pair in ((rgb(), shared), (shared, rgb())):
        with pytest.raises(ConfigError, match=r'how a Scaling normalises is not known.*ClsDataPreprocessor'):
            renormalize(*pair)
    assert renormalize(shared, shared) is None
