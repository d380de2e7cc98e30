import pytest

from wsld_plugin.engine.resume import newest_checkpoint, refuse_to_overwrite
from wsld_plugin.errors import ConfigError


def files(folder, *names):
    for name in names:
        (folder / name).touch()


def test_the_pointer_names_the_newest(tmp_path):
    files(tmp_path, 'epoch_1.pth', 'epoch_2.pth')
    (tmp_path / 'last_checkpoint').write_text('/elsewhere/before/the/move/epoch_1.pth')
    assert newest_checkpoint(tmp_path).name == 'epoch_1.pth'


@pytest.mark.parametrize('pointer', [None, '', 'epoch_7.pth'])
def test_without_a_usable_pointer_the_highest_number_counts(tmp_path, pointer):
    files(tmp_path, 'epoch_2.pth', 'epoch_10.pth', 'best_accuracy_top1_epoch_11.pth', 'student_last.pth')
    if pointer is not None:
        (tmp_path / 'last_checkpoint').write_text(pointer)
    assert newest_checkpoint(tmp_path).name == 'epoch_10.pth'


def test_an_empty_or_missing_folder_has_none(tmp_path):
    assert newest_checkpoint(tmp_path) is None
    assert newest_checkpoint(tmp_path / 'missing') is None


def test_a_new_run_does_not_overwrite_a_trained_one(tmp_path):
    refuse_to_overwrite(tmp_path)
    files(tmp_path, 'iter_5.pth')
    with pytest.raises(ConfigError, match=r'iter_5\.pth.*--resume.*--work-dir'):
        refuse_to_overwrite(tmp_path)


def test_an_exported_student_alone_is_not_overwritten_either(tmp_path):
    files(tmp_path, 'student_best.pth')
    with pytest.raises(ConfigError, match=r'student_best\.pth.*Start a new one with --work-dir'):
        refuse_to_overwrite(tmp_path)
