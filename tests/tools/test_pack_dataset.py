"""The command line, on folders of images and arrays."""
import json
import runpy

import numpy as np
import pytest
from packs import CLASSES, arrays
from PIL import Image
from processes import ROOT, tool


@pytest.fixture
def images(tmp_path):
    for split, n in (('train', 3), ('val', 2)):
        for name in ('cat', 'dog'):
            (tmp_path / 'images' / split / name).mkdir(parents=True)
            for index in range(n):
                Image.new('RGB', (20, 12), (index, 50, 90)).save(tmp_path / 'images' / split / name / f'{index}.png')
    return tmp_path / 'images'


@pytest.fixture
def main(monkeypatch, capsys):
    """The tool in this process: what it told."""
    monkeypatch.syspath_prepend(ROOT / 'tools')
    namespace = runpy.run_path(str(ROOT / 'tools/pack_dataset.py'))

    def call(*arguments, error=None):
        if error is None:
            namespace['main']([str(argument) for argument in arguments])
        else:
            with pytest.raises(SystemExit) as exit_:
                namespace['main']([str(argument) for argument in arguments])
            assert exit_.value.code == error
        return capsys.readouterr()
    return call


def test_a_folder_is_packed_verified_and_not_overwritten(images, tmp_path, main):
    told = tool('pack_dataset.py', 'folder', images, tmp_path / 'pack', '--size', 8,
                PYTHONIOENCODING='ascii').stdout.splitlines()  # a terminal that has no ×
    told = [line.replace('?', '×') for line in told if line.startswith(str(tmp_path))]  # the forks greet there too
    assert told == [f'{tmp_path / "pack" / split}: {n} images of 8 × 8, 2 classes'
                    for split, n in (('train', 6), ('val', 4))]
    assert main('verify', tmp_path / 'pack').out.splitlines() == told
    again = main('folder', images, tmp_path / 'pack', '--size', 8, error=1)
    assert again.out == ''
    assert again.err == f'ConfigError: {tmp_path / "pack/train"} exists and is not overwritten: remove it first.\n'


def test_arrays_are_adopted(tmp_path, main):
    for name, array in zip(('images', 'labels'), arrays(24), strict=True):
        np.save(tmp_path / f'{name}.npy', array)
    (tmp_path / 'classes.json').write_text(json.dumps(CLASSES))
    told = main('adopt', tmp_path, '--classes', tmp_path / 'classes.json')
    assert told.out == f'{tmp_path}: 24 images of 8 × 8, 10 classes\n'


@pytest.mark.parametrize(('arguments', 'message'), [
    (['folder', 'a', 'b'], '--size'), (['folder', 'a', 'b', '--size', '0'], 'a positive number of pixels'),
    (['cifar1000', 'b'], 'cifar100')])
def test_wrong_arguments_are_refused(main, arguments, message):
    assert message in main(*arguments, error=2).err


def test_a_damaged_pack_is_named(images, tmp_path, main):
    main('folder', images / 'train', tmp_path / 'pack', '--size', 4)
    labels = tmp_path / 'pack/train/labels.npy'
    labels.write_bytes(labels.read_bytes()[:-8] + bytes(8))
    assert f'ConfigError: {labels} is damaged' in main('verify', tmp_path / 'pack', error=1).err
