import copy
import doctest
import math
import os

import mmcv.transforms
import mmpretrain.datasets.transforms as mm
import numpy as np
import pytest
import torch
import torchvision.transforms
from factories import RGB
from mmengine.dataset import RepeatDataset
from mmengine.registry import DATASETS, MODELS, DefaultScope
from mmengine.runner import Runner
from mmpretrain.registry import TRANSFORMS
from mmpretrain.structures import DataSample
from packs import AUGMENTED, arrays, digests, make_pack
from PIL import Image
from scipy.stats import chi2_contingency, kstest
from torchvision.transforms import InterpolationMode

from wsld_plugin.datasets import PackedDataset, ResidentDataset, SampleKey, resident
from wsld_plugin.datasets.keyed import key_states
from wsld_plugin.datasets.resident import ResidentAugment, check_supported, load_resident
from wsld_plugin.errors import ConfigError

CPU = torch.device('cpu')
CROP_AND_FLIP = [*AUGMENTED[:2], AUGMENTED[-1]]
PLAIN = AUGMENTED[-1:]


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    return make_pack(tmp_path_factory.mktemp('data') / 'pack')


@pytest.fixture
def data(root):
    return ResidentDataset(PackedDataset(str(root), pipeline=CROP_AND_FLIP), device='cpu')


def loader(root, *, on_device=True, pipeline=CROP_AND_FLIP, batch=4, epoch=0, seed=0, **more):
    """Built as a Runner builds it."""
    kind = dict(type='wsld_plugin.ResidentDataset', device='cpu') if on_device else \
        dict(type='wsld_plugin.KeyedDataset')
    collate = 'wsld_plugin.whole_batch' if on_device else 'default_collate'
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        built = Runner.build_dataloader(dict(
            batch_size=batch, num_workers=0, collate_fn=dict(type=collate),
            dataset=dict(kind, dataset=dict(
                type='wsld_plugin.PackedDataset', data_root=str(root), pipeline=pipeline)),
            sampler=dict(type='wsld_plugin.KeyedSampler', sampler=dict(type='DefaultSampler', shuffle=True)), **more),
            seed=seed)
    built.sampler.set_epoch(epoch)
    return built


def keys(batches):
    return [[sample.sample_key for sample in batch['data_samples']] for batch in batches]


@pytest.mark.parametrize('epoch', [0, 3])
def test_without_augmentation_the_batches_are_those_of_the_usual_loader(root, epoch):
    both = [loader(root, on_device=each, pipeline=PLAIN, batch=5, epoch=epoch) for each in (True, False)]
    for ours, theirs in zip(*both, strict=True):
        assert list(ours) == ['inputs', 'data_samples']
        assert len(ours) == 2
        assert ours.get('no_such') is None
        assert (ours['inputs'] == theirs['inputs']).all()
        for one, other in zip(ours['data_samples'], theirs['data_samples'], strict=True):
            assert (one.gt_label, one.sample_key, one.sample_idx) == (other.gt_label, other.sample_key,
                                                                      other.sample_idx)


def test_pixels_are_a_function_of_the_key(root, data):
    expected = digests(loader(root, epoch=2))
    assert len(expected) == 24
    torch.rand(3)
    assert digests(loader(root, epoch=2, batch=7)) == expected
    for key in [SampleKey(0, 2, index) for index in (5, 23)]:
        sample = data[key]
        assert digests([dict(inputs=sample['inputs'][None], data_samples=[sample['data_samples']])]) == \
            {tuple(key): expected[tuple(key)]}


@pytest.mark.parametrize('other', [dict(epoch=1), dict(seed=1), dict(repeat=1)])
def test_another_epoch_seed_or_repeat_has_other_pixels(data, other):
    here, there = (data.__getitems__([SampleKey(**{**dict(seed=0, epoch=0, index=index), **each})
                                      for index in range(24)])['inputs'] for each in ({}, other))
    assert (here != there).flatten(1).any(1).sum() > 18  # 1 of 50 is the same by chance


def test_short_epochs_are_taken_from_the_front(root):
    batches = list(loader(root, num_batch_per_epoch=2))
    assert {key.index for batch in keys(batches) for key in batch} == set(range(8))


def test_a_plain_index_and_one_beyond_the_data_are_refused(data):
    with pytest.raises(TypeError, match=r"ResidentDataset\[0\]: expected a SampleKey.*wsld_plugin\.KeyedSampler'"):
        data[0]
    for index in (-1, 24):
        with pytest.raises(IndexError, match=r'0 … 23'):
            data[SampleKey(0, 0, index)]


def test_a_new_pipeline_takes_effect_or_is_refused(data, root):
    flipped = PackedDataset(str(root), pipeline=[dict(type='mmpretrain.RandomFlip', prob=1.0), *PLAIN])
    plain = PackedDataset(str(root), pipeline=PLAIN)
    data.pipeline = flipped.pipeline
    assert (data[SampleKey(0, 0, 3)]['inputs'] == plain[3]['inputs'].flip(2)).all()
    assert data.dataset.pipeline is flipped.pipeline
    with pytest.raises(ConfigError, match=r'has .*RandAugment, .*ColorJitter, which'):
        data.pipeline = PackedDataset(str(root), pipeline=AUGMENTED).pipeline


def test_other_transforms_and_wrappers_are_refused(root):
    assert DATASETS.get('wsld_plugin.ResidentDataset') is ResidentDataset
    with pytest.raises(ConfigError, match=r'has .*RandAugment, .*ColorJitter, which'):
        ResidentDataset(PackedDataset(str(root), pipeline=AUGMENTED))
    with pytest.raises(ConfigError, match='RepeatDataset has no pipeline'):
        ResidentDataset(RepeatDataset(PackedDataset(str(root), pipeline=PLAIN), times=2))


def test_samples_are_mmpretrains_with_label_and_key(data):
    for sample in data.__getitems__([SampleKey(5, 2, index) for index in range(4)])['data_samples']:
        key = sample.sample_key
        assert type(sample) is DataSample
        assert sample.gt_label.tolist() == [key.index]
        assert 'gt_score' not in sample
        assert sample.metainfo == dict(sample_key=key, sample_idx=key.index)
        assert 'gt_score' in sample.clone().set_gt_score([0.5, 0.5])
        assert sample.to('cpu').sample_key == key
        assert 'gt_label: tensor' in repr(copy.deepcopy(sample))


@pytest.mark.parametrize('more', [dict(to_onehot=True, num_classes=10),
                                  dict(num_classes=10, batch_augments=dict(augments=dict(type='Mixup', alpha=0.8)))])
def test_a_data_preprocessor_computes_the_same_as_from_a_usual_batch(root, more):
    preprocessor = MODELS.build(dict(_scope_='mmpretrain', **copy.deepcopy(RGB), **more))
    found = []
    for on_device in (True, False):
        torch.manual_seed(0)
        np.random.seed(0)  # noqa: NPY002  (Mixup draws from it)
        batch = next(iter(loader(root, on_device=on_device, pipeline=PLAIN)))
        found.append(preprocessor(batch, True))
    assert (found[0]['inputs'] == found[1]['inputs']).all()
    for ours, theirs in zip(found[0]['data_samples'], found[1]['data_samples'], strict=True):
        for name, value in theirs.items():
            assert (ours.get(name) == value).all()


HEIGHT, WIDTH = 7, 9
CIFAR = [mm.RandomCrop(crop_size=(HEIGHT, WIDTH), padding=4), mmcv.transforms.RandomFlip(prob=0.5), mm.PackInputs()]
TO_PIL, FROM_PIL, PACK = mm.NumpyToPIL(), mm.PILToNumpy(), mm.PackInputs()
ALL = ['horizontal', 'vertical', 'diagonal']


def wrapped(name='RandomRotation', **settings):
    return TRANSFORMS.build(dict(type=f'torchvision/{name}', **settings))


ROTATED = [*CIFAR[:2], TO_PIL, wrapped(degrees=15), FROM_PIL, PACK]


def images(n=6, channels=3):
    """(n, channels, HEIGHT, WIDTH) uint8."""
    found = arrays(n, 16)[0].reshape(-1)[:n * channels * HEIGHT * WIDTH]
    return torch.from_numpy(found.reshape(n, channels, HEIGHT, WIDTH).copy())


def augmented(transforms, source, n=64, **key):
    """Images of samples 0 … n - 1 of an epoch, and their random numbers."""
    augment = ResidentAugment(transforms, source.shape[2:])
    numbers = augment.draw(key_states([(0, key.get('epoch', 0), index, 0) for index in range(n)]))
    return augment(source[torch.arange(n) % len(source)], torch.from_numpy(numbers)), numbers


class FixedCrop(mm.RandomCrop):
    def rand_crop_params(self, img):
        height, width = img.shape[:2]
        return *self.place, min(self.crop_size[0], height), min(self.crop_size[1], width)


class FixedFlip(mmcv.transforms.RandomFlip):
    def _choose_direction(self):
        return {(0, 0): None, (0, 1): 'horizontal', (1, 0): 'vertical', (1, 1): 'diagonal'}[self.place]


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('steps', [
    [dict(crop_size=5)],
    [dict(crop_size=(3, 8), padding=(1, 2))],
    [dict(crop_size=40, padding=1)],
    [dict(prob=0.9, direction=ALL)],
    [dict(prob=[0.25, 0.25, 0.25], direction=ALL), dict(crop_size=6, padding=(1, 2, 3, 4)), dict(prob=0.5)],
    [dict(crop_size=6, padding=2), dict(prob=0.5, direction='vertical'), dict(crop_size=5), dict(prob=1.0)],
    []])
def test_crops_and_flips_equal_those_of_the_libraries_with_the_same_numbers(steps, channels):
    def transforms(crop, flip):
        return [(crop if 'crop_size' in step else flip)(**step) for step in steps]
    source = images(channels=channels)
    found, numbers = augmented([*transforms(mm.RandomCrop, mmcv.transforms.RandomFlip), PACK], source)
    for index, (image, drawn) in enumerate(zip(found, numbers.tolist(), strict=True)):
        results = dict(img=source[index % len(source)].permute(1, 2, 0).numpy().squeeze())
        for place, transform in enumerate(transforms(FixedCrop, FixedFlip)):
            transform.place = tuple(drawn[2 * place:2 * place + 2])
            results = transform(results)
        expected = PACK(results)['inputs']
        assert image.shape == expected.shape
        assert (image == expected).all()


@pytest.mark.parametrize('size', [(32, 32), (7, 9), (1, 6)])
@pytest.mark.parametrize('angle', [0, 90, -90, 180, 15, -14.3, 40, 359.9])
def test_a_rotation_is_pillows_except_where_two_pixels_are_equally_near(size, angle):
    image = arrays(1, 32)[0][0][:size[0], :size[1]].copy()
    augment = ResidentAugment([wrapped(degrees=(angle, angle))], size)
    found = augment(torch.from_numpy(image).permute(2, 0, 1)[None], torch.zeros((1, 1), dtype=torch.int64))[0]
    expected = np.array(Image.fromarray(image).rotate(angle))
    same = (found.permute(1, 2, 0).numpy() == expected).all(-1)
    assert found.dtype == torch.uint8
    # columns and rows of the source; 1/1000 of a pixel from the border between two, either may be taken
    turn = np.radians(angle)
    y, x = np.mgrid[:size[0], :size[1]] - (np.array(size).reshape(2, 1, 1) - 1) / 2
    places = [np.cos(turn) * x - np.sin(turn) * y + (size[1] - 1) / 2,
              np.sin(turn) * x + np.cos(turn) * y + (size[0] - 1) / 2]
    near = np.any([abs(place - np.floor(place) - 0.5) < 1e-3 for place in places], axis=0)
    assert (same | near).all()


@pytest.mark.parametrize(('degrees', 'low', 'high'), [(15, -15, 15), ((20, 300), 20, 300)])
def test_the_angle_is_uniform_in_its_bounds(degrees, low, high):
    bits = augmented([wrapped(degrees=degrees)], torch.zeros((1, 1, 1, 1), dtype=torch.uint8), n=20000)[1][:, 0]
    assert kstest(bits, 'uniform', args=(0, 2**32)).pvalue > 1e-3
    for share, angle in ((0, low), (0.5, (low + high) / 2), (1 - 2**-32, high)):
        source = images(1)
        turned = ResidentAugment([wrapped(degrees=degrees)], source.shape[2:])(
            source, torch.tensor([[int(share * 2**32)]]))
        fixed = ResidentAugment([wrapped(degrees=(angle, angle))], source.shape[2:])(source, torch.tensor([[0]]))
        assert (turned == fixed).all()


def test_the_distribution_is_that_of_the_transforms_themselves():
    size = 4
    image = np.arange(1, size * size + 1, dtype=np.uint8).reshape(size, size, 1)
    transforms = [mm.RandomCrop(crop_size=size, padding=1), mmcv.transforms.RandomFlip(prob=0.25, direction=ALL)]
    np.random.seed(0)  # noqa: NPY002  (what the transforms draw from)
    theirs = [transforms[1](transforms[0](dict(img=image)))['img'].tobytes() for _ in range(4000)]
    found, _ = augmented(transforms, torch.from_numpy(image).permute(2, 0, 1)[None], n=4000)
    ours = [each.numpy().tobytes() for each in found]
    kinds = sorted({*theirs, *ours})
    assert len(kinds) == 9 * 4
    counts = [[where.count(kind) for kind in kinds] for where in (theirs, ours)]
    assert chi2_contingency(counts).pvalue > 1e-3


def test_the_numbers_of_the_steps_of_a_pipeline_are_independent_and_reach_all_values():
    transforms = [*ROTATED[:2], mm.RandomCrop(crop_size=(HEIGHT, WIDTH), padding=4), wrapped(degrees=15)]
    numbers = augmented(transforms, images(1), n=20000)[1]
    assert not numbers[:, 2].any()  # no vertical flips
    columns = [numbers[:, 0], numbers[:, 1], numbers[:, 3], numbers[:, 4], numbers[:, 5], numbers[:, 6] * 9 >> 32]
    limits = (9, 9, 2, 9, 9, 9)
    assert [sorted(set(column)) for column in columns] == [list(range(limit)) for limit in limits]
    for first in range(6):
        for second in range(first):
            table = np.zeros((limits[first], limits[second]))
            np.add.at(table, (columns[first], columns[second]), 1)
            assert chi2_contingency(table).pvalue > 1e-3


def test_pixels_do_not_depend_on_the_batch_and_no_generator_is_used():
    source = images()
    before, state = source.clone(), (np.random.get_state()[1].tobytes(), torch.get_rng_state())  # noqa: NPY002
    found, numbers = augmented(ROTATED, source)
    augment = ResidentAugment(ROTATED, source.shape[2:])
    for part in (slice(0, 1), slice(5, 18), slice(63, None)):
        assert (augment(source[torch.arange(64)[part] % 6], torch.from_numpy(numbers[part])) == found[part]).all()
    assert np.random.get_state()[1].tobytes() == state[0]  # noqa: NPY002
    assert (torch.get_rng_state() == state[1]).all()
    assert (source == before).all()


class OwnCrop(mm.RandomCrop):
    pass


@pytest.mark.parametrize(('transform', 'message'), [
    (torchvision.transforms.RandomRotation(15), r'has torchvision\..*RandomRotation, which .* Supported are '),
    (wrapped('RandomCrop', size=4), r'has torchvision\..*RandomCrop, which'),
    (mm.ColorJitter(brightness=0.4), r'has .*ColorJitter, which'),
    (OwnCrop(crop_size=4), r'has .*OwnCrop, which'),
    (mm.RandomCrop(crop_size=20, pad_if_needed=True), r'RandomCrop\(pad_if_needed=True\), expected False'),
    (mm.RandomCrop(crop_size=7, padding=2, pad_val=1), r'RandomCrop\(pad_val=1\), expected 0'),
    (wrapped(degrees=15, interpolation=InterpolationMode.BILINEAR), r"interpolation='bilinear'\).* 'nearest'"),
    (wrapped(degrees=15, expand=True), r'RandomRotation\(expand=True\), expected False'),
    (wrapped(degrees=15, center=(1, 2)), r'RandomRotation\(center=\(1, 2\)\), expected None'),
    (wrapped(degrees=15, fill=7), r'RandomRotation\(fill=7\), expected 0'),
    (wrapped(degrees=(3, 2)), r'degrees=\[3.0, 2.0\]\), expected the smallest and the largest'),
    (wrapped(degrees=(0, math.inf)), r'degrees=\[0.0, inf\]\), expected the smallest'),
    (mm.NumpyToPIL(to_rgb=True), r'NumpyToPIL\(to_rgb=True\), expected False'),
    (mm.PILToNumpy(dtype='float32'), r"PILToNumpy\(dtype='float32'\), expected None"),
    (mm.PackInputs(algorithm_keys=('mask',)), r"algorithm_keys=\('mask',\)"),
    (mm.PackInputs(input_key='image'), "input_key='image'")])
def test_what_is_not_computed_on_the_device_is_refused_by_name(transform, message):
    with pytest.raises(ConfigError, match=message):
        ResidentAugment([CIFAR[0], transform], (HEIGHT, WIDTH))


def test_names_of_a_config_are_checked_with_their_scope():
    check_supported(['RandomCrop', 'mmpretrain.RandomFlip', 'mmcv.RandomFlip', 'mmpretrain.PackInputs', 'NumpyToPIL',
                     'torchvision/RandomRotation', 'mmpretrain.torchvision/RandomRotation', 'mmpretrain.PILToNumpy'])
    with pytest.raises(ConfigError, match='has ColorJitter, torchvision/ColorJitter, which'):
        check_supported(['ColorJitter', 'RandomFlip', 'torchvision/ColorJitter'])
    for name, near in (('RandomFlp', 'RandomFlip'), ('RandomRotation', 'torchvision/RandomRotation')):
        with pytest.raises(ConfigError, match=f"Did you mean '{near}'"):
            check_supported([name])


class Samples:
    """A data set of given images and labels."""

    def __init__(self, images, labels):
        self.samples = [dict(img=image, gt_label=label) for image, label in zip(images, labels, strict=True)]

    def __len__(self):
        return len(self.samples)

    def get_data_info(self, index):
        return self.samples[index]


@pytest.mark.parametrize('order', ['rgb', 'bgr'])
def test_a_pack_is_copied_in_its_channel_order(root, order):
    dataset = PackedDataset(str(root), num_samples=20, channel_order=order)
    found, labels = load_resident(dataset, CPU)
    assert found.is_contiguous()
    assert (found.dtype, labels.dtype) == (torch.uint8, torch.int64)
    assert (found.numpy() == arrays()[0][:20, ..., ::1 if order == 'rgb' else -1].transpose(0, 3, 1, 2)).all()
    assert labels.tolist() == list(dataset.get_gt_labels())


def test_many_images_come_in_order_with_or_without_a_channel_axis():
    pixels = np.arange(2500, dtype=np.uint16).view(np.uint8).reshape(2500, 1, 2)
    for each in (pixels, pixels[..., None]):
        found, labels = load_resident(Samples(each, range(2500)), CPU)
        assert (found[:, 0].numpy() == pixels).all()
        assert labels.tolist() == list(range(2500))


def test_what_does_not_fit_is_refused_with_both_sizes_before_it_is_read(monkeypatch):
    data = Samples(np.zeros((80, 1, 1, 2), dtype=np.uint8), range(80))  # with its label, an image needs 10 bytes
    monkeypatch.setattr(resident, 'free_memory', lambda device: 1000)
    assert len(load_resident(data, CPU)[0]) == 80
    monkeypatch.setattr(Samples, '__len__', lambda self: 9 * 2**30 // 10)
    monkeypatch.setattr(resident, 'free_memory', lambda device: 10 * 2**30)
    with pytest.raises(ConfigError, match=r'images of 1×1×2 bytes need 9 GiB on cpu, which has 10 GiB.*num_samples'):
        load_resident(data, CPU)


def test_free_memory_is_part_of_the_machines():
    assert 0 < resident.free_memory('cpu') <= os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')


@pytest.mark.parametrize(('images', 'labels', 'message'), [
    (np.zeros((2, 4, 4, 3)), [0, 1], r"'img' of Samples is float64 of shape \(4, 4, 3\), expected .*Pack"),
    ([np.zeros(shape, np.uint8) for shape in ((4, 4, 3), (4, 5, 3))], [0, 1], r'image 1 .*4, 5, 3\), but .*4, 4, 3'),
    ([None, None], [0, 1], "'img' of Samples is NoneType"),
    (np.zeros((2, 4, 4, 3), np.uint8), [0, [1, 2]], r'gt_label of sample 1 is \[1, 2\], expected one class index'),
    (np.zeros((2, 4, 4, 3), np.uint8), [0, None], 'gt_label of sample 1 is None')])
def test_data_without_labelled_images_of_one_size_are_refused(images, labels, message):
    with pytest.raises(ConfigError, match=message):
        load_resident(Samples(images, labels), CPU)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_a_gpu_gives_the_same_pixels_and_has_less_memory_afterwards(root):
    before = resident.free_memory('cuda')
    taken = torch.empty(2**28, dtype=torch.uint8, device='cuda')
    assert resident.free_memory('cuda') <= before - len(taken)
    dataset = PackedDataset(str(root), pipeline=CROP_AND_FLIP)
    batches = [ResidentDataset(dataset, device=device).__getitems__([SampleKey(0, 0, index) for index in range(24)])
               for device in ('cpu', 'cuda')]
    assert batches[1]['inputs'].device.type == 'cuda'
    assert (batches[1]['inputs'].cpu() == batches[0]['inputs']).all()


def test_docstring_examples_hold():
    assert doctest.testmod(resident) == (0, 1)
