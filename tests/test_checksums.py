import zlib
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from wsld_plugin.checksums import CheckedRows, file_checksums, file_hash
from wsld_plugin.errors import ConfigError

WIDE = np.random.default_rng(0).integers(0, 256, (5, 40, 1000), dtype=np.uint8)  # two rows are more than a block
NARROW = np.random.default_rng(0).integers(0, 256, (3000, 100), dtype=np.uint8)
RECORDS = np.zeros(9000, np.dtype([('a', '<f2', 3), ('b', '<f4')]))


@pytest.mark.parametrize(('rows', 'step'), [(WIDE, 1), (NARROW, 655), (RECORDS, 6553)])
def test_a_block_is_a_crc_32_of_at_most_64_kib_of_rows(rows, step, tmp_path):
    (tmp_path / 'file').write_bytes(b'some header' + rows.tobytes())
    whole = file_checksums(tmp_path / 'file', rows)
    assert whole['sha256'] == file_hash(tmp_path / 'file') == sha256(b'some header' + rows.tobytes()).hexdigest()
    found = whole['blocks']
    expected = [zlib.crc32(rows[start:start + step].tobytes()) for start in range(0, len(rows), step)]
    assert found == dict(rows=step, crc32=''.join(f'{crc:08x}' for crc in expected))
    checked = CheckedRows(rows, found, Path('file'), 'Copy it again.')
    places = np.array([len(rows) - 1, 0, 0])
    assert (checked[places] == rows[places]).all()
    assert (checked[2] == rows[2]).all()


def blocks_of(rows, folder):
    (folder / 'file').write_bytes(rows.tobytes())
    return file_checksums(folder / 'file', rows)['blocks']


def test_only_rows_that_are_used_are_compared_and_each_block_once(tmp_path):
    rows = NARROW.copy()
    checked = CheckedRows(rows, blocks_of(rows, tmp_path), Path('some/file'), 'Copy it again.')
    assert (checked[0] == rows[0]).all()
    rows[100] += 1  # in the first block, which has been compared
    rows[1310] += 1
    assert (checked[np.array([100, 654, 655])] == rows[[100, 654, 655]]).all()
    with pytest.raises(ConfigError, match=r'some/file is damaged: rows 1310 to 1964 .*written\. Copy it again\.'):
        _ = checked[1964]


def test_without_checksums_nothing_is_compared_and_damaged_ones_are_named(tmp_path):
    assert (CheckedRows(NARROW, None, Path('file'), '')[2999] == NARROW[2999]).all()
    good = blocks_of(NARROW, tmp_path)
    for bad in (dict(), dict(good, rows=500), dict(good, rows=0), dict(good, crc32=good['crc32'][:-8]),
                dict(good, crc32='no hex'), dict(good, crc32=3)):
        with pytest.raises(ConfigError, match=r'file: the checksums beside it are damaged\. Copy it again\.'):
            CheckedRows(NARROW, bad, Path('file'), 'Copy it again.')
