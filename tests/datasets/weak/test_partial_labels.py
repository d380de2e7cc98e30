import re

import pytest
import torch

from wsld_plugin.datasets import Digits
from wsld_plugin.datasets.weak import PartialLabels
from wsld_plugin.errors import ConfigError

PIPELINE = [dict(type='mmpretrain.PackInputs')]


def partial(**settings):
    return PartialLabels(Digits(num_samples=200, pipeline=PIPELINE), **settings)


def test_the_soft_label_is_uniform_over_the_candidates():
    data = partial(unreliability=0.3, ambiguity=0.4)
    for index in range(200):
        soft_label, candidates = data[index]['data_samples'].soft_label, torch.from_numpy(data.candidates[index])
        assert soft_label.dtype == torch.float32
        torch.testing.assert_close(soft_label, candidates / candidates.sum())


def test_the_true_label_stays_in_the_data_set():
    data = partial(unreliability=0.3, ambiguity=0.4)
    for index in range(200):
        sample = data[index]['data_samples']
        assert sample.gt_label.tolist() == [-100]
        assert set(sample.keys()) == {'gt_label', 'soft_label'}
        assert 'gt_label' not in sample.metainfo


@pytest.mark.parametrize(('settings', 'message'), [
    (dict(unreliability=1.1), 'unreliability is 1.1, expected a probability of 0 … 1'),
    (dict(ambiguity=-0.1), 'ambiguity is -0.1'),
    (dict(ambiguity=float('nan')), 'ambiguity is nan'),
    (dict(ambiguity='0.1'), "ambiguity is '0.1'"),
])
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        partial(**settings)
