import pytest
from factories import classifier, digits_classifier, run_cfg
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope
from PIL import Image

from wsld_plugin.analysis.report.split import build_dataset, find_loader, spread
from wsld_plugin.analysis.report.subject import find_subject
from wsld_plugin.datasets import KeyedDataset
from wsld_plugin.errors import ConfigError

DIGITS = dict(type='wsld_plugin.Digits', split='test', num_samples=20, pipeline=[dict(type='mmpretrain.PackInputs')])
NO_TEST = dict.fromkeys(f'{split}_{part}' for split in ('test', 'val') for part in ('dataloader', 'evaluator', 'cfg'))
NO_TRAIN = dict(train_dataloader=None, train_cfg=None, optim_wrapper=None)


@pytest.fixture(autouse=True)
def _one_scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


@pytest.fixture
def cfg(tmp_path):
    return run_cfg(tmp_path / 'run', digits_classifier(8))


def test_the_test_images_are_those_of_the_validation_where_there_are_no_others(cfg):
    cfg.val_dataloader.batch_size = 7
    assert find_loader(cfg, 'test').batch_size == 20
    cfg.test_dataloader = None
    assert find_loader(cfg, 'test').batch_size == 7
    assert find_loader(cfg, 'train').dataset.split == 'train'


@pytest.mark.parametrize('value', [0, -1, 'abc', 2.5, True, None])
def test_a_batch_size_that_is_no_whole_number_from_1_up_is_refused(cfg, value):
    cfg.test_dataloader.batch_size = value
    with pytest.raises(ConfigError, match=rf'test_dataloader\.batch_size={value!r}, expected a whole number from 1'):
        find_loader(cfg, 'test')


def test_workers_that_are_no_whole_number_are_refused(cfg):
    cfg.train_dataloader.num_workers = 'abc'
    with pytest.raises(ConfigError, match=r"train_dataloader\.num_workers='abc', expected a whole number from 0 up"):
        find_loader(cfg, 'train')
    del cfg.train_dataloader['num_workers']
    find_loader(cfg, 'train')


@pytest.mark.parametrize(('without', 'split', 'other'), [(NO_TEST, 'test', 'train'), (NO_TRAIN, 'train', 'test')])
def test_another_split_is_suggested_only_where_it_is_there(cfg, without, split, other):
    cfg.update(without)
    with pytest.raises(ConfigError, match=f'no {split}_dataloader with a dataset.*Take --split {other}, or add one'):
        find_loader(cfg, split)
    cfg.update({**NO_TEST, **NO_TRAIN})
    with pytest.raises(ConfigError, match=r'no images to look at\. Add one\.$'):
        find_loader(cfg, split)


def test_a_config_without_a_model_is_refused_for_that(tmp_path):
    bare = tmp_path / 'bare.py'
    bare.write_text('a = 1\n')
    with pytest.raises(ConfigError, match=r'bare\.py has no model.*config of a classifier, or of a distillation'):
        find_subject(str(bare))


def folders(tmp_path, cfg, split, make):
    root = tmp_path / split
    if make:
        for name in 'ab':
            (root / name).mkdir(parents=True)
            Image.new('RGB', (8, 8)).save(root / name / '0.png')
    cfg[f'{split}_dataloader'].dataset = dict(type='CustomDataset', data_root=str(root))


def test_only_the_files_of_the_one_split_are_needed(tmp_path):
    cfg = run_cfg(tmp_path / 'run', classifier(num_classes=2))
    for split in ('train', 'val', 'test'):
        folders(tmp_path, cfg, split, make=split == 'test')
    assert find_loader(cfg, 'test').dataset.data_root == str(tmp_path / 'test')
    with pytest.raises(ConfigError, match=r'train_dataloader.*train does not exist'):
        find_loader(cfg, 'train')
    cfg.test_dataloader = None
    with pytest.raises(ConfigError, match=r'val_dataloader.*val does not exist'):
        find_loader(cfg, 'test')


@pytest.mark.parametrize('cfg', [{**DIGITS, 'indices': []}, {**DIGITS, 'indices': 0},
                                 {**DIGITS, 'indices': [], 'serialize_data': False},
                                 dict(type='wsld_plugin.KeyedDataset', dataset={**DIGITS, 'indices': []})])
def test_a_data_set_without_images_is_refused(cfg):
    with pytest.raises(ConfigError, match=f"data set {cfg['type']} has no images: look at its indices"):
        build_dataset(Config(cfg)._cfg_dict)


@DATASETS.register_module(force=True)
class Broken:
    def __init__(self):
        raise ValueError('its own')


def test_another_error_of_a_data_set_is_not_taken_for_that():
    with pytest.raises(ValueError, match='its own'):
        build_dataset(dict(type=Broken))


def test_a_data_set_has_keys_once():
    plain, keyed = build_dataset(DIGITS), build_dataset(dict(type='wsld_plugin.KeyedDataset', dataset=DIGITS))
    assert isinstance(plain, KeyedDataset)
    assert not isinstance(keyed.dataset, KeyedDataset)
    assert len(plain) == len(keyed) == 20


def test_places_are_spread_from_the_first_to_the_last():
    assert spread(20, 5) == [0, 5, 10, 14, 19]
    assert spread(3, None) == spread(3, 9) == [0, 1, 2]
