import pytest
import torch
from mmengine.dataset import RepeatDataset
from mmengine.registry import DATASETS, DefaultScope
from mmengine.runner import Runner
from mmpretrain.datasets.transforms import RandomFlip
from packs import AUGMENTED, digests, make_pack

from wsld_plugin.datasets import Digits, PackedDataset, ResidentDataset, SampleKey
from wsld_plugin.errors import ConfigError

CROP_AND_FLIP = [*AUGMENTED[:2], AUGMENTED[-1]]
PLAIN = AUGMENTED[-1:]


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    return make_pack(tmp_path_factory.mktemp('data') / 'pack')


@pytest.fixture
def data(root):
    return ResidentDataset(PackedDataset(str(root), pipeline=CROP_AND_FLIP), device='cpu')


def loader(root, *, resident=True, pipeline=CROP_AND_FLIP, batch=4, epoch=0, seed=0, **more):
    """Built as a Runner builds it."""
    kind = dict(type='wsld_plugin.ResidentDataset', device='cpu') if resident else \
        dict(type='wsld_plugin.KeyedDataset')
    collate = 'wsld_plugin.whole_batch' if resident else 'default_collate'
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


def test_without_augmentation_the_batches_are_those_of_the_usual_loader(root):
    pairs = zip(loader(root, pipeline=PLAIN, batch=5), loader(root, resident=False, pipeline=PLAIN, batch=5),
                strict=True)
    for resident, usual in pairs:
        assert (resident['inputs'] == usual['inputs']).all()
        for ours, theirs in zip(resident['data_samples'], usual['data_samples'], strict=True):
            assert ours.gt_label == theirs.gt_label
            assert ours.sample_key == theirs.sample_key
            assert ours.sample_idx == theirs.sample_idx


@pytest.mark.parametrize('epoch', [0, 3])
def test_the_order_is_that_of_the_usual_loader(root, epoch):
    assert keys(loader(root, epoch=epoch)) == keys(loader(root, epoch=epoch, resident=False))


def test_pixels_are_a_function_of_the_key(root, data):
    expected = digests(loader(root, epoch=2))
    assert len(expected) == 24
    torch.rand(3)
    assert digests(loader(root, epoch=2, batch=7)) == expected
    for key in [SampleKey(0, 2, index) for index in (5, 23)]:
        sample = data[key]
        assert digests([dict(inputs=sample['inputs'][None], data_samples=[sample['data_samples']])]) == \
            {tuple(key): expected[tuple(key)]}


@pytest.mark.parametrize('other', [dict(epoch=1), dict(seed=1)])
def test_another_epoch_or_seed_has_other_pixels(root, other):
    here, there = ({key[2]: digest for key, digest in digests(loader(root, **each)).items()} for each in ({}, other))
    assert sum(here[index] != there[index] for index in range(24)) > 18  # 1 in 25 · 2 is the same by chance


def test_another_view_of_an_image_has_other_pixels(data):
    first, second = (torch.stack([data[SampleKey(0, 0, index, repeat)]['inputs'] for index in range(24)])
                     for repeat in (0, 1))
    assert (first != second).any(dim=(1, 2, 3)).sum() > 18


def test_reading_a_batch_twice_gives_the_same(root):
    batch = next(iter(loader(root)))
    assert (batch['inputs'] == batch['inputs']).all()


def test_digits_are_resident_too():
    digits = Digits(num_samples=12, pipeline=PLAIN)
    data = ResidentDataset(digits, device='cpu')
    for index in (0, 11):
        sample = data[SampleKey(0, 0, index)]
        assert (sample['inputs'] == digits[index]['inputs']).all()
        assert int(sample['data_samples'].gt_label) == digits.get_data_info(index)['gt_label']


def test_short_epochs_are_taken_from_the_front(root):
    batches = list(loader(root, num_batch_per_epoch=2))
    assert {key.index for batch in keys(batches) for key in batch} == set(range(8))


def test_a_plain_index_is_refused(data):
    with pytest.raises(TypeError, match=r"expected a SampleKey.*type='wsld_plugin\.KeyedSampler'"):
        data[0]


@pytest.mark.parametrize('index', [-1, 24])
def test_an_index_beyond_the_data_is_refused(data, index):
    with pytest.raises(IndexError, match=r'0 … 23'):
        data[SampleKey(0, 0, index)]


def test_everything_else_is_the_wrapped_data_sets(data):
    assert len(data) == len(data.dataset) == 24
    assert data.metainfo == data.dataset.metainfo
    assert data.CLASSES == data.dataset.CLASSES
    assert data.get_cat_ids(3) == data.dataset.get_cat_ids(3)
    with pytest.raises(AttributeError, match='no_such'):
        _ = data.no_such


def test_a_new_pipeline_takes_effect_or_is_refused(data, root):
    flipped = PackedDataset(str(root), pipeline=[dict(type='mmpretrain.RandomFlip', prob=1.0), *PLAIN])
    plain = flipped.dataset = PackedDataset(str(root), pipeline=PLAIN)
    data.pipeline = flipped.pipeline
    assert (data[SampleKey(0, 0, 3)]['inputs'] == plain[3]['inputs'].flip(2)).all()
    assert type(data.dataset.pipeline.transforms[0]) is RandomFlip
    with pytest.raises(ConfigError, match=r'has .*RandAugment, .*ColorJitter, which'):
        data.pipeline = PackedDataset(str(root), pipeline=AUGMENTED).pipeline


def test_other_transforms_and_wrappers_are_refused(root):
    with pytest.raises(ConfigError, match=r'has .*RandAugment, .*ColorJitter, which'):
        ResidentDataset(PackedDataset(str(root), pipeline=AUGMENTED))
    with pytest.raises(ConfigError, match='RepeatDataset has no pipeline'):
        ResidentDataset(RepeatDataset(PackedDataset(str(root), pipeline=PLAIN), times=2))


def test_it_is_registered():
    assert DATASETS.get('wsld_plugin.ResidentDataset') is ResidentDataset


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_a_gpu_gives_the_same_pixels(root):
    dataset = PackedDataset(str(root), pipeline=CROP_AND_FLIP)
    batches = [ResidentDataset(dataset, device=device).__getitems__([SampleKey(0, 0, index) for index in range(24)])
               for device in ('cpu', 'cuda')]
    assert batches[1]['inputs'].device.type == 'cuda'
    assert (batches[1]['inputs'].cpu() == batches[0]['inputs']).all()
