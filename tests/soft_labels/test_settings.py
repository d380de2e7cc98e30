"""Configs whose soft labels cannot be cached are refused before anything is built."""
import pytest
from caches import AUGMENTED, cached_cfg

from wsld_plugin.errors import ConfigError
from wsld_plugin.soft_labels.settings import cache_folder, cached_teacher, check_cached, needed_by

MIXUP = dict(augments=[dict(type='Mixup', alpha=0.2)])


@pytest.fixture
def cfg(tmp_path):
    return cached_cfg(tmp_path, pipeline=AUGMENTED, teacher=dict(views=2, top_k=3))


def two_temperatures(cfg):
    distiller = cfg.model.distiller
    distiller.distill_losses.loss_kd = dict(type='wsld_plugin.KD', tau=4.0)
    distiller.loss_forward_mappings.loss_kd = dict(
        student=dict(recorder='logits', from_student=True),
        teacher=dict(recorder='logits', from_student=False))


REFUSED = {
    r"teacher_bn='train'.*other images of the batch": lambda cfg: cfg.model.update(teacher_bn='train'),
    'batch_augments .*mixed images': lambda cfg: cfg.update(
        data_preprocessor=dict(num_classes=10, mean=[77.8], std=[95.9], batch_augments=MIXUP)),
    'batch_augments .*Leave one': lambda cfg: cfg.model.architecture.data_preprocessor.update(batch_augments=MIXUP),
    'batch_augments .*not in a cache': lambda cfg: cfg.model.architecture.update(train_cfg=MIXUP),
    r'randomness\.seed is None': lambda cfg: cfg.randomness.update(seed=None),
    'SwitchRecipeHook': lambda cfg: cfg.update(custom_hooks=[dict(type='mmpretrain.SwitchRecipeHook', schedule=[])]),
    r'connectors\.teacher_logits\.class_map.*model\.teacher\.class_map':
        lambda cfg: cfg.model.distiller.connectors.teacher_logits.update(class_map=[0, 1]),
    r'top_k=3 .* have \[2\.0, 4\.0\]\. Leave top_k out': two_temperatures,
    'top_k=10, but the student has 10 classes': lambda cfg: cfg.model.teacher.update(top_k=10),
    'top_k is 0, but a number from 1 up': lambda cfg: cfg.model.teacher.update(top_k=0),
    'views is 2.5, but a number from 1 up': lambda cfg: cfg.model.teacher.update(views=2.5),
    r"make='mising'.*Did you mean 'missing'": lambda cfg: cfg.model.teacher.update(make='mising'),
    'checkpoint is None, but model is named': lambda cfg: cfg.model.teacher.update(checkpoint=None),
    r'no model is named': lambda cfg: cfg.model.teacher.update(model=None),
}


@pytest.mark.parametrize('message', REFUSED)
def test_soft_labels_that_cannot_be_cached_are_refused(cfg, message):
    check_cached(cfg)
    REFUSED[message](cfg)
    with pytest.raises(ConfigError, match=message):
        check_cached(cfg)


def test_all_logits_serve_losses_of_any_temperature(cfg):
    cfg.model.teacher.top_k = None
    two_temperatures(cfg)
    check_cached(cfg)
    assert needed_by(cfg)['tau'] is None


def test_a_config_without_a_cache_is_left_alone(cfg):
    cfg.model.teacher = cfg.model.teacher.model
    cfg.model.teacher_bn = 'train'
    assert cached_teacher(cfg) is None
    check_cached(cfg)


def test_a_loss_without_a_temperature_has_one_of_1(cfg):
    del cfg.model.distiller.distill_losses.loss_soft['tau']
    assert needed_by(cfg)['tau'] == 1.0


@pytest.mark.parametrize('change', [
    lambda cfg: cfg.train_dataloader.update(batch_size=7, num_workers=2),
    lambda cfg: cfg.train_cfg.update(max_epochs=9), lambda cfg: cfg.model.update(hard_weight=0.5),
    lambda cfg: cfg.model.architecture.backbone.update(base_channels=16),
    lambda cfg: cfg.optim_wrapper.optimizer.update(lr=1.0)])
def test_what_soft_labels_do_not_depend_on_may_change(cfg, change):
    before = needed_by(cfg)
    change(cfg)
    assert needed_by(cfg) == before


def test_the_folder_is_the_configs_or_in_that_of_the_run(cfg, tmp_path):
    assert cache_folder(cfg, 'run') == tmp_path / 'cache'
    cfg.model.teacher.cache = None
    assert str(cache_folder(cfg, 'run')) == 'run/soft_labels'
