import hashlib
import pickle

import numpy as np
import pytest
from packs import make_pack
from PIL import Image
from torchvision.datasets import CIFAR100

from wsld_plugin.datasets import Digits, PackedDataset
from wsld_plugin.datasets.pack_sources import cifar, config_datasets, image_folder
from wsld_plugin.datasets.packing import pack
from wsld_plugin.errors import ConfigError

COLOURS = dict(blue=(0, 0, 255), red=(255, 0, 0))


def draw(path, colour, size=(20, 12), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', size, colour).save(path, **options)


@pytest.fixture
def folder(tmp_path):
    for split, n in (('train', 3), ('val', 1)):
        for name, colour in COLOURS.items():
            for index in range(n):
                draw(tmp_path / 'images' / split / name / f'{index}.png', colour)
    return tmp_path / 'images'


def samples(source):
    images, labels = zip(*source.samples, strict=True)
    return np.stack(images), list(labels)


def test_class_folders_become_labels_in_rgb(folder):
    found = image_folder(folder, 8)
    assert list(found) == ['train', 'val']
    images, labels = samples(found['train'])
    assert images.shape == (6, 8, 8, 3)
    assert labels == [0, 0, 0, 1, 1, 1]
    assert (images[0] == COLOURS['blue']).all()
    assert (images[3] == COLOURS['red']).all()


def test_a_folder_of_classes_alone_is_one_split(folder):
    assert list(image_folder(folder / 'val', 8)) == ['train']
    assert list(image_folder(folder / 'val', 8, split='test')) == ['test']


def test_the_centre_is_kept_and_the_short_side_scaled(tmp_path):
    image = np.zeros((8, 24, 3), dtype=np.uint8)
    image[:, 8:16] = 200
    (tmp_path / 'a').mkdir()
    Image.fromarray(image).save(tmp_path / 'a/1.png')
    images, _ = samples(image_folder(tmp_path, 8)['train'])
    assert (images == 200).all()
    halved, _ = samples(image_folder(tmp_path, 4)['train'])
    assert halved[0, :, 1:3].min() > 190


def test_an_image_turned_by_its_exif_is_turned(tmp_path):
    image = Image.new('RGB', (16, 16), (255, 255, 255))
    image.paste((0, 0, 0), (0, 0, 8, 16))  # the left half is black
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned right
    (tmp_path / 'a').mkdir()
    image.save(tmp_path / 'a/1.png', exif=exif)
    (turned, ), _ = samples(image_folder(tmp_path, 16)['train'])
    assert turned[:8].max() < 20
    assert turned[8:].min() > 235


def test_an_image_that_cannot_be_decoded_is_named(folder, tmp_path):
    path = folder / 'train/red/1.png'
    whole = path.read_bytes()
    for broken in (whole[:len(whole) // 2], b'', b'text'):
        path.write_bytes(broken)
        with pytest.raises(ConfigError, match=r'train/red/1\.png cannot be decoded'):
            pack(tmp_path / 'pack', image_folder(folder, 8))
    Image.fromarray(np.full((9, 9), 60000, dtype=np.uint16)).save(path)
    with pytest.raises(ConfigError, match=r'train/red/1\.png .*more than 8 bits'):
        pack(tmp_path / 'pack', image_folder(folder, 8))
    assert not (tmp_path / 'pack').exists()


def test_grey_and_palette_images_get_three_channels(tmp_path):
    draw(tmp_path / 'a/1.png', (90, 90, 90))
    for name, mode in (('2', 'L'), ('3', 'P'), ('4', 'RGBA')):
        image = Image.open(tmp_path / 'a/1.png').convert(mode, palette=Image.Palette.ADAPTIVE)
        image.save(tmp_path / f'a/{name}.png')
    images, _ = samples(image_folder(tmp_path, 8)['train'])
    assert images.shape == (4, 8, 8, 3)
    assert (images == 90).all()


@pytest.mark.parametrize('where', ['nowhere', '.', 'empty'])
def test_a_folder_without_images_is_refused(tmp_path, where):
    (tmp_path / 'empty/cat').mkdir(parents=True)
    with pytest.raises(ConfigError, match=r'not a folder|no class folders'):
        pack(tmp_path / 'pack', image_folder(tmp_path / where, 8))


def config(tmp_path, **loaders):
    lines = [f'{split}_dataloader = dict(dataset={dataset!r})' for split, dataset in loaders.items()]
    path = tmp_path / 'config.py'
    path.write_text('\n'.join(["default_scope = 'mmpretrain'", "custom_imports = dict(imports=['wsld_plugin'])",
                               *lines]))
    return str(path)


def test_a_config_packs_its_own_arrays_in_three_equal_channels(tmp_path):
    digits = dict(type='wsld_plugin.Digits', split='train', num_samples=30, pipeline=[dict(type='PackInputs')])
    images, labels = samples(config_datasets(config(tmp_path, train=digits), ['train'])['train'])
    expected = Digits(num_samples=30)
    assert (images == np.stack([np.repeat(expected.get_data_info(i)['img'], 3, -1) for i in range(30)])).all()
    assert labels == list(expected.get_gt_labels())


def test_a_config_packs_files_as_a_folder_does(folder, tmp_path):
    pipeline = [dict(type='LoadImageFromFile'), dict(type='RandomFlip', prob=0.5), dict(type='PackInputs')]
    files = dict(type='CustomDataset', data_root=str(folder), data_prefix='train', pipeline=pipeline)
    repeated = dict(type='RepeatDataset', times=2, dataset=files)
    images, labels = samples(config_datasets(config(tmp_path, train=repeated), ['train'], size=8)['train'])
    expected, expected_labels = samples(image_folder(folder, 8)['train'])
    assert (images == np.concatenate([expected, expected])).all()
    assert labels == expected_labels * 2


def test_packing_a_pack_again_changes_nothing_in_either_order(tmp_path):
    root = make_pack(tmp_path / 'pack')
    for order in ('rgb', 'bgr'):
        again = dict(type='wsld_plugin.PackedDataset', data_root=str(root), channel_order=order)
        pack(tmp_path / order, config_datasets(config(tmp_path, train=again), ['train']))
        assert (tmp_path / order / 'train/images.npy').read_bytes() == (root / 'train/images.npy').read_bytes()


@pytest.mark.parametrize(('split', 'message'), [('trian', "Did you mean 'train'"), ('test', 'no test_dataloader')])
def test_a_loader_that_is_not_there_is_refused(tmp_path, split, message):
    with pytest.raises(ConfigError, match=message):
        config_datasets(config(tmp_path, train=dict(type='wsld_plugin.Digits')), [split])


@pytest.fixture
def official(tmp_path, monkeypatch):
    """CIFAR-100's files as its authors write them, of a few random images; their MD5 take the place of the real."""
    base = tmp_path / 'official' / CIFAR100.base_folder
    base.mkdir(parents=True)
    random, names = np.random.default_rng(0), [f'class {label}' for label in range(100)]
    md5 = {}
    parts = {split: dict(data=random.integers(0, 256, (n, 3072), dtype=np.uint8), fine_labels=list(range(n)))
             for split, n in (('train', 6), ('test', 3))}
    for name, content in {**parts, 'meta': dict(fine_label_names=names)}.items():
        (base / name).write_bytes(pickle.dumps(content))
        md5[name] = hashlib.md5((base / name).read_bytes()).hexdigest()
    monkeypatch.setattr(CIFAR100, 'train_list', [['train', md5['train']]])
    monkeypatch.setattr(CIFAR100, 'test_list', [['test', md5['test']]])
    monkeypatch.setattr(CIFAR100, 'meta', dict(filename='meta', key='fine_label_names', md5=md5['meta']))
    return base.parent, parts


def test_cifar100_is_packed_in_the_official_order(official, tmp_path):
    downloaded, parts = official
    pack(tmp_path / 'cifar100', cifar('cifar100', downloaded))
    for split, content in parts.items():
        data = PackedDataset(str(tmp_path / 'cifar100'), split=split)
        planes = content['data'].reshape(-1, 3, 32, 32)  # red, green, blue, row by row
        assert (np.stack([data.get_data_info(i)['img'] for i in range(len(data))])
                == np.moveaxis(planes, 1, -1)).all()
        assert list(data.get_gt_labels()) == content['fine_labels']
        assert len(data.metainfo['classes']) == 100



def test_cifar_that_cannot_be_downloaded_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(CIFAR100, 'url', 'http://localhost:9/cifar-100-python.tar.gz')
    with pytest.raises(ConfigError, match=r'could not be downloaded .*Put cifar-100-python\.tar\.gz'):
        cifar('cifar100', tmp_path)
