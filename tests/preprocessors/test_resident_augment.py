import mmcv.transforms
import mmpretrain.datasets.transforms as mm
import numpy as np
import pytest
import torch
from mmpretrain.registry import TRANSFORMS
from packs import arrays
from scipy.stats import chi2_contingency

from wsld_plugin.datasets.resident_random import key_states, random_bits
from wsld_plugin.preprocessors.resident_augment import ResidentAugment

HEIGHT, WIDTH = 7, 9
CIFAR = [mm.RandomCrop(crop_size=(HEIGHT, WIDTH), padding=4), mmcv.transforms.RandomFlip(prob=0.5), mm.PackInputs()]


def rotated(turned=False, **settings):
    """A rotation as it is in a pipeline."""
    rotation = TRANSFORMS.build(dict(type='torchvision/RandomRotation', **settings))
    return [mm.NumpyToPIL(to_rgb=turned), rotation, mm.PILToNumpy(to_bgr=turned)]


ROTATED = [*CIFAR[:2], *rotated(degrees=15), CIFAR[2]]


def images(n=6, channels=3):
    """(n, channels, HEIGHT, WIDTH) uint8, each pixel another number as far as they reach."""
    found = arrays(n, 16)[0].reshape(-1)[:n * channels * HEIGHT * WIDTH]
    return torch.from_numpy(found.reshape(n, channels, HEIGHT, WIDTH).copy())


def augmented(transforms, source, n=64, **key):
    """Images of samples 0 … n - 1 of an epoch, and the numbers that were drawn for them."""
    augment = ResidentAugment(transforms, source.shape[1:], 'cpu')
    states = key_states([(key.get('seed', 0), key.get('epoch', 0), index, 0) for index in range(n)])
    numbers = np.concatenate([np.arange(n)[:, None] % len(source), augment.draw(states)], axis=1)
    return augment(source, torch.from_numpy(numbers)), numbers


def crop_and_flip(image, top, left, vertical, horizontal, padding=4):
    """One image (H, W, C), pixel by pixel."""
    out = np.zeros_like(image)
    for y in range(HEIGHT):
        for x in range(WIDTH):
            row = top + (HEIGHT - 1 - y if vertical else y) - padding
            column = left + (WIDTH - 1 - x if horizontal else x) - padding
            if 0 <= row < HEIGHT and 0 <= column < WIDTH:
                out[y, x] = image[row, column]
    return out


def test_crop_and_flip_equal_a_loop_over_pixels():
    source = images()
    found, numbers = augmented(CIFAR, source)
    assert found.dtype == torch.uint8
    for image, (index, *drawn) in zip(found, numbers, strict=True):
        expected = crop_and_flip(source[index].permute(1, 2, 0).numpy(), *drawn)
        assert (image.permute(1, 2, 0).numpy() == expected).all()


class FixedCrop(mm.RandomCrop):
    def rand_crop_params(self, img):
        self.seen = img.shape[:2]
        return *self.place, min(self.crop_size[0], self.seen[0]), min(self.crop_size[1], self.seen[1])


class FixedFlip(mmcv.transforms.RandomFlip):
    def _choose_direction(self):
        return self.chosen


DIRECTIONS = {(0, 0): None, (0, 1): 'horizontal', (1, 0): 'vertical', (1, 1): 'diagonal'}
ALL = ['horizontal', 'vertical', 'diagonal']


def transforms_of(step, fixed=False):
    """Of the libraries; with ``fixed`` those whose random numbers can be set."""
    if 'degrees' in step:
        return rotated(**step)
    kinds = (FixedCrop, FixedFlip) if fixed else (mm.RandomCrop, mmcv.transforms.RandomFlip)
    return [kinds['crop_size' not in step](**step)]


def expected_image(steps, image, drawn, state):
    """What the libraries make of one image (H, W, C), given what was drawn for it."""
    results = dict(img=image[..., 0].copy() if image.shape[2] == 1 else image.copy())
    drawn, place = list(drawn), 0
    for step in steps:
        transforms = transforms_of(step, fixed=True)
        if 'degrees' in step:
            low, high = transforms[1].t.degrees
            angle = low + (high - low) * int(random_bits(state, f'{place + 1}.RandomRotation')[0]) / 2**32
            transforms[1].t.get_params = lambda degrees, angle=angle: angle
            del drawn[:6]
        else:
            transforms[0].place = pair = (drawn.pop(0), drawn.pop(0))
            transforms[0].chosen = DIRECTIONS.get(pair)
        for transform in transforms:
            results = transform(results)
        place += len(transforms)
    assert not drawn
    return mm.PackInputs()(results)['inputs']


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('steps', [
    [dict(crop_size=5)],
    [dict(crop_size=(3, 8), padding=(1, 2))],
    [dict(crop_size=6, padding=(1, 2, 3, 4), pad_val=7)],
    [dict(crop_size=8, padding=2, pad_val=(1, 2, 3))],
    [dict(crop_size=12, pad_if_needed=True, pad_val=9)],
    [dict(crop_size=40, padding=1)],
    [dict(prob=0.9, direction=ALL)],
    [dict(prob=[0.25, 0.25, 0.25], direction=ALL), dict(crop_size=6, padding=3), dict(prob=0.5)],
    [dict(crop_size=6, padding=2), dict(prob=0.5, direction='vertical'), dict(crop_size=5), dict(prob=1.0)],
    *([dict(degrees=(angle, angle))] for angle in (0, 90, 180, -90, 15, -15, 359.9)),
    [dict(degrees=180, fill=(4, 5, 6))],
    [dict(degrees=180, fill=7, turned=True)],
    [dict(crop_size=(HEIGHT, WIDTH), padding=4), dict(prob=0.5), dict(degrees=15)],
    [dict(degrees=40), dict(crop_size=6, padding=(1, 2, 3, 4)), dict(prob=0.9, direction=ALL)],
    [dict(prob=0.5), dict(degrees=(20, 300), fill=(4, 5, 6)), dict(prob=0.5, direction='vertical'),
     dict(crop_size=(10, 5), padding=3, pad_val=(4, 5, 6)), dict(degrees=100, fill=(4, 5, 6))],
    [dict(crop_size=(4, 1)), dict(degrees=90), dict(crop_size=4, padding=2), dict(prob=0.5)],
    [dict(crop_size=(1, 4)), dict(degrees=90), dict(prob=0.5, direction='vertical'), dict(crop_size=4, padding=2)],
    []])
def test_it_equals_the_transforms_of_the_libraries_given_what_was_drawn(steps, channels):
    if channels == 1:
        one = dict(pad_val=4, fill=4, turned=False)
        steps = [{key: one.get(key, value) for key, value in step.items()} for step in steps]
    source = images(channels=channels)
    transforms = [transform for step in steps for transform in transforms_of(step)]
    found, numbers = augmented([*transforms, mm.PackInputs()], source)
    for image, (index, *drawn), place in zip(found, numbers, range(64), strict=True):
        expected = expected_image(steps, source[index].permute(1, 2, 0).numpy(), drawn,
                                  key_states([(0, 0, place, 0)]))
        assert image.shape == expected.shape
        assert (image == expected).all()


def test_pixels_do_not_depend_on_the_rest_of_the_batch():
    source = images()
    augment = ResidentAugment(ROTATED, source.shape[1:], 'cpu')
    found, numbers = augmented(ROTATED, source)
    for part in (slice(0, 1), slice(5, 18), slice(63, None)):
        assert (augment(source, torch.from_numpy(numbers[part])) == found[part]).all()
    assert (augmented(ROTATED, source, n=10)[1] == numbers[:10]).all()


def test_another_epoch_has_other_pixels():
    here, there = (augmented(ROTATED, images(), epoch=epoch)[0] for epoch in (0, 1))
    assert (here != there).flatten(1).any(1).sum() > 60


def test_offsets_stay_in_the_padded_image_and_reach_all_of_it():
    _, numbers = augmented(CIFAR, images(), n=3000)
    for column, choices in zip(numbers.T[1:], (9, 9, 1, 2), strict=True):
        assert sorted(set(column)) == list(range(choices))


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


def test_crop_and_flip_of_a_sample_are_independent():
    numbers = augmented(CIFAR, images(), n=20000)[1]
    top, left, flip = numbers[:, 1], numbers[:, 2], numbers[:, 4]
    for first, second, sizes in ((top, left, (9, 9)), (top, flip, (9, 2)), (left, flip, (9, 2))):
        table = np.zeros(sizes)
        np.add.at(table, (first, second), 1)
        assert chi2_contingency(table).pvalue > 1e-3


def test_two_crops_of_a_pipeline_draw_apart():
    twice = [mm.RandomCrop(crop_size=(HEIGHT, WIDTH), padding=4)] * 2
    numbers = augmented(twice, images(), n=2000)[1]
    assert 0.05 < (numbers[:, 1] == numbers[:, 3]).mean() < 0.2


@pytest.mark.parametrize(('prob', 'flipped'), [(0.0, 0), (1.0, 64)])
def test_certain_flips_are_certain(prob, flipped):
    numbers = augmented([mmcv.transforms.RandomFlip(prob=prob)], images())[1]
    assert numbers[:, 2].sum() == flipped


def test_no_generator_is_touched_and_no_image_changed():
    source = images()
    before = source.clone()
    state = np.random.get_state()[1].tobytes(), torch.get_rng_state()  # noqa: NPY002
    augmented(ROTATED, source)
    assert np.random.get_state()[1].tobytes() == state[0]  # noqa: NPY002
    assert (torch.get_rng_state() == state[1]).all()
    assert (source == before).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_a_gpu_gives_the_same_pixels():
    source = images()
    expected, numbers = augmented(ROTATED, source)
    augment = ResidentAugment(ROTATED, source.shape[1:], 'cuda')
    assert (augment(source.cuda(), torch.from_numpy(numbers).cuda()).cpu() == expected).all()
