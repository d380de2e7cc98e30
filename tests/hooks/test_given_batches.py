import numpy as np
import pytest
import torch

from wsld_plugin.analysis.regularization import sample_measures
from wsld_plugin.hooks import given_batches
from wsld_plugin.hooks.given_batches import GivenBatch, GivenBatches


def batch(seed, n=4, c=5, tau=2.0, dtype=torch.float32, mixed=False, teacher_ce=False):
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (3 * torch.randn(2, n, c, generator=generator)).to(dtype)
    scores = torch.randn(n, c, generator=generator)
    target = scores.softmax(1) if mixed else scores.argmax(1)
    return student, teacher, target, torch.rand(n, generator=generator) if teacher_ce else None, tau


def expected(given):
    student, teacher, target, teacher_ce, tau = given
    return sample_measures(student, teacher, target, tau, teacher_ce)


def read(batches):
    waiting = GivenBatches()
    for number, given in enumerate(batches):
        n = len(given[0])
        waiting.add(GivenBatch.of(*given), np.arange(10 * number, 10 * number + n), number)
    assert len(waiting) == len(batches)
    found = waiting.read()
    assert len(waiting) == 0
    assert waiting.read() is None
    return found


@pytest.mark.parametrize('batches', [
    [batch(0)], [batch(0), batch(1, n=3), batch(2)], [batch(0, mixed=True), batch(1, mixed=True)],
    [batch(0, teacher_ce=True), batch(1, teacher_ce=True)],
    [batch(0), batch(1, tau=4.0), batch(2, mixed=True), batch(3, c=7), batch(4, teacher_ce=True), batch(5)]])
@pytest.mark.parametrize('most', [1, 100, 2**22])
def test_measured_together_they_are_what_each_is_alone_and_in_order(batches, most, monkeypatch):
    monkeypatch.setattr(given_batches, '_MOST_WAITING', most)
    measures, (places, epochs) = read(batches)
    torch.testing.assert_close(torch.from_numpy(measures), torch.cat([expected(given) for given in batches], 1))
    assert places.tolist() == [10 * number + place for number, given in enumerate(batches)
                               for place in range(len(given[0]))]
    assert epochs.tolist() == [number for number, given in enumerate(batches) for _ in given[0]]


def test_a_hidden_label_leaves_its_sample_out_and_no_other():
    student, teacher, target, _, tau = batch(0)
    hidden = target.clone()
    hidden[1] = -100
    measures, _ = read([(student, teacher, hidden, None, tau)])
    wanted = expected((student, teacher, target, None, tau))
    assert np.isnan(measures[:, 1]).all()
    np.testing.assert_array_equal(measures[:, [0, 2, 3]], wanted[:, [0, 2, 3]].numpy())


def test_any_other_wrong_label_is_an_error():
    student, teacher, target, _, tau = batch(0)
    with pytest.raises(ValueError, match='class -1'):
        read([(student, teacher, target.fill_(-1), None, tau)])


def test_a_student_in_half_precision_keeps_the_teachers_float32():
    student, teacher, *rest = batch(0)
    given = GivenBatch.of(student.bfloat16(), teacher, *rest)
    assert torch.equal(given.logits[1], teacher)
    assert torch.equal(given.logits[0], student.bfloat16().float())


def test_what_is_written_later_into_the_same_tensors_changes_nothing():
    student, teacher, target, ce, tau = batch(0, teacher_ce=True)
    wanted = expected((student, teacher, target, ce, tau))
    waiting = GivenBatches()
    given = GivenBatch.of(student.requires_grad_(), teacher, target, ce, tau)
    waiting.add(given.clone(), np.arange(4), 1)
    with torch.no_grad():
        for tensor in (student, teacher, ce, given.logits):
            tensor.zero_()
        target.fill_(0)
    measures, _ = waiting.read()
    torch.testing.assert_close(torch.from_numpy(measures), wanted)


def test_no_more_logits_wait_than_their_bound():
    waiting = GivenBatches()
    for seed in range(9):
        waiting.add(GivenBatch.of(*batch(seed, n=64, c=8192)), np.arange(64), 1)
        assert sum(each.logits.numel() for each in waiting._waiting) <= given_batches._MOST_WAITING
    assert waiting.read()[0].shape == (8, 9 * 64)
