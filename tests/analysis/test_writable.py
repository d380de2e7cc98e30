import os

import pytest

from wsld_plugin.analysis.writable import check_writable
from wsld_plugin.errors import ConfigError


def test_a_folder_that_can_be_written_to_is_left_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path, tmp_path / 'a' / 'b', 'c', '.'):
        check_writable(folder)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / 'file').write_text('')
    for folder in (tmp_path / 'file', tmp_path / 'file' / 'a' / 'b'):
        with pytest.raises(ConfigError, match=r'file is a file, but a folder is expected.*--out'):
            check_writable(folder)


def test_a_folder_that_nothing_can_be_written_to_is_refused(tmp_path):
    locked = '/proc'  # root may write to every folder of a disk
    if os.geteuid():
        locked = tmp_path / 'locked'
        locked.mkdir(mode=0o500)
    elif not os.path.isdir(locked):
        pytest.skip('root, and no /proc')
    with pytest.raises(ConfigError, match=r'nothing can be written to .*another folder as --out'):
        check_writable(f'{locked}/a/b')
