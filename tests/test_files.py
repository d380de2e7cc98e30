import os

import pytest
from matplotlib import image, pyplot
from mmengine.fileio import get_file_backend

from wsld_plugin import files
from wsld_plugin.errors import ConfigError
from wsld_plugin.files import check_writable, save_figure


def test_the_file_holds_what_was_written_and_nothing_else_is_left(tmp_path):
    path = tmp_path / 'new/folder/file'
    files.write_atomically(path, b'one')
    files.write_atomically(path, b'two')
    assert path.read_bytes() == b'two'
    assert os.listdir(path.parent) == ['file']


def test_a_failed_write_leaves_the_old_content(tmp_path, monkeypatch):
    path = tmp_path / 'file'
    files.write_atomically(path, b'old')

    def full(descriptor):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(files.os, 'fsync', full)
    with pytest.raises(OSError, match='No space left'):
        files.write_atomically(path, b'new')
    assert path.read_bytes() == b'old'
    assert os.listdir(tmp_path) == ['file']


def test_permissions_are_those_of_an_ordinary_file(tmp_path):
    (tmp_path / 'ordinary').write_bytes(b'')
    files.write_atomically(tmp_path / 'atomic', b'')
    assert (tmp_path / 'atomic').stat().st_mode == (tmp_path / 'ordinary').stat().st_mode


def test_mmengine_finds_the_backend(tmp_path):
    backend = get_file_backend(backend_args=dict(backend=files.ATOMIC_BACKEND))
    backend.put(b'bytes', tmp_path / 'a')
    backend.put_text('text', tmp_path / 'b')
    assert (backend.get(tmp_path / 'a'), backend.get_text(tmp_path / 'b')) == (b'bytes', 'text')


def test_a_figure_has_its_inches_in_pixels_and_is_closed(tmp_path):
    save_figure(pyplot.figure(figsize=(3, 2)), tmp_path / 'new/folder/picture.png', dpi=50)
    assert image.imread(tmp_path / 'new/folder/picture.png').shape == (100, 150, 4)
    assert not pyplot.get_fignums()


def test_a_picture_that_cannot_be_written_leaves_nothing_behind(tmp_path):
    (tmp_path / 'picture.png').mkdir()
    with pytest.raises(OSError, match=r'picture\.png'):
        save_figure(pyplot.figure(), tmp_path / 'picture.png')
    assert [path.name for path in tmp_path.iterdir()] == ['picture.png']
    assert not pyplot.get_fignums()


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
    with pytest.raises(ConfigError, match=r'cannot write to .*another folder as --out'):
        check_writable(f'{locked}/a/b')
