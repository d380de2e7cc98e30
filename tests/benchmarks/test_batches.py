import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from wsld_plugin.benchmarks.batches import collate_of, image_size, random_batch
from wsld_plugin.errors import ConfigError


def config(*transforms, **dataset):
    return Config(dict(train_dataloader=dict(
        dataset=dict(dict(type='wsld_plugin.Digits', pipeline=[*transforms, dict(type='PackInputs')]), **dataset))))


@pytest.mark.parametrize(('transforms', 'side'), [
    ([dict(type='RandomCrop', crop_size=32, padding=4)], 32),
    ([dict(type='RandomResizedCrop', scale=224, backend='pillow')], 224),
    ([dict(type='ResizeEdge', scale=256, edge='short'), dict(type='CenterCrop', crop_size=224)], 224),
    ([dict(type='torchvision/RandomResizedCrop', size=176, scale=(.08, 1.0))], 176),
    ([dict(type='Resize', scale=(48, 48)), dict(type='RandomFlip', prob=.5)], 48),
])
def test_the_size_is_what_the_last_resizing_transform_makes(transforms, side):
    assert image_size(config(*transforms)) == side


def test_the_size_is_found_inside_wrappers():
    inner = config(dict(type='RandomCrop', crop_size=40)).train_dataloader.dataset
    for wrapper in (dict(type='RepeatDataset', times=2, dataset=inner), dict(type='ConcatDataset', datasets=[inner])):
        assert image_size(Config(dict(train_dataloader=dict(dataset=wrapper)))) == 40


def test_without_such_a_transform_the_size_is_that_of_the_data():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        assert image_size(config(dict(type='RandomFlip', prob=.5))) == 8


def test_data_that_cannot_be_read_are_refused_with_the_option_that_helps(tmp_path):
    cfg = config(type='wsld_plugin.PackedDataset', data_root=str(tmp_path / 'nowhere'))
    with DefaultScope.overwrite_default_scope('mmpretrain'), pytest.raises(ConfigError, match=r'Give --image-size'):
        image_size(cfg)


@pytest.mark.parametrize(('loader', 'kind'), [
    ({}, list), (dict(collate_fn=dict(type='pseudo_collate')), list),
    (dict(collate_fn=dict(type='default_collate')), torch.Tensor)])
def test_a_batch_has_the_form_that_the_loader_gives_it(loader, kind):
    batch = random_batch(6, (3, 5, 4), 10, collate_of(Config(dict(train_dataloader=loader))))
    assert isinstance(batch['inputs'], kind)
    images = torch.stack(list(batch['inputs']))
    assert (images.shape, images.dtype) == ((6, 3, 5, 4), torch.uint8)
    assert [sample.gt_label.shape for sample in batch['data_samples']] == [(1,)] * 6


def test_images_are_noise_over_the_whole_range_and_labels_are_all_classes():
    batch = random_batch(400, (1, 8, 8), 10, list)
    images = torch.stack([sample['inputs'] for sample in batch])
    assert (images.min(), images.max()) == (0, 255)
    assert {sample['data_samples'].gt_label.item() for sample in batch} == set(range(10))


def test_equal_seeds_give_equal_batches():
    first, again, other = (random_batch(2, (1, 8, 8), 10, list, seed) for seed in (3, 3, 4))
    assert torch.equal(first[1]['inputs'], again[1]['inputs'])
    assert not torch.equal(first[1]['inputs'], other[1]['inputs'])
