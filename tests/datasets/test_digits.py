import numpy as np
import pytest
from sklearn.datasets import load_digits

from wsld_plugin.datasets import Digits
from wsld_plugin.errors import ConfigError


def test_the_splits_share_no_image_and_together_are_the_whole_set():
    parts = [Digits(split=split) for split in ('train', 'test')]
    assert [len(part) for part in parts] == [1200, 597]
    images = sorted(part.get_data_info(index)['img'].tobytes() for part in parts for index in range(len(part)))
    whole = sorted(np.round(image * 255 / 16).astype(np.uint8).tobytes() for image in load_digits().images)
    assert images == whole


def test_labels_belong_to_their_images():
    digits = load_digits()
    by_image = {np.round(image * 255 / 16).astype(np.uint8).tobytes(): label
                for image, label in zip(digits.images, digits.target, strict=True)}
    data = Digits(split='test')
    assert all(info['gt_label'] == by_image[info['img'].tobytes()]
               for info in (data.get_data_info(index) for index in range(len(data))))


@pytest.mark.parametrize('n', [10, 100, 250])
def test_a_share_holds_every_class_equally_and_is_the_beginning_of_a_larger_share(n):
    labels = list(Digits(num_samples=n).get_gt_labels())
    assert set(np.bincount(labels, minlength=10)) == {n // 10}
    assert list(Digits(num_samples=2 * n).get_gt_labels())[:n] == labels


def test_images_are_grey_uint8():
    image = Digits().get_data_info(0)['img']
    assert (image.shape, image.dtype) == ((8, 8, 1), np.uint8)


@pytest.mark.parametrize(('arguments', 'message'), [
    (dict(split='tran'), "split='tran'.*Did you mean 'train'"),
    (dict(num_samples=0), '1 … 1200'),
    (dict(split='test', num_samples=598), '1 … 597'),
])
def test_what_is_not_there_is_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        Digits(**arguments)
