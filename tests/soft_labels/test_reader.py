import numpy as np
import pytest
from caches import header, random_cache, random_records

from wsld_plugin.datasets import SampleKey
from wsld_plugin.errors import ConfigError
from wsld_plugin.soft_labels.header import HEADER, RECORDS
from wsld_plugin.soft_labels.reader import SoftLabels


@pytest.mark.parametrize('kept', [{}, dict(top_k=2, tau=4.0)])
def test_a_key_gets_the_record_of_its_view_and_index(tmp_path, kept):
    labels, expected = random_cache(tmp_path, **kept), random_records(header(**kept)).reshape(3, 5)
    keys = [SampleKey(0, 2, 1), SampleKey(0, 0, 4), SampleKey(0, 2, 1)]
    assert (labels.rows(keys) == expected[[2, 0, 2], [1, 4, 1]]).all()


def test_what_is_handed_out_is_a_copy(tmp_path):
    labels = random_cache(tmp_path)
    rows = labels.rows([SampleKey(0, 0, 0)])
    rows['lse'] = 99
    assert (labels.rows([SampleKey(0, 0, 0)])['lse'] != 99).all()
    with pytest.raises(ValueError, match='read-only'):
        labels.records['lse'] = 99


@pytest.mark.parametrize(('key', 'words'), [
    (SampleKey(1, 0, 0), r'seed=1, but of 0 … 0'), (SampleKey(0, 3, 0), r'epoch=3, but of 0 … 2.*views=3'),
    (SampleKey(0, 0, 5), r'index=5, but of 0 … 4'), (SampleKey(0, 0, -1), 'index=-1'),
    (SampleKey(0, 0, 0, 1), 'repeat=1')])
def test_a_sample_that_the_cache_does_not_have_is_refused(tmp_path, key, words):
    with pytest.raises(ValueError, match=words):
        random_cache(tmp_path).rows([SampleKey(0, 0, 0), key])


@pytest.mark.parametrize('change', [lambda data: data[:-1], lambda data: data + b'x', lambda data: b''])
def test_a_file_of_another_length_is_refused(tmp_path, change):
    random_cache(tmp_path)
    path = tmp_path / RECORDS
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ConfigError, match=r'records\.bin is damaged: \d+ bytes, expected 330'):
        SoftLabels(tmp_path)


def test_a_file_that_is_gone_is_refused(tmp_path):
    random_cache(tmp_path)
    (tmp_path / RECORDS).unlink()
    assert (tmp_path / HEADER).exists()
    with pytest.raises(ConfigError, match='damaged: 0 bytes'):
        SoftLabels(tmp_path)


def test_records_are_mapped_not_loaded(tmp_path):
    records = random_cache(tmp_path).records
    assert isinstance(records.base, np.memmap)
