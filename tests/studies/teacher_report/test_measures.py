import json
import math
import re

import numpy as np
import pytest
import torch
from soft_label_pages import findings, samples

from wsld_plugin.analysis.biased import BiasedLabelStatistics
from wsld_plugin.analysis.calibration import best_temperature
from wsld_plugin.errors import ConfigError, RunError
from wsld_plugin.studies.teacher_report import measures
from wsld_plugin.studies.teacher_report.measures import as_json, measure, notes, verdict


def test_the_measures_and_the_largest_entropies_are_those_of_all_samples_in_batches_of_any_size(monkeypatch):
    logits, target = samples()
    found, alone = findings(), BiasedLabelStatistics(10)
    alone.update(logits, target)
    np.testing.assert_allclose(found.biased.margin, alone.result().margin, atol=1e-12)
    assert found.temperature == pytest.approx(best_temperature(logits, target)[0], rel=1e-6)
    assert found.temperature_samples == 60
    whole, parts = as_json(found), as_json(findings(batch=7))
    for name in ('nll', 'ece', 'brier', 'temperature', 'accuracy'):
        assert parts[name] == pytest.approx(whole[name])
    assert [each['index'] for each in parts['undecided']] == [each['index'] for each in whole['undecided']]
    assert [row['margin'] for row in parts['k']] == pytest.approx([row['margin'] for row in whole['k']])
    for row, pair in zip(parts['k'], found.biased.companions, strict=True):
        assert row['companion'] == dict(label=f'class {pair.label}', wrong=f'class {pair.wrong}', share=pair.share)

    entropy = torch.distributions.Categorical(logits=logits.double()).entropy()
    assert [each.index for each in found.undecided] == entropy.argsort(descending=True)[:12].tolist()
    first = found.undecided[0]
    assert (first.label, first.entropy) == (int(target[first.index]), pytest.approx(float(entropy.max())))
    probs = logits[first.index].softmax(0)
    assert first.top[0] == (int(probs.argmax()), pytest.approx(float(probs.max())))
    monkeypatch.setattr(measures, '_KEPT', 20)  # of many samples, the temperature is that of some in equal distances
    found = findings(batch=7)
    assert found.temperature_samples == 20
    assert found.temperature == pytest.approx(best_temperature(logits[::3], target[::3])[0], rel=1e-6)


def test_what_is_written_is_json_with_all_classes():
    logits, target = samples(n=30, c=40)
    logits[3, target[3]] = -torch.inf
    found = as_json(findings(n=30, c=40, logits=logits))
    again = json.loads(json.dumps(found, allow_nan=False))
    assert len(again['classes']) == 40
    assert again['classes'][35] == dict(name='class 35', samples=0, accuracy=None, nll=None, entropy=None,
                                        label_prob=None)
    assert (again['nll'], again['temperature'], again['num_samples']) == ('inf', None, 30)
    right = as_json(findings(logits=5.0 * torch.eye(10).repeat(6, 1)))
    assert (right['temperature_at_end'], again['temperature_at_end']) == (True, False)
    assert math.isfinite(right['temperature_nll'])


def test_the_largest_k_is_that_of_the_user_else_100_at_most_and_what_cannot_be_measured_is_rejected():
    assert len(findings(n=120, c=120).biased.margin) == 100
    found = findings(n=120, c=120, max_k=110)
    assert len(found.biased.margin) == 110
    assert {row['companion'] for row in as_json(found)['k']} == {None}  # as above 100 classes always
    for max_k in (0, 11):
        with pytest.raises(ConfigError, match=f'max_k={max_k}, expected an integer from 1 to 10'):
            measure(map(pytest.fail, ['read']), list('0123456789'), 60, max_k=max_k)
    logits, _ = samples()
    logits[20] = float('nan')
    with pytest.raises(RunError, match=r'the 16 images from 16 on: 1 of 16 samples .* at 4 of the batch'):
        findings(logits=logits)
    logits = samples(n=20)[0]
    with pytest.raises(RunError, match=r'all 20 samples have the label 4, 1 of 10 classes.* another split'):
        measure([(logits, torch.full((20,), 4), list(range(20)))], list('0123456789'), 20)


@pytest.mark.parametrize(('skill', 'begins'), [
    (6.0, 'A student can be expected to find'), (0.4, 'A student can still find'), (0.0, 'Do not expect')])
def test_the_sentence_follows_the_margin_with_the_figures_of_the_best_k(skill, begins):
    found = findings(n=500, skill=skill)
    sentence = verdict(found)
    assert sentence.startswith(begins)
    assert sentence.count('. ') == 0
    assert sentence.endswith('.')
    if skill:
        k = found.biased.best_k - 1
        numbers = [float(number) for number in re.findall(r'= (\d+\.\d)%', sentence)]
        assert numbers == [pytest.approx(100 * value, abs=0.051)
                           for value in (found.biased.unreliability[k], found.biased.ambiguity[k])]


def test_no_margin_one_that_may_be_chance_or_labels_in_disguise_predict_nothing():
    found = findings(logits=torch.roll(torch.eye(10), 1, 1).repeat(6, 1))  # always wrong in the same way
    assert found.biased.best_k is None
    assert verdict(found).endswith('for no k is Δ + γ below 1.')
    assert not any('first choice' in note for note in notes(found))
    found = findings(n=60, skill=0.2)
    assert found.biased.margin.max() > 0.01
    assert verdict(found).startswith('Do not expect')
    assert 'may be chance' in verdict(found)
    found = findings(skill=9.0)
    assert 'label smoothing' in verdict(found, made_from_labels=True)
    assert notes(found, made_from_labels=True) == []


def test_wrong_first_choices_companions_confidence_missing_classes_few_images_and_infinite_scores_are_noted():
    drawn, target = samples(n=200, skill=20.0)
    logits = torch.rand(200, 10, generator=torch.Generator().manual_seed(0))
    logits[torch.arange(200), target] = 2.0
    logits[torch.arange(200), (target + 1 + torch.arange(200) // 10 % 9) % 10] = 3.0
    found = findings(n=200, logits=logits)
    assert found.biased.best_k == 2
    assert 'its 2 largest miss the right class for Δ = 0.0%' in verdict(found)
    assert notes(found)[0].startswith('Its first choice misleads more than its first 2')
    beside = 40 * torch.nn.functional.one_hot(torch.where(target == 3, 7, target), 10)
    found = findings(n=200, logits=drawn + beside)
    assert found.biased.best_k == 1
    assert notes(found)[0].startswith('Of the 20 images of class 3, class 7 is among the 1 largest at least as often')
    assert not any('distinguish' in note for note in notes(findings(n=200, skill=20.0)))
    drawn = samples(n=300, skill=2.0)[0]
    assert any('over-confident' in note for note in notes(findings(n=300, logits=4 * drawn)))
    assert any('less confident' in note for note in notes(findings(n=300, logits=drawn / 4)))
    logits, target = samples(n=5)
    logits[0, target[0]] = -torch.inf
    text = ' '.join(notes(findings(n=5, logits=logits)))
    for part in ('5 of 10 classes have no image', '5 images are few for 10 classes', 'probability 0'):
        assert part in text
