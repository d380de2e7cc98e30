import os
import zipfile

import pytest
import torch

from wsld_plugin.errors import CheckpointError, ConfigError
from wsld_plugin.hooks.run_folder import checkpoints, newest_whole, occupied, refuse_to_overwrite


def files(folder, *names):
    for number, name in enumerate(names):
        (folder / name).touch()
        os.utime(folder / name, ns=(number, number))


def flip_a_bit(path):
    with zipfile.ZipFile(path) as archive:
        entry = max(archive.infolist(), key=lambda each: each.file_size)
    content = bytearray(path.read_bytes())
    content[entry.header_offset + 200] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(('pointer', 'newest'), [
    (b'/elsewhere/before/the/move/epoch_2.pth', 'epoch_2.pth'),
    *((unusable, 'iter_25.pth') for unusable in (None, b'', b'epoch_7.pth', b'\xff\xfe'))])
def test_the_pointer_names_the_newest_and_without_a_usable_one_the_one_written_last_counts(tmp_path, pointer, newest):
    assert checkpoints(tmp_path) == checkpoints(tmp_path / 'missing') == []
    files(tmp_path, 'epoch_2.pth', 'epoch_10.pth', 'iter_25.pth', 'best_accuracy_top1_epoch_11.pth',
          'student_last.pth')
    if pointer is not None:
        (tmp_path / 'last_checkpoint').write_bytes(pointer)
    found = [path.name for path in checkpoints(tmp_path)]
    assert found == sorted(['iter_25.pth', 'epoch_10.pth', 'epoch_2.pth'], key=lambda name: name != newest)


def test_a_damaged_checkpoint_is_skipped_for_the_one_before_and_named(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr('wsld_plugin.hooks.run_folder.print_log', lambda text, logger: said.append(text))
    assert newest_whole(tmp_path) is None
    for epoch in (1, 2):
        torch.save(dict(state_dict={}, optimizer={}, message_hub={}, meta={}, data=torch.zeros(1000)),
                   tmp_path / f'epoch_{epoch}.pth')
    flip_a_bit(tmp_path / 'epoch_2.pth')
    assert newest_whole(tmp_path)[0].name == 'epoch_1.pth'
    line, = said
    assert 'epoch_2.pth' in line
    assert 'checksum' in line
    flip_a_bit(tmp_path / 'epoch_1.pth')
    with pytest.raises(CheckpointError, match=r'epoch_1\.pth'):
        newest_whole(tmp_path)


@pytest.mark.parametrize(('name', 'message'), [('iter_5.pth', r'iter_5\.pth.*--resume.*--work-dir'),
                                               ('student_best.pth', r'best\.pth.*Start a new one with --work-dir')])
def test_a_new_run_does_not_overwrite_a_trained_one_or_an_exported_student(tmp_path, name, message):
    refuse_to_overwrite(tmp_path)
    files(tmp_path, name)
    with pytest.raises(ConfigError, match=message):
        refuse_to_overwrite(tmp_path)
    with pytest.raises(ConfigError, match=message), occupied(tmp_path, resume=False):
        pass


def test_a_folder_in_use_is_refused_with_its_owner_and_free_afterwards(tmp_path):
    owner = rf'in use by another training \(pid {os.getpid()}, host .*, start 2'
    with occupied(tmp_path, resume=False), pytest.raises(ConfigError, match=owner), occupied(tmp_path, resume=True):
        pass
    with occupied(tmp_path, resume=False):
        pass


def test_what_a_killed_process_left_is_removed_or_set_aside(tmp_path):
    (tmp_path / 'interrupted_1').mkdir()
    files(tmp_path, 'best_accuracy_top1_epoch_20.pth', 'student_best.pth', '.epoch_20.pth.a1b2c3d4.tmp', '.mine.tmp')
    with occupied(tmp_path, resume=True):
        assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {'.mine.tmp', '.training'}
        assert {path.name for path in (tmp_path / 'interrupted_2').iterdir()} == {
            'best_accuracy_top1_epoch_20.pth', 'student_best.pth'}
    files(tmp_path, 'epoch_1.pth', 'best_accuracy_top1_epoch_1.pth')
    with occupied(tmp_path, resume=True):
        assert len(list(tmp_path.glob('*.pth'))) == 2
