"""What a cache depends on, which configs are refused before anything is built, and the conversion."""
import pytest
from caches import AUGMENTED, cached_cfg, live_cfg
from factories import digits_classifier
from mmengine.config import Config

from wsld_plugin.datasets.keyed import key_training_set
from wsld_plugin.errors import ConfigError
from wsld_plugin.soft_labels.config import cache_folder, cached_teacher, check_cached, needed_by, use_cached_labels

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
    'batch_augments .*Remove one': lambda cfg: cfg.model.architecture.data_preprocessor.update(batch_augments=MIXUP),
    'batch_augments .*not in a cache': lambda cfg: cfg.model.architecture.update(train_cfg=MIXUP),
    r'randomness\.seed is None': lambda cfg: cfg.randomness.update(seed=None),
    'SwitchRecipeHook': lambda cfg: cfg.update(custom_hooks=[dict(type='mmpretrain.SwitchRecipeHook', schedule=[])]),
    r'connectors\.teacher_logits\.class_map.*model\.teacher\.class_map':
        lambda cfg: cfg.model.distiller.connectors.teacher_logits.update(class_map=[0, 1]),
    r'top_k=3 .* have \[2\.0, 4\.0\]\. Remove top_k': two_temperatures,
    'top_k=10, but the student has 10 classes': lambda cfg: cfg.model.teacher.update(top_k=10),
    'top_k=0, expected an integer of 1 or more': lambda cfg: cfg.model.teacher.update(top_k=0),
    'views=2.5, expected an integer': lambda cfg: cfg.model.teacher.update(views=2.5),
    r"make='mising'.*Did you mean 'missing'": lambda cfg: cfg.model.teacher.update(make='mising'),
    'checkpoint=None, but model is given': lambda cfg: cfg.model.teacher.update(checkpoint=None),
    'no model is given': lambda cfg: cfg.model.teacher.update(model=None),
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


@pytest.mark.parametrize('loss', [None, dict(type='wsld_plugin.KD', tau=4.0)])
def test_a_config_with_its_teacher_is_converted_to_what_a_user_would_write(tmp_path, loss):
    cfg = live_cfg(tmp_path, loss)
    use_cached_labels(cfg, views=2, top_k=3, cache=str(tmp_path / 'cache'), make='missing')
    key_training_set(cfg, views=2)
    expected = cached_cfg(tmp_path, loss, teacher=dict(views=2, top_k=3, class_map=None))
    assert cfg.model == expected.model
    assert needed_by(cfg) == needed_by(expected)


def test_the_class_map_moves_from_the_connector_to_the_teacher(tmp_path):
    cfg = live_cfg(tmp_path)
    cfg.model.distiller.connectors.teacher_logits.class_map = [1, 0, 2, 3, 4, 5, 6, 7, 8, 9]
    use_cached_labels(cfg)
    assert cfg.model.teacher.class_map == [1, 0, 2, 3, 4, 5, 6, 7, 8, 9]
    assert 'class_map' not in cfg.model.distiller.connectors.teacher_logits


def test_a_converted_config_takes_the_given_settings(tmp_path):
    cfg = cached_cfg(tmp_path, teacher=dict(views=2, top_k=3))
    use_cached_labels(cfg, views=None, top_k=4)
    assert (cfg.model.teacher.views, cfg.model.teacher.top_k) == (2, 4)


def test_a_config_without_a_teacher_cannot_be_converted():
    with pytest.raises(ConfigError, match=r'has no model\.teacher'):
        use_cached_labels(Config(dict(model=digits_classifier())))
