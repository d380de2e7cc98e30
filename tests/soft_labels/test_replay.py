import numpy as np
import pytest
from caches import AUGMENTED, cached_cfg, prepared

from wsld_plugin.errors import ConfigError
from wsld_plugin.soft_labels.header import HEADER, RECORDS
from wsld_plugin.soft_labels.reader import SoftLabels
from wsld_plugin.soft_labels.replay import check_bytes
from wsld_plugin.soft_labels.settings import needed_by

SHIFTED = [dict(type='mmpretrain.RandomCrop', crop_size=8, padding=1), AUGMENTED[-1]]


@pytest.fixture(params=[{}, dict(top_k=3)])
def cfg(request, tmp_path):
    cfg = cached_cfg(tmp_path, pipeline=AUGMENTED, teacher=dict(views=2, **request.param))
    prepared(cfg)
    return cfg


def test_what_the_teacher_gave_it_gives_again(cfg):
    prepared(cfg, verify=100)
    check_bytes(SoftLabels(cfg.model.teacher.cache))


@pytest.mark.parametrize('field', ['log_probs', 'teacher_ce'])
def test_a_changed_entry_is_found_whatever_the_header_says(cfg, field):
    labels = SoftLabels(cfg.model.teacher.cache)
    records = np.memmap(labels.folder / RECORDS, labels.records.dtype, 'r+')
    records[field] += np.float16(0.5)
    records.flush()
    with pytest.raises(ConfigError, match=r'sample \d+ in view [01] is not what the teacher gives: .* in the cache'):
        prepared(cfg, verify=1)
    with pytest.raises(ConfigError, match=r'damaged, its SHA-256'):
        check_bytes(labels)


def test_images_that_changed_behind_the_header_are_found(cfg):
    header = SoftLabels(cfg.model.teacher.cache).folder / HEADER
    have = SoftLabels(cfg.model.teacher.cache).header.pipeline
    cfg.train_dataloader.dataset.dataset.pipeline = SHIFTED
    with pytest.raises(ConfigError, match='pipeline: the cache has'):
        prepared(cfg)
    header.write_text(header.read_text().replace(have, needed_by(cfg)['pipeline']))
    with pytest.raises(ConfigError, match='is not what the teacher gives'):
        prepared(cfg, verify=20)
