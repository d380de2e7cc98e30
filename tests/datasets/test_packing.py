import hashlib
import json
import multiprocessing
import os
import pickle
import resource
import time

import numpy as np
import pytest
from mmengine.config import Config
from packs import CLASSES, arrays, make_pack, source
from PIL import Image
from torchvision.datasets import CIFAR100

from wsld_plugin.datasets import Digits, PackedDataset
from wsld_plugin.datasets.packing import (
    Source,
    adopt,
    cifar,
    config_datasets,
    image_folder,
    open_splits,
    pack,
    verify,
)
from wsld_plugin.errors import ConfigError

FORK = multiprocessing.get_context('fork')  # a process of its own, without importing everything again
COLOURS = dict(blue=(0, 0, 255), red=(255, 0, 0))


def bytes_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob('*')) if path.is_file()}


def test_packing_twice_gives_the_same_bytes(tmp_path):
    once, twice = (bytes_of(make_pack(tmp_path / name, train=24, val=7)) for name in ('once', 'twice'))
    assert once == twice
    assert set(once) == {f'{split}/{name}' for split in ('train', 'val')
                         for name in ('images.npy', 'labels.npy', 'meta.json')}


def test_a_pack_is_the_arrays_and_their_sha256(tmp_path):
    (whole, ) = verify(make_pack(tmp_path / 'pack'))
    images, labels = arrays(24)
    assert (np.load(whole.folder / 'images.npy') == images).all()
    assert (np.load(whole.folder / 'labels.npy') == labels).all()
    assert whole.meta['sha256'] == {name: hashlib.sha256((whole.folder / name).read_bytes()).hexdigest()
                                 for name in ('images.npy', 'labels.npy')}


def test_what_is_packed_is_not_overwritten_and_a_split_may_be_added(tmp_path):
    root = make_pack(tmp_path / 'pack')
    before = bytes_of(root)
    with pytest.raises(ConfigError, match='pack/train exists and is not overwritten: remove it first'):
        make_pack(root, train=5, val=5)
    assert bytes_of(root) == before
    make_pack(root, val=5)
    assert [split.folder.name for split in verify(root)] == ['train', 'val']
    assert bytes_of(root / 'train') == bytes_of(make_pack(tmp_path / 'other') / 'train')


def _fails_late(n=24):
    yield from zip(*arrays(n), strict=True)
    raise KeyboardInterrupt


@pytest.mark.parametrize(('bad', 'error', 'message'), [
    (Source(CLASSES, 25, zip(*arrays(24), strict=True)), ConfigError, 'expected 25 samples, found 24'),
    (Source(CLASSES, 2, [(arrays(1)[0][0], 0), (arrays(1, size=9)[0][0], 0)]), ConfigError, 'images of one size'),
    (Source(CLASSES, 1, [(np.zeros((2, 2, 3)), 0)]), ConfigError, 'sample 0 is float64'),
    (Source(CLASSES, 10**12, zip(*arrays(24), strict=True)), ConfigError, 'MB free, but val needs 192,000'),
    (Source(CLASSES[::-1], 24, zip(*arrays(24), strict=True)), ConfigError, 'the same in another order'),
    (Source(CLASSES[1:], 24, zip(*arrays(24), strict=True)), ConfigError, 'class 0'),
    (Source(CLASSES, 24, _fails_late()), KeyboardInterrupt, None),
])
def test_a_packing_that_fails_leaves_nothing(tmp_path, bad, error, message):
    with pytest.raises(error, match=message):
        pack(tmp_path / 'pack', dict(train=source(), val=bad))
    assert list(tmp_path.iterdir()) == []


def _pack_and_wait(out, waiting):
    def samples():
        for index, sample in enumerate(zip(*arrays(24), strict=True)):
            if index == 20:
                waiting.set()
                time.sleep(60)
            yield sample
    pack(out, dict(train=Source(CLASSES, 24, samples())))


def test_a_killed_packing_leaves_nothing_complete_and_the_next_one_succeeds(tmp_path):
    out, waiting = tmp_path / 'pack', FORK.Event()
    packer = FORK.Process(target=_pack_and_wait, args=(out, waiting))
    packer.start()
    assert waiting.wait(60)
    with pytest.raises(ConfigError, match='another process is packing there'):
        make_pack(out)
    packer.kill()
    packer.join()
    assert os.listdir(out) == ['.partial']
    for read in (open_splits, verify):
        with pytest.raises(ConfigError, match='incomplete'):
            read(out)
    assert bytes_of(make_pack(out)) == bytes_of(make_pack(tmp_path / 'other'))


def _pack_on_a_full_disk(out, errors):
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
    try:
        make_pack(out, val=24)
    except ConfigError as error:
        errors.put(str(error))


def test_a_full_disk_is_reported_and_the_other_splits_are_kept(tmp_path):
    root, errors = make_pack(tmp_path / 'pack'), FORK.SimpleQueue()
    before = bytes_of(root)
    packer = FORK.Process(target=_pack_on_a_full_disk, args=(root, errors))
    packer.start()
    packer.join()
    assert not errors.empty()
    assert errors.get().startswith(f'{root}: no space for the packed data set (File too large)')
    assert bytes_of(root) == before
    assert os.listdir(root) == ['train']


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


def test_the_exif_orientation_is_applied(tmp_path):
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


def config(**loaders):
    return Config({f'{split}_dataloader': dict(dataset=dataset) for split, dataset in loaders.items()})


def test_a_config_packs_its_own_arrays_in_three_equal_channels():
    digits = dict(type='wsld_plugin.Digits', split='train', num_samples=30, pipeline=[dict(type='PackInputs')])
    images, labels = samples(config_datasets(config(train=digits), ['train'])['train'])
    expected = Digits(num_samples=30)
    assert (images == np.stack([np.repeat(expected.get_data_info(i)['img'], 3, -1) for i in range(30)])).all()
    assert labels == list(expected.get_gt_labels())


def test_a_config_packs_files_as_a_folder_does(folder):
    pipeline = [dict(type='LoadImageFromFile'), dict(type='RandomFlip', prob=0.5), dict(type='PackInputs')]
    files = dict(type='CustomDataset', data_root=str(folder), data_prefix='train', pipeline=pipeline)
    repeated = dict(type='RepeatDataset', times=2, dataset=files)
    images, labels = samples(config_datasets(config(train=repeated), ['train'], size=8)['train'])
    expected, expected_labels = samples(image_folder(folder, 8)['train'])
    assert (images == np.concatenate([expected, expected])).all()
    assert labels == expected_labels * 2


def test_packing_a_pack_again_changes_nothing_in_either_order(tmp_path):
    root = make_pack(tmp_path / 'pack')
    for order in ('rgb', 'bgr'):
        again = dict(type='wsld_plugin.PackedDataset', data_root=str(root), channel_order=order)
        pack(tmp_path / order, config_datasets(config(train=again), ['train']))
        assert (tmp_path / order / 'train/images.npy').read_bytes() == (root / 'train/images.npy').read_bytes()


@pytest.mark.parametrize(('split', 'message'), [('trian', "Did you mean 'train'"), ('test', 'no test_dataloader')])
def test_a_loader_that_does_not_exist_is_refused(split, message):
    with pytest.raises(ConfigError, match=message):
        config_datasets(config(train=dict(type='wsld_plugin.Digits')), [split])


@pytest.fixture
def official(tmp_path, monkeypatch):
    """CIFAR-100's files as its authors write them, with a few random images; their MD5 replace the real ones."""
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


def plain(folder, n=24):
    folder.mkdir()
    for name, array in zip(('images', 'labels'), arrays(n), strict=True):
        np.save(folder / f'{name}.npy', array)
    (folder.parent / 'classes.json').write_text(json.dumps(CLASSES))
    return folder, folder.parent / 'classes.json'


def test_adopted_arrays_stay_where_they_are_and_equal_packed_ones(tmp_path):
    folder, classes = plain(tmp_path / 'train')
    before = {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.iterdir()}
    adopt(folder, classes)
    assert {name: ((folder / name).stat().st_ino, (folder / name).stat().st_mtime_ns) for name in before} == before
    assert bytes_of(folder) == bytes_of(make_pack(tmp_path / 'pack') / 'train')
    with pytest.raises(ConfigError, match=r'has a meta\.json already'):
        adopt(folder, classes)


@pytest.mark.parametrize(('names', 'message'), [
    ('[]', 'must be a list of names'), ('{"a": 1}', 'must be a list of names'), ('[1]', 'must be a list of names'),
    ('[', 'cannot be read'), ('["cat"]', r'labels\.npy holds the labels 0 … 9, but there are 1 classes')])
def test_classes_that_do_not_fit_are_not_adopted(tmp_path, names, message):
    folder, classes = plain(tmp_path / 'train')
    classes.write_text(names)
    with pytest.raises(ConfigError, match=message) as refusal:
        adopt(folder, classes)
    assert 'Remove' not in str(refusal.value)  # the arrays may be the only ones
    assert not (folder / 'meta.json').exists()


def test_arrays_of_another_kind_are_not_adopted(tmp_path):
    folder, classes = plain(tmp_path / 'train')
    np.save(folder / 'images.npy', arrays(24)[0][..., :1].copy())
    with pytest.raises(ConfigError, match=r'expected \(N, H, W, 3\)'):
        adopt(folder, classes)
    np.save(folder / 'images.npy', arrays(23)[0])
    with pytest.raises(ConfigError, match=r'labels\.npy.*expected int64 of shape \(23,\).*Nothing was changed'):
        adopt(folder, classes)


@pytest.mark.parametrize('name', ['images.npy', 'labels.npy'])
def test_one_flipped_bit_is_found_when_it_is_read_and_by_verify(tmp_path, name):
    root = make_pack(tmp_path / 'pack', train=24, val=24)
    path = root / 'val' / name
    content = bytearray(path.read_bytes())
    content[-8] ^= 1
    path.write_bytes(content)
    if name == 'images.npy':
        data = PackedDataset(str(root), split='val')
        with pytest.raises(ConfigError, match=r'val/images\.npy is damaged: rows 0 to 23 .*pack it again'):
            data.get_data_info(3)
        with pytest.raises(ConfigError, match=r'val/images\.npy: damaged'):
            verify(root)
    else:
        with pytest.raises(ConfigError, match=r'val/labels\.npy is damaged: its SHA-256'):
            open_splits(root)
