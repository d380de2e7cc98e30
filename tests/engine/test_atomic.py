import os

import pytest
from mmengine.fileio import get_file_backend

from wsld_plugin.engine import atomic


def test_the_file_holds_what_was_written_and_nothing_else_is_left(tmp_path):
    path = tmp_path / 'new/folder/file'
    atomic.write_atomically(path, b'one')
    atomic.write_atomically(path, b'two')
    assert path.read_bytes() == b'two'
    assert os.listdir(path.parent) == ['file']


def test_a_failed_write_leaves_the_old_content(tmp_path, monkeypatch):
    path = tmp_path / 'file'
    atomic.write_atomically(path, b'old')

    def full(descriptor):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(atomic.os, 'fsync', full)
    with pytest.raises(OSError, match='No space left'):
        atomic.write_atomically(path, b'new')
    assert path.read_bytes() == b'old'
    assert os.listdir(tmp_path) == ['file']


def test_permissions_are_those_of_an_ordinary_file(tmp_path):
    (tmp_path / 'ordinary').write_bytes(b'')
    atomic.write_atomically(tmp_path / 'atomic', b'')
    assert (tmp_path / 'atomic').stat().st_mode == (tmp_path / 'ordinary').stat().st_mode


def test_mmengine_finds_the_backend(tmp_path):
    backend = get_file_backend(backend_args=dict(backend=atomic.ATOMIC_BACKEND))
    backend.put(b'bytes', tmp_path / 'a')
    backend.put_text('text', tmp_path / 'b')
    assert (backend.get(tmp_path / 'a'), backend.get_text(tmp_path / 'b')) == (b'bytes', 'text')
