"""Training configs with keyed samples: what is in the config, and the same pixels from one rank and from two."""
from pathlib import Path

import pytest
import torch
from caches import cached_cfg, live_cfg
from factories import digits_classifier, run_cfg
from mmengine.config import Config
from packs import AUGMENTED, recorded
from processes import tool

from wsld_plugin.engine.keyed import key_training_set
from wsld_plugin.engine.training import train, training_config
from wsld_plugin.errors import ConfigError

GREY = [AUGMENTED[0], AUGMENTED[1], AUGMENTED[-1]]


@pytest.fixture
def config(tmp_path):
    cfg = run_cfg(tmp_path / 'unused', digits_classifier(), custom_imports=dict(imports=['wsld_plugin', 'packs']),
                  custom_hooks=[dict(type='RecordPixels', folder=str(tmp_path / 'pixels'))])
    cfg.train_dataloader.dataset.pipeline = GREY
    path = tmp_path / 'small.py'
    cfg.dump(path)
    return str(path)


def test_the_training_set_and_its_sampler_are_wrapped_and_the_others_are_not(config, tmp_path):
    plain = Config.fromfile(config)
    cfg = training_config(config, work_dir=str(tmp_path / 'run'))
    loader, expected = cfg.train_dataloader, plain.train_dataloader
    assert loader.dataset == dict(type='wsld_plugin.KeyedDataset', dataset=expected.dataset)
    assert loader.sampler == dict(type='wsld_plugin.KeyedSampler', sampler=expected.sampler)
    assert loader.batch_size == expected.batch_size
    assert cfg.val_dataloader == plain.val_dataloader
    assert cfg.test_dataloader == plain.test_dataloader


def test_options_name_the_data_set_in_its_plain_form(config, tmp_path):
    cfg = training_config(config, work_dir=str(tmp_path / 'run'),
                          options={'train_dataloader.dataset.num_samples': 30,
                                   'train_dataloader.sampler.shuffle': False})
    assert cfg.train_dataloader.dataset.dataset.num_samples == 30
    assert cfg.train_dataloader.sampler.sampler.shuffle is False
    with pytest.raises(ConfigError, match='num_sample'):
        training_config(config, work_dir=str(tmp_path / 'run'),
                        options={'train_dataloader.dataset.num_sample': 30})


def test_wrapping_twice_is_wrapping_once(config, tmp_path):
    cfg = training_config(config, work_dir=str(tmp_path / 'run'))
    again = Config.fromstring(cfg.dump(), '.py')
    key_training_set(again)
    assert again.train_dataloader == cfg.train_dataloader


def test_a_cached_teacher_has_its_views_repeated_and_its_cache_opened(tmp_path):
    cfg = cached_cfg(tmp_path, teacher=dict(views=3))
    assert cfg.train_dataloader.sampler.views == 3
    assert cfg.default_hooks.soft_labels.type == 'wsld_plugin.SoftLabelsHook'
    again = Config.fromstring(cfg.dump(), '.py')
    key_training_set(again)
    assert (again.train_dataloader, again.default_hooks) == (cfg.train_dataloader, cfg.default_hooks)
    plain = live_cfg(tmp_path)
    key_training_set(plain)
    assert 'views' not in plain.train_dataloader.sampler
    assert 'soft_labels' not in plain.default_hooks


def test_soft_labels_that_cannot_be_cached_are_refused_with_the_config(tmp_path):
    with pytest.raises(ConfigError, match='views=0'):
        cached_cfg(tmp_path, teacher=dict(views=0))


def test_a_loader_that_other_splits_share_stays_theirs():
    loader = dict(dataset=dict(type='Digits'), sampler=dict(type='DefaultSampler'))
    cfg = Config(dict(train_dataloader=loader, val_dataloader=loader))
    cfg.val_dataloader = cfg.train_dataloader
    key_training_set(cfg)
    assert cfg.val_dataloader == loader
    assert cfg.train_dataloader.dataset.type == 'wsld_plugin.KeyedDataset'


@pytest.mark.parametrize('loader', [None, dict(batch_size=3)])
def test_what_has_no_training_set_is_left_alone(loader):
    cfg = Config(dict(train_dataloader=loader))
    key_training_set(cfg)
    assert cfg.train_dataloader == loader


@pytest.mark.skipif(torch.cuda.is_available(), reason='would need two GPUs')
def test_two_ranks_train_on_the_pixels_of_one(config, tmp_path):
    train(training_config(config, work_dir=str(tmp_path / 'one')))
    one = recorded(tmp_path / 'pixels')
    tool('dist_train.sh', config, 2, '--work-dir', tmp_path / 'two', '--cfg-options',
         f'custom_hooks.0.folder={tmp_path / "halves"}')
    assert len(list(Path(tmp_path / 'halves').iterdir())) == 2
    assert recorded(tmp_path / 'halves') == one
    assert sorted(one) == [(epoch, index) for epoch in range(2) for index in range(40)]
    assert all(len(pixels) == 1 for pixels in one.values())
    assert any(one[0, index] != one[1, index] for index in range(40))
