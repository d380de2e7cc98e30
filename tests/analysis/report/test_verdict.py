import re

import pytest
import torch
from soft_label_pages import findings, samples

from wsld_plugin.analysis.report.verdict import notes, verdict


def numbers_in(sentence):
    return [float(number) for number in re.findall(r'= (\d+\.\d)%', sentence)]


@pytest.mark.parametrize(('skill', 'begins'), [
    (6.0, 'A student can be expected to find'), (0.4, 'A student can still find'), (0.0, 'Do not expect')])
def test_the_sentence_follows_the_margin(skill, begins):
    found = findings(n=1000, skill=skill)
    sentence = verdict(found)
    assert sentence.startswith(begins)
    assert sentence.count('. ') == 0
    assert sentence.endswith('.')


def test_where_no_margin_is_above_0_no_k_is_named():
    logits = torch.roll(torch.eye(10), 1, 1).repeat(6, 1)  # always wrong, and always in the same way
    found = findings(logits=logits)
    assert found.biased.best_k is None
    assert verdict(found).endswith('for no k is Δ + γ below 1.')
    assert not any('first choice' in note for note in notes(found))


def test_its_figures_are_those_of_the_best_k():
    found = findings(n=400, skill=2.0)
    k = found.biased.best_k - 1
    assert numbers_in(verdict(found)) == [
        pytest.approx(100 * value, abs=0.051) for value in (found.biased.unreliability[k], found.biased.ambiguity[k])]


def test_what_may_be_chance_is_not_promised():
    found = findings(n=60, skill=0.2)
    assert found.biased.margin.max() > 0.01
    assert verdict(found).startswith('Do not expect')
    assert 'may be chance' in verdict(found)


def test_soft_labels_made_from_labels_promise_nothing_about_images():
    found = findings(skill=9.0)
    assert 'label smoothing' in verdict(found, made_from_labels=True)
    assert notes(found, made_from_labels=True) == []


def test_a_wrong_first_choice_is_told():
    _, target = samples(n=200)
    logits = torch.rand(200, 10, generator=torch.Generator().manual_seed(0))
    logits[torch.arange(200), target] = 2.0
    logits[torch.arange(200), (target + 1 + torch.arange(200) // 10 % 9) % 10] = 3.0
    found = findings(n=200, logits=logits)
    assert found.biased.best_k == 2
    assert 'its 2 largest miss the right class for Δ = 0.0%' in verdict(found)
    assert notes(found)[0].startswith('Its first choice misleads more than its first 2')


def test_a_wrong_class_that_comes_with_every_image_of_a_right_one_is_told():
    drawn, target = samples(n=200, skill=20.0)
    beside = 40 * torch.nn.functional.one_hot(torch.where(target == 3, 7, target), 10)
    found = findings(n=200, logits=drawn + beside)
    assert found.biased.best_k == 1
    assert notes(found)[0].startswith('Of the 20 images of class 3, class 7 is among the 1 largest at least as often')
    assert not any('apart' in note for note in notes(findings(n=200, skill=20.0)))


def test_confidence_is_told_in_its_direction():
    drawn = samples(n=300, skill=2.0)[0]
    assert any('over-confident' in note for note in notes(findings(n=300, logits=4 * drawn)))
    assert any('less confident' in note for note in notes(findings(n=300, logits=drawn / 4)))


def test_missing_classes_few_images_and_infinite_scores_are_told():
    logits, target = samples(n=5)
    logits[0, target[0]] = -torch.inf
    said = ' '.join(notes(findings(n=5, logits=logits)))
    assert '5 of 10 classes have no image' in said
    assert '5 images are few for 10 classes' in said
    assert 'probability 0' in said
