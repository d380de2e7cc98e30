import pytest
from caches import cached_cfg, live_cfg
from factories import digits_classifier
from mmengine.config import Config

from wsld_plugin.datasets.keyed import key_training_set
from wsld_plugin.errors import ConfigError
from wsld_plugin.soft_labels.convert import use_cached_labels
from wsld_plugin.soft_labels.settings import needed_by

KD = dict(type='wsld_plugin.KD', tau=4.0)


@pytest.mark.parametrize('loss', [None, KD])
def test_a_config_with_its_teacher_becomes_what_a_user_would_have_written(tmp_path, loss):
    cfg = live_cfg(tmp_path, loss)
    use_cached_labels(cfg, views=2, top_k=3, cache=str(tmp_path / 'cache'), make='missing')
    key_training_set(cfg)
    expected = cached_cfg(tmp_path, loss, teacher=dict(views=2, top_k=3, class_map=None))
    assert cfg.model == expected.model
    assert needed_by(cfg) == needed_by(expected)


def test_the_class_map_moves_from_the_connector_to_the_teacher(tmp_path):
    cfg = live_cfg(tmp_path)
    cfg.model.distiller.connectors.teacher_logits.class_map = [1, 0, 2, 3, 4, 5, 6, 7, 8, 9]
    use_cached_labels(cfg)
    assert cfg.model.teacher.class_map == [1, 0, 2, 3, 4, 5, 6, 7, 8, 9]
    assert 'class_map' not in cfg.model.distiller.connectors.teacher_logits


def test_one_that_is_converted_takes_the_settings_that_are_given(tmp_path):
    cfg = cached_cfg(tmp_path, teacher=dict(views=2, top_k=3))
    use_cached_labels(cfg, views=None, top_k=4)
    assert (cfg.model.teacher.views, cfg.model.teacher.top_k) == (2, 4)


def test_what_has_no_teacher_has_no_soft_labels():
    with pytest.raises(ConfigError, match=r'has no model\.teacher'):
        use_cached_labels(Config(dict(model=digits_classifier())))
