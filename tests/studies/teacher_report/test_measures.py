import json
import math

import numpy as np
import pytest
import torch
from soft_label_pages import findings, samples

from wsld_plugin.analysis.biased import BiasedLabelStatistics
from wsld_plugin.analysis.calibration import best_temperature
from wsld_plugin.analysis.report import findings as module
from wsld_plugin.analysis.report.findings import as_json, measure
from wsld_plugin.errors import ConfigError, RunError


def test_batches_do_not_matter():
    whole, parts = as_json(findings(batch=60)), as_json(findings(batch=7))
    for name in ('nll', 'ece', 'brier', 'temperature', 'accuracy'):
        assert parts[name] == pytest.approx(whole[name])
    assert [each['index'] for each in parts['undecided']] == [each['index'] for each in whole['undecided']]
    assert [row['margin'] for row in parts['k']] == pytest.approx([row['margin'] for row in whole['k']])


def test_the_measures_are_those_of_all_samples():
    logits, target = samples()
    found, alone = findings(), BiasedLabelStatistics(10)
    alone.update(logits, target)
    np.testing.assert_allclose(found.biased.margin, alone.result().margin, atol=1e-12)
    assert found.temperature == pytest.approx(best_temperature(logits, target)[0], rel=1e-6)
    assert found.temperature_samples == 60


def test_the_samples_of_the_largest_entropy_are_kept_the_largest_first():
    logits, target = samples()
    entropy = torch.distributions.Categorical(logits=logits.double()).entropy()
    found = findings(batch=9).undecided
    assert [each.index for each in found] == entropy.argsort(descending=True)[:12].tolist()
    first = found[0]
    assert (first.label, first.entropy) == (int(target[first.index]), pytest.approx(float(entropy.max())))
    probs = logits[first.index].softmax(0)
    assert first.top[0] == (int(probs.argmax()), pytest.approx(float(probs.max())))


def test_the_temperature_is_found_on_samples_in_equal_distances(monkeypatch):
    monkeypatch.setattr(module, '_KEPT', 20)
    logits, target = samples()
    found = findings(batch=7)
    assert found.temperature_samples == 20
    assert found.temperature == pytest.approx(best_temperature(logits[::3], target[::3])[0], rel=1e-6)


@pytest.mark.parametrize(('c', 'max_k', 'expected'), [(10, None, 10), (10, 3, 3), (120, None, 100), (120, 110, 110)])
def test_the_largest_k_is_as_asked_for(c, max_k, expected):
    assert len(findings(n=c, c=c, max_k=max_k).biased.margin) == expected


def test_what_is_written_is_json_with_all_classes():
    logits, target = samples(n=30, c=40)
    logits[3, target[3]] = -torch.inf
    found = as_json(findings(n=30, c=40, logits=logits))
    again = json.loads(json.dumps(found, allow_nan=False))
    assert len(again['classes']) == 40
    assert again['classes'][35] == dict(name='class 35', samples=0, accuracy=None, nll=None, entropy=None,
                                        label_prob=None)
    assert (again['nll'], again['temperature']) == ('inf', None)
    assert again['num_samples'] == 30


def test_a_teacher_that_is_always_right_has_no_best_temperature():
    logits = 5.0 * torch.eye(10).repeat(6, 1)
    assert findings(logits=logits).temperature_at_end
    assert not findings().temperature_at_end
    assert math.isfinite(findings(logits=logits).temperature_nll)


def test_soft_labels_that_are_not_finite_are_named_with_their_place():
    logits, _ = samples()
    logits[20] = float('nan')
    with pytest.raises(RunError, match=r'the 16 images from 16 on: 1 of 16 samples .* at 4 of the batch'):
        findings(logits=logits)


def test_images_of_one_class_are_refused_with_how_many_there_are():
    logits = samples(n=20)[0]
    with pytest.raises(RunError, match=r'all 20 samples have the label 4, 1 of 10 classes.* another split'):
        measure([(logits, torch.full((20,), 4), list(range(20)))], list('0123456789'), 20)


def test_the_companion_of_each_k_is_written_by_name_and_none_above_100_classes():
    found = findings()
    for row, pair in zip(as_json(found)['k'], found.biased.companions, strict=True):
        assert row['companion'] == dict(label=f'class {pair.label}', wrong=f'class {pair.wrong}', share=pair.share)
    assert {row['companion'] for row in as_json(findings(n=101, c=101, max_k=3))['k']} == {None}


def test_a_k_that_there_is_not_is_refused_before_any_soft_label():
    def never():
        raise AssertionError('looked at')
        yield
    with pytest.raises(ConfigError, match='max_k=11'):
        measure(never(), list('0123456789'), 60, max_k=11)
