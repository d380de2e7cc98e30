"""Files that are damaged at random are read as they were, or reported by name: never a traceback of a library, and
never other numbers."""

import numpy as np
import pytest
import torch
from caches import random_cache
from factories import digits_classifier, run_cfg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmcv.transforms import LoadImageFromFile
from mmengine.runner import Runner
from packs import make_pack
from PIL import Image

from wsld_plugin.compat.safe_checkpoints import safe_load
from wsld_plugin.datasets.keyed import SampleKey
from wsld_plugin.datasets.packed import PackedDataset
from wsld_plugin.engine.splits import check_splits
from wsld_plugin.errors import CheckpointError, ConfigError, RunError
from wsld_plugin.soft_labels.store import SoftLabels

EXAMPLES = [60, pytest.param(2000, marks=pytest.mark.slow)]
REPORTED = (CheckpointError, ConfigError, RunError, FileNotFoundError)


@st.composite
def damage(draw):
    """A function of bytes: some are changed, left out, repeated or put in, or the end is cut off."""
    how = draw(st.sampled_from(['change', 'cut', 'leave out', 'repeat', 'insert', 'empty']))
    at, length = draw(st.floats(0, 1)), draw(st.integers(1, 40))
    given_bytes = draw(st.binary(min_size=1, max_size=8))

    def damaged(data):
        place = min(int(at * len(data)), len(data) - 1)
        head, part, rest = data[:place], data[place:place + length], data[place + length:]
        changed = bytes(a ^ b for a, b in zip(part, given_bytes * 40, strict=False))
        return {'change': head + changed + rest, 'cut': head, 'leave out': head + rest, 'empty': b'',
                'repeat': head + part + part + rest, 'insert': head + given_bytes + part + rest}[how]
    return damaged


def check(path, read, examples, equal):
    """``read()`` of ``path``, damaged, equals ``read()`` of the whole file or names it; return the two counts."""
    whole, expected, counts = path.read_bytes(), read(), dict(equal=0, named=0)

    @settings(max_examples=examples, deadline=None, derandomize=True, database=None,
              suppress_health_check=list(HealthCheck))
    @given(damage())
    def holds(damaged):
        path.unlink()  # a reader may have mapped the old file
        path.write_bytes(damaged(whole))
        said = None
        try:
            found = read()
        except REPORTED as error:
            said = str(error)
        if said is None:
            assert equal(found, expected)
        else:
            assert path.name in said or path.parent.name in said, said
        counts['equal' if said is None else 'named'] += 1
    holds()
    path.write_bytes(whole)
    return counts


@pytest.mark.parametrize('examples', EXAMPLES)
def test_a_checkpoint(tmp_path, examples):
    runner = Runner.from_cfg(run_cfg(tmp_path, digits_classifier(), epochs=1))
    runner.train()

    def equal(found, expected):
        return found.keys() == expected.keys() and all(
            torch.equal(found['state_dict'][name], value) for name, value in expected['state_dict'].items())
    counts = check(tmp_path / 'epoch_1.pth', lambda: safe_load(tmp_path / 'epoch_1.pth'), examples, equal)
    assert counts['named'] > examples // 2


@pytest.mark.parametrize('name', ['train/images.npy', 'train/labels.npy', 'train/meta.json'])
@pytest.mark.parametrize('examples', EXAMPLES)
def test_a_pack(tmp_path, examples, name):
    root = make_pack(tmp_path / 'pack')

    def read():
        data = PackedDataset(str(root), split='train')
        return data.metainfo['classes'], [data.get_data_info(index) for index in range(len(data))]

    def equal(found, expected):
        return found[0] == expected[0] and all(
            np.array_equal(a['img'], b['img']) and a['gt_label'] == b['gt_label']
            for a, b in zip(found[1], expected[1], strict=True))
    assert check(root / name, read, examples, equal)['named'] > examples // 2


@pytest.mark.parametrize('name', ['records.bin', 'header.json'])
@pytest.mark.parametrize('examples', EXAMPLES)
def test_a_cache(tmp_path, examples, name):
    random_cache(tmp_path / 'cache')

    def read():
        labels = SoftLabels(tmp_path / 'cache')
        return labels.header, labels.rows([SampleKey(0, view, index) for view in range(3) for index in range(5)])
    assert check(tmp_path / 'cache' / name, read, examples, lambda found, expected:
                 found[0] == expected[0] and found[1].tobytes() == expected[1].tobytes())['named'] > examples // 2


@pytest.mark.parametrize('suffix', ['png', 'jpg'])
@pytest.mark.parametrize('examples', EXAMPLES)
def test_an_image(tmp_path, examples, suffix):
    """Of a damaged JPEG, OpenCV decodes what it can: no format without checksums can tell."""
    path = tmp_path / f'a.{suffix}'
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(path)
    counts = check(path, lambda: LoadImageFromFile()(dict(img_path=str(path)))['img'], examples,
                   lambda found, expected: found.dtype == np.uint8 and found.ndim == 3)
    assert counts['named']


@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')  # mmengine leaves folders open
@pytest.mark.parametrize('examples', EXAMPLES)
def test_an_annotation_file(tmp_path, examples):
    for index in range(4):
        Image.new('RGB', (8, 8)).save(tmp_path / f'{index}.png')
    path = tmp_path / 'labels.txt'
    path.write_text(''.join(f'{index}.png {index % 2}\n' for index in range(4)))
    cfg = run_cfg(tmp_path / 'run', digits_classifier())
    cfg.model.head.num_classes = 2
    cfg.train_dataloader.dataset = dict(type='mmpretrain.CustomDataset', data_root=str(tmp_path),
                                        ann_file='labels.txt', metainfo=dict(classes=['a', 'b']), pipeline=[])
    runner = Runner.from_cfg(cfg)

    def read():
        runner._train_loop = dict(type='EpochBasedTrainLoop', max_epochs=1)
        runner._train_dataloader = cfg.train_dataloader
        check_splits(runner, 'train')
        return [runner.train_loop.dataloader.dataset.get_data_info(0)]
    assert check(path, read, examples, lambda found, _: 'img_path' in found[0])['named']
