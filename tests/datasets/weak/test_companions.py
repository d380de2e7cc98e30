import numpy as np
import pytest
import torch

from wsld_plugin.datasets import Digits
from wsld_plugin.datasets.weak import Companions
from wsld_plugin.errors import ConfigError

PIPELINE = [dict(type='mmpretrain.PackInputs')]


@pytest.mark.parametrize('k', [2, 4, 10])
def test_the_target_is_largest_at_the_label_and_positive_at_its_companions(k):
    data = Companions(Digits(num_samples=100, pipeline=PIPELINE), k=k)
    for index in range(100):
        score = data[index]['data_samples'].gt_score
        assert score.sum().item() == pytest.approx(1)
        assert score.argmax() == data.given_labels[index]
        assert score.max().item() == pytest.approx(2 / (k + 1))
        others = np.flatnonzero(score.numpy() > 0)
        assert len(others) == k
        assert np.array_equal(np.setdiff1d(others, data.given_labels[index]), np.flatnonzero(data.companions[index]))
        torch.testing.assert_close(score[data.companions[index]], torch.full((k - 1,), 1 / (k + 1)))


@pytest.mark.parametrize('k', [1, 11, 2.0])
def test_a_k_that_the_classes_do_not_allow_is_refused(k):
    with pytest.raises(ConfigError, match=r'Companions: k is .*, expected 2 … 10'):
        Companions(Digits(pipeline=PIPELINE), k=k)
