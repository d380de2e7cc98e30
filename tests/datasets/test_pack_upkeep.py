import json

import numpy as np
import pytest
from packs import CLASSES, arrays, make_pack

from wsld_plugin.datasets.pack_upkeep import adopt, opened, verify
from wsld_plugin.errors import ConfigError


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


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
    assert contents(folder) == contents(make_pack(tmp_path / 'pack') / 'train')
    with pytest.raises(ConfigError, match=r'has its meta\.json already'):
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
def test_one_flipped_bit_is_found_by_verify(tmp_path, name):
    root = make_pack(tmp_path / 'pack', train=24, val=24)
    path = root / 'val' / name
    content = bytearray(path.read_bytes())
    content[-8] ^= 1
    path.write_bytes(content)
    opened(root)
    with pytest.raises(ConfigError, match=f'val/{name}: damaged'):
        verify(root)
