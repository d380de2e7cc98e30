import os

import numpy as np
import pytest
import torch
from packs import arrays, make_pack

from wsld_plugin.datasets import Digits, PackedDataset
from wsld_plugin.datasets.resident_memory import check_fits, free_memory, load_resident
from wsld_plugin.errors import ConfigError

CPU = torch.device('cpu')


class Samples:
    """A data set of given images and labels."""

    def __init__(self, images, labels):
        self.samples = [dict(img=image, gt_label=label) for image, label in zip(images, labels, strict=True)]

    def __len__(self):
        return len(self.samples)

    def get_data_info(self, index):
        return self.samples[index]


@pytest.mark.parametrize('order', ['rgb', 'bgr'])
def test_a_pack_is_copied_as_it_hands_out_its_images(tmp_path, order):
    dataset = PackedDataset(str(make_pack(tmp_path / 'pack')), num_samples=20, channel_order=order)
    images, labels = load_resident(dataset, CPU)
    expected = arrays()[0][:20, ..., ::1 if order == 'rgb' else -1].transpose(0, 3, 1, 2)
    assert images.dtype == torch.uint8
    assert images.is_contiguous()
    assert (images.numpy() == expected).all()
    assert labels.dtype == torch.int64
    assert labels.tolist() == list(dataset.get_gt_labels())


def test_grey_images_have_one_channel():
    images, labels = load_resident(Digits(num_samples=30), CPU)
    assert images.shape == (30, 1, 8, 8)
    assert (images[7, 0].numpy() == Digits().get_data_info(7)['img'][..., 0]).all()
    flat, same = load_resident(Samples(images[:, 0].numpy(), list(labels.numpy())), CPU)
    assert (flat == images).all()
    assert (same == labels).all()


def test_many_images_come_in_order():
    pixels = np.arange(2500, dtype=np.uint16).view(np.uint8).reshape(2500, 1, 2, 1)
    images, labels = load_resident(Samples(pixels, range(2500)), CPU)
    assert (images.permute(0, 2, 3, 1).numpy() == pixels).all()
    assert labels.tolist() == list(range(2500))


def test_what_does_not_fit_is_refused_with_both_sizes():
    check_fits(800, 1000, 'cuda:0', '3 images')
    with pytest.raises(ConfigError, match=r'3 images need 9 GiB on cuda:0, which has 10 GiB free.*num_samples'):
        check_fits(9 * 2**30, 10 * 2**30, 'cuda:0', '3 images')


def test_a_data_set_larger_than_this_machine_is_refused_before_it_is_read():
    class Endless(Samples):
        def __len__(self):
            return 2**40
    with pytest.raises(ConfigError, match=r'1099511627776 images of 4×4×3 bytes need .* GiB on cpu'):
        load_resident(Endless(np.zeros((1, 4, 4, 3), dtype=np.uint8), [0]), CPU)


def test_free_memory_is_part_of_what_the_machine_has():
    assert 0 < free_memory('cpu') <= os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_a_gpu_is_asked_for_its_free_memory():
    before = free_memory('cuda')
    taken = torch.empty(2**28, dtype=torch.uint8, device='cuda')
    assert free_memory('cuda') <= before - len(taken)


@pytest.mark.parametrize(('images', 'labels', 'message'), [
    (np.zeros((2, 4, 4, 3)), [0, 1], r"'img' of Samples is float64 of shape \(4, 4, 3\), expected .*Pack"),
    ([np.zeros(shape, np.uint8) for shape in ((4, 4, 3), (4, 5, 3))], [0, 1], r'image 1 .*4, 5, 3\), but .*4, 4, 3'),
    ([None, None], [0, 1], "'img' of Samples is NoneType"),
    (np.zeros((2, 4, 4, 3), np.uint8), [0, [1, 2]], r'gt_label of sample 1 is \[1, 2\], expected one class index'),
    (np.zeros((2, 4, 4, 3), np.uint8), [0, None], 'gt_label of sample 1 is None')])
def test_what_is_no_array_of_labelled_images_is_refused(images, labels, message):
    with pytest.raises(ConfigError, match=message):
        load_resident(Samples(images, labels), CPU)
