import pickle

import cv2
import numpy as np
import pytest
from jpegs import jpeg, picture, pillow_jpeg, with_exif
from mmcv.transforms import LoadImageFromFile
from mmengine.fileio import LocalBackend, register_backend
from mmengine.registry import TRANSFORMS
from mmpretrain.datasets import RandomResizedCrop

from wsld_plugin.datasets.keyed import seeded
from wsld_plugin.datasets.transforms import partial_decode
from wsld_plugin.datasets.transforms.load_random_resized_crop import LoadRandomResizedCrop, scaled_box

SIZES = [(375, 500), (1200, 1600), (40, 900)]  # of the last no box fits by chance, so that the fallback is met
PLAIN = jpeg(picture(120, 90))


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """Noisy and smooth JPEGs of each size."""
    folder = tmp_path_factory.mktemp('jpegs')
    for size in SIZES:
        for noise in (0, 12):
            (folder / f'{size[0]}-{noise}.jpg').write_bytes(jpeg(picture(*size, noise=noise)))
    return folder


def outcome(transforms, path, *key):
    """What the transforms make of a file, and the random number that comes next."""
    results = dict(img_path=str(path), gt_label=1)
    with seeded('sample', *key):
        for transform in transforms:
            results = transform(results)
        return results, np.random.random()  # noqa: NPY002  (what mmpretrain draws from)


def both(path, *key, scale=224, scaled=False, **kwargs):
    """Of mmpretrain's transforms, and of this one; everything but the pixels is the same."""
    expected, next_expected = outcome([LoadImageFromFile(), RandomResizedCrop(scale, **kwargs)], path, *key)
    found, next_found = outcome([LoadRandomResizedCrop(scale, scaled=scaled, **kwargs)], path, *key)
    assert next_found == next_expected
    rest = [{key: value for key, value in each.items() if key != 'img'} for each in (found, expected)]
    assert rest[0] == rest[1]
    assert found['img'].dtype == np.uint8
    return found['img'], expected['img']


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('kwargs', [
    {}, dict(scale=(96, 160), crop_ratio_range=(0.3, 0.9)), dict(interpolation='bicubic', backend='pillow'),
    dict(crop_ratio_range=(0.01, 0.05), aspect_ratio_range=(0.2, 5.0), max_attempts=1)])
def test_boxes_and_pixels_are_those_of_mmpretrain_where_nothing_is_scaled(decoder, files, size, kwargs):
    for epoch in range(4):
        found, expected = both(files / f'{size[0]}-12.jpg', 0, epoch, 7, **kwargs)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize('size', SIZES[:2])
def test_scaled_boxes_are_the_same_places(decoder, files, size):
    for epoch in range(6):
        found, expected = both(files / f'{size[0]}-0.jpg', 0, epoch, 7, scale=96, scaled=True)
        assert np.abs(found.astype(float) - expected).mean() < 3  # of another box: 10 and more


def test_another_key_is_another_box(files):
    first, second = (both(files / '375-0.jpg', 0, epoch, 7, scaled=True)[0] for epoch in (0, 1))
    assert np.abs(first.astype(float) - second).mean() > 10


@pytest.mark.parametrize('side', [120, 300])
def test_scaled_pixels_are_near_the_means_of_their_areas(decoder, files, side):
    crop = LoadRandomResizedCrop(side, crop_ratio_range=(0.5, 0.9))
    path = files / '1200-0.jpg'
    with seeded('sample', 0, 0, 0):
        found = crop(dict(img_path=str(path)))['img']
    whole = cv2.imread(str(path))
    with seeded('sample', 0, 0, 0):
        top, left, height, width = crop.rand_crop_params(whole)
    assert crop.denominator(height, width) > 1
    box = whole[top:top + height, left:left + width].astype(np.float64)
    assert np.abs(found - area_means(area_means(box, side, 0), side, 1)).mean() < 1.5


def area_means(image, count, axis):
    """Means over ``count`` equal lengths of an axis; a pixel on a border counts by its share."""
    image = np.moveaxis(image, axis, 0)
    total = np.concatenate([np.zeros_like(image[:1]), image.cumsum(0)])
    edges = np.linspace(0, len(image), count + 1)
    below = np.minimum(edges.astype(int), len(image) - 1)
    sums = total[below] + (edges - below)[:, None, None] * image[below]
    return np.moveaxis(np.diff(sums, axis=0) * count / len(image), 0, axis)


@pytest.mark.parametrize('scale', [224, (160, 96)])
def test_the_denominator_is_the_largest_that_leaves_the_pixels_of_the_output(scale):
    crop = LoadRandomResizedCrop(scale)
    height, width = crop.scale
    for box in [(h, w) for h in range(1, 2400, 77) for w in range(1, 2400, 83)] + [(2 * height, 2 * width)]:
        allowed = [each for each in (2, 4) if box[0] >= each * height and box[1] >= each * width]
        assert crop.denominator(*box) == max(allowed, default=1)
    assert LoadRandomResizedCrop(scale, scaled=False).denominator(9999, 9999) == 1


def test_edges_move_by_half_a_pixel_at_most_and_no_side_loses_one_that_was_whole():
    random = np.random.default_rng(0)
    for denominator in (1, 2, 4):
        for y, x, height, width in random.integers(8, 900, (500, 4)):
            top, left, bottom, right = scaled_box((y, x, height, width), denominator)
            for found, exact in ((top, y), (left, x), (bottom, y + height), (right, x + width)):
                assert abs(found - exact / denominator) <= 0.5
            assert bottom - top >= height // denominator
            assert right - left >= width // denominator


@pytest.mark.parametrize(('name', 'content'), [
    ('a.png', cv2.imencode('.png', picture(120, 90))[1].tobytes()), ('grey.jpg', jpeg(picture(120, 90)[..., 0])),
    ('cmyk.jpg', pillow_jpeg('CMYK', 120, 90)), ('rgb.jpg', pillow_jpeg('RGB', 120, 90)),
    *[(f'turned{turn}.jpg', with_exif(PLAIN, turn)) for turn in range(2, 9)],
    ('passes.jpg', jpeg(picture(120, 90), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)), ('exif.jpg', with_exif(PLAIN, 1)),
    ('longer.jpg', PLAIN + b'\0')])
def test_other_files_are_loaded_as_mmcv_loads_them(decoder, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    for epoch in range(3):
        np.testing.assert_array_equal(*both(tmp_path / name, 0, epoch, 0, scale=32))


@pytest.mark.parametrize('scaled', [True, False])
@pytest.mark.parametrize('content', [None, b'', b'no image', PLAIN[:300], PLAIN[:len(PLAIN) // 2],
                                     PLAIN[:20] + PLAIN[-2:]])
def test_files_that_are_missing_or_damaged_give_the_error_of_mmcv(decoder, tmp_path, content, scaled):
    path = tmp_path / 'damaged.jpg'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Exception) as expected:
        LoadImageFromFile()(dict(img_path=str(path)))
    with pytest.raises(expected.type) as found:
        LoadRandomResizedCrop(32, scaled=scaled)(dict(img_path=str(path)))
    assert str(found.value) == str(expected.value)
    assert content in (None, b'') or 'damaged.jpg' in str(found.value)


class Refuses:
    """A decoder that cannot do what mmcv's can, as TurboJPEG with unusual sampling of the colours."""

    @staticmethod
    def decode_jpeg(*_, **__):
        raise ValueError('Could not determine subsampling level of JPEG')


def test_a_file_that_the_decoder_refuses_is_cropped_from_the_whole_image(files, monkeypatch):
    monkeypatch.setattr(partial_decode, 'SIMPLEJPEG', Refuses)
    for epoch in range(4):
        np.testing.assert_array_equal(*both(files / '1200-12.jpg', 0, epoch, 7, scale=96, scaled=True))


class Shelf(LocalBackend):
    """Files of memory."""

    content = {'plain': PLAIN, 'grey': jpeg(picture(120, 90)[..., 0])}

    def get(self, filepath):
        return self.content[filepath]


@pytest.mark.parametrize('name', Shelf.content)
def test_files_are_read_through_the_backend_that_is_named(name):
    register_backend('shelf', Shelf, force=True)
    found = LoadRandomResizedCrop(32, backend_args=dict(backend='shelf'))(dict(img_path=name))
    assert found['img'].shape == (32, 32, 3)


def test_a_config_builds_it_and_it_goes_to_workers(files):
    crop = TRANSFORMS.build(dict(type='wsld_plugin.LoadRandomResizedCrop', scale=64, crop_ratio_range=(0.2, 1.0)))
    assert repr(crop).endswith('backend=cv2, scaled=True)')
    path = files / '1200-12.jpg'
    np.testing.assert_array_equal(outcome([crop], path, 1)[0]['img'],
                                  outcome([pickle.loads(pickle.dumps(crop))], path, 1)[0]['img'])
