import hashlib
import multiprocessing
import os
import resource
import time

import numpy as np
import pytest
from packs import CLASSES, arrays, make_pack, source

from wsld_plugin.datasets.pack_upkeep import opened, verify
from wsld_plugin.datasets.packing import Source, pack
from wsld_plugin.errors import ConfigError

FORK = multiprocessing.get_context('fork')  # a process of its own, without importing everything again


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
    assert whole.meta.sha256 == {name: hashlib.sha256((whole.folder / name).read_bytes()).hexdigest()
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
    (Source(CLASSES, 25, zip(*arrays(24), strict=True)), ConfigError, 'expected 25 samples, there were 24'),
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


def _pack_and_wait(out, told):
    def samples():
        for index, sample in enumerate(zip(*arrays(24), strict=True)):
            if index == 20:
                told.set()
                time.sleep(60)
            yield sample
    pack(out, dict(train=Source(CLASSES, 24, samples())))


def test_a_killed_packing_leaves_nothing_that_looks_whole_and_the_next_one_succeeds(tmp_path):
    out, told = tmp_path / 'pack', FORK.Event()
    packer = FORK.Process(target=_pack_and_wait, args=(out, told))
    packer.start()
    assert told.wait(60)
    with pytest.raises(ConfigError, match='another process is packing there'):
        make_pack(out)
    packer.kill()
    packer.join()
    assert os.listdir(out) == ['.partial']
    for read in (opened, verify):
        with pytest.raises(ConfigError, match='half-written'):
            read(out)
    assert bytes_of(make_pack(out)) == bytes_of(make_pack(tmp_path / 'other'))


def _pack_on_a_full_disk(out, told):
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
    try:
        make_pack(out, val=24)
    except ConfigError as error:
        told.put(str(error))


def test_a_full_disk_says_so_and_loses_nothing(tmp_path):
    root, told = make_pack(tmp_path / 'pack'), FORK.SimpleQueue()
    before = bytes_of(root)
    packer = FORK.Process(target=_pack_on_a_full_disk, args=(root, told))
    packer.start()
    packer.join()
    assert not told.empty()
    assert told.get().startswith(f'{root}: no room for the packed data set (File too large)')
    assert bytes_of(root) == before
    assert os.listdir(root) == ['train']
