import numpy as np
import pytest
import torch
from jpegs import picture
from mmengine.registry import TRANSFORMS
from mmpretrain.datasets import PackInputs
from PIL import Image

from wsld_plugin.datasets.transforms import PackPlanes

PICTURE = picture(6, 9)


@pytest.mark.parametrize('channels', [1, 2, 3, 4, 5])
@pytest.mark.parametrize('dtype', [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize('axes', [(), (0,), (1,), (0, 1)])
def test_tensors_are_those_of_pack_inputs(channels, dtype, axes):
    image = np.random.default_rng(0).integers(0, 256, (6, 9, channels)).astype(dtype)
    image = np.flip(image, axes) if axes else image
    found, expected = PackPlanes.format_input(image), PackInputs.format_input(image)
    assert found.dtype == expected.dtype
    assert found.is_contiguous()
    assert torch.equal(found, expected)


@pytest.mark.parametrize('image', [PICTURE[..., 0], Image.fromarray(PICTURE), torch.zeros(3, 2, 2),
                                   PICTURE[::2, 1:7], PICTURE.transpose(1, 0, 2)])
def test_whatever_else_pack_inputs_takes_is_packed_as_it_does(image):
    assert torch.equal(PackPlanes.format_input(image), PackInputs.format_input(image))


def test_several_images_are_packed_one_by_one():
    for found, expected in zip(PackPlanes.format_input([PICTURE, PICTURE[:, ::-1]]),
                               PackInputs.format_input([PICTURE, PICTURE[:, ::-1]]), strict=True):
        assert torch.equal(found, expected)


def test_the_sample_is_that_of_pack_inputs():
    results = dict(img=PICTURE, gt_label=3, img_path='a.jpg', ori_shape=(6, 9), flip=True, other=1)
    pack = TRANSFORMS.build(dict(type='wsld_plugin.PackPlanes', meta_keys=('flip', 'ori_shape')))
    found, expected = pack(dict(results)), PackInputs(meta_keys=('flip', 'ori_shape'))(dict(results))
    assert torch.equal(found['inputs'], expected['inputs'])
    assert found['data_samples'].metainfo == expected['data_samples'].metainfo
    assert found['data_samples'].gt_label == expected['data_samples'].gt_label
