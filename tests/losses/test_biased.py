import math

import numpy as np
import pytest
import torch
from factories import batch, build, classifier, labels_of
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS
from scipy.special import softmax
from torch.nn import functional as F

from wsld_plugin.datasets import Digits
from wsld_plugin.datasets.weak import Companions
from wsld_plugin.datasets.weak import companion_sets as fixed_companions
from wsld_plugin.errors import ConfigError
from wsld_plugin.losses import KD, BadTeacherLoss, PartialLabelLoss
from wsld_plugin.losses.biased import bad_teacher, partial_label, read_companions

WEIGHTS = dict(punish=2.0, compensate=3.0, random=0.5, punish_margin=0.7, compensate_margin=0.4)


def case(n=8, c=6, count=2, dtype=torch.float64):
    generator = torch.Generator().manual_seed(n * c + count)
    z = 2 * torch.randn(n, c, generator=generator, dtype=torch.float64)
    y = torch.randint(c, (n,), generator=generator)
    return z.to(dtype), y, torch.from_numpy(fixed_companions(y.numpy(), c, count, 0))


def target_of(y, companions):
    score = companions.float()
    score[torch.arange(len(y)), y] = 2
    return score / score.sum(1, keepdim=True)


def bad_teacher_oracle(z, y, companions, punish, compensate, random, punish_margin, compensate_margin):
    """Loss and gradient from the docstring, a number at a time."""
    total, gradient = 0.0, softmax(z.double().numpy(), 1)
    for row, label, of_row, slope in zip(z.tolist(), y.tolist(), companions.tolist(), gradient, strict=True):
        wrong = [c for c in range(len(row)) if c != label]
        beside, others = [c for c in wrong if of_row[c]], [c for c in wrong if not of_row[c]]
        first, best = max(beside, key=row.__getitem__), max(others, key=row.__getitem__, default=label)
        punished = max(0.0, punish_margin + row[label] - row[first])
        compensated = max(0.0, compensate_margin + row[best] - row[label]) if others else 0.0
        wrong_sum = math.fsum(math.exp(row[c]) for c in wrong)
        total += math.log(math.fsum(math.exp(value - row[label]) for value in row))
        total += punish * punished + compensate * compensated
        total += random * sum(math.log(wrong_sum) - row[c] for c in beside) / len(beside)
        slope[label] += punish * (punished > 0) - compensate * (compensated > 0) - 1
        slope[first] -= punish * (punished > 0)
        slope[best] += compensate * (compensated > 0)
        for c in wrong:
            slope[c] += random * (math.exp(row[c]) / wrong_sum - (c in beside) / len(beside))
    return total / len(z), torch.from_numpy(gradient / len(z))


@pytest.mark.parametrize('count', [1, 2, 5])
def test_loss_equals_loop_its_gradient_is_closed_form_with_rows_of_sum_zero_and_the_module_reads_the_target(count):
    for dtype, exact in ((torch.float32, 1e-5), (torch.float64, 1e-12)):
        z, y, companions = case(count=count, dtype=dtype)
        result = bad_teacher(z, y, companions, **WEIGHTS)
        assert result.dtype == dtype
        loss, expected = bad_teacher_oracle(z, y, companions, **WEIGHTS)
        assert result.item() == pytest.approx(loss, rel=exact)
    module = MODELS.build(dict(type='wsld_plugin.BadTeacherLoss', k=count + 1, loss_weight=2.0, **WEIGHTS))
    torch.testing.assert_close(module(z, target_of(y, companions), avg_factor=len(z)), 2 * result)
    assert f'k={count + 1}' in repr(module)
    assert not module.state_dict()
    gradient, = torch.autograd.grad(bad_teacher(z.requires_grad_(), y, companions, **WEIGHTS), z)
    torch.testing.assert_close(gradient, expected)
    assert gradient.sum(1).abs().max() < 1e-12


def test_gradient_descent_on_free_logits_ends_bad_but_skillful():
    z, y, companions = case(c=10, count=2)
    z.requires_grad_()
    optimizer = torch.optim.SGD([z], lr=0.3)
    for _ in range(200):
        optimizer.zero_grad()
        (len(z) * bad_teacher(z, y, companions)).backward()
        optimizer.step()
    first_three = z.topk(3, 1).indices
    assert not (first_three[:, 0] == y).any()
    wanted = companions | F.one_hot(y, 10).bool()
    assert torch.equal(torch.zeros_like(wanted).scatter_(1, first_three, True), wanted)


def test_a_classifier_trains_with_it_as_the_loss_of_its_head():
    cfg = classifier(num_classes=5)
    cfg['head']['loss'] = dict(type='wsld_plugin.BadTeacherLoss', k=3)
    model, data = build(cfg).train(), batch()
    y = labels_of(data)
    data['inputs'] = [image.float() / 255 for image in data['inputs']]
    for row, sample in zip(target_of(y, torch.from_numpy(fixed_companions(y.numpy(), 5, 2, 0))),
                           data['data_samples'], strict=True):
        sample.set_gt_score(row)
    wrapper = build_optim_wrapper(model, dict(optimizer=dict(type='SGD', lr=0.01)))
    losses = [model.train_step(data, wrapper)['loss'].item() for _ in range(3)]
    assert losses[-1] < losses[0]


def test_the_targets_of_companions_are_read_in_every_type_and_other_targets_and_classes_are_refused():
    cases = [(k, torch.tensor([3]), torch.arange(1001)[None] > 1001 - k) for k in (39, 964)]  # rounded shares
    cases = [(k, target_of(y, companions), y, companions) for k, y, companions in cases]
    for k in (2, 10):
        data = Companions(Digits(num_samples=20, pipeline=[dict(type='mmpretrain.PackInputs')]), k=k)
        score = torch.stack([data[index]['data_samples'].gt_score for index in range(20)])
        cases.append((k, score, torch.from_numpy(data.given_labels), torch.from_numpy(data.companions)))
    for k, score, y, companions in cases:
        for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
            label, read = read_companions(score.to(dtype), k)
            assert torch.equal(label, y)
            assert torch.equal(read, companions)
    z, y, companions = case()
    one_less = companions.clone()
    one_less[5, one_less[5].nonzero()[0]] = False
    for k, target, message in (
            (4, target_of(y, companions), r'^Sample 0 has companions 2 .*BadTeacherLoss\(k=4\) needs 3 companions of '
                                          r'0.2 each and 0.4 for the label: set k=4 in wsld_plugin\.Companions'),
            (3, target_of(y, one_less), r'^Sample 5 has companions 1 .*k=3\) needs 2 companions'),
            (7, y, 'k=7, but there are 6 classes: expected 2 … 6'),
            (3, y[:3], 'The target has shape'),
            (3, y, r'is given class indices, expected .*wsld_plugin\.Companions.*k=3')):
        with pytest.raises(ConfigError, match=message):
            BadTeacherLoss(k=k)(z, target)
    # targets without one label and equal companions
    for k, row in ((2, [.5, .5, 0, 0]), (3, [.375, .375, .25, 0]), (3, [.4, .3, .3, 0]), (4, [.25] * 4),
                   (2, [1, 0, 0, 0])):
        target = torch.tensor([[2.] + [1.] * (k - 1) + [0.] * (4 - k), row])
        target[0] /= k + 1
        with pytest.raises(ConfigError, match=rf'^Sample 1 has companions .*largest .*k={k}.*mixes or smooths'):
            BadTeacherLoss(k=k)(torch.zeros(2, 4), target)


def test_a_step_is_one_graph_and_asserts_in_it():
    z, y, companions = case(dtype=torch.float32)
    target = target_of(y, companions)
    loss = torch.compile(BadTeacherLoss(k=3), fullgraph=True, backend='aot_eager')
    torch.testing.assert_close(loss(z, target), BadTeacherLoss(k=3)(z, target))
    with pytest.raises(RuntimeError, match='needs 2 companions'):
        loss(z, torch.full_like(target, 1 / 6))


def logits(n=6, c=5, dtype=torch.float64):
    student, teacher = 3 * torch.randn(2, n, c, generator=torch.Generator().manual_seed(n * c), dtype=torch.float64)
    return student.to(dtype), teacher.to(dtype)


@pytest.mark.parametrize('tau', [0.5, 4.0])
def test_partial_label_equals_scipy_its_gradient_is_closed_form_and_the_module_weighs_it(tau):
    for dtype, exact in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        student, teacher = logits(dtype=dtype)
        result = partial_label(student, teacher, tau)
        assert result.dtype == dtype
        plausible = np.exp((teacher - teacher.amax(1, keepdim=True)).double().numpy() / tau)
        expected = -np.log((plausible * softmax(student.double().numpy(), 1)).sum(1)).mean()
        assert result.item() == pytest.approx(expected, rel=exact)
    module = MODELS.build(dict(type='wsld_plugin.PartialLabelLoss', tau=tau, loss_weight=0.5))
    assert repr(module) == f'PartialLabelLoss(tau={tau}, loss_weight=0.5)'
    assert torch.equal(module(student, teacher), 0.5 * result)
    assert not module.state_dict()
    student, teacher = (each.requires_grad_() for each in logits())
    gradient, = torch.autograd.grad(partial_label(student, teacher, tau), student)
    p = student.detach().softmax(1)
    left = p * (teacher.detach() / tau).softmax(1)
    torch.testing.assert_close(gradient, (p - left / left.sum(1, keepdim=True)) / len(p))
    assert teacher.grad is None


def test_partial_label_of_a_set_is_the_log_of_its_probability_of_one_candidate_the_cross_entropy_and_of_all_none():
    student, preferred = logits()
    inside = torch.arange(5) <= torch.arange(6)[:, None] % 5  # sets of one to all classes
    teacher = torch.zeros(6, 5).masked_fill(~inside, -torch.inf)
    expected = -(student.softmax(1) * inside).sum(1).log().mean()
    torch.testing.assert_close(partial_label(student, teacher), expected)
    torch.testing.assert_close(partial_label(student, 7 + teacher, tau=3.0), expected)
    label = preferred.argmax(1)
    one = F.one_hot(label, 5).double().log()
    torch.testing.assert_close(partial_label(student, one), F.cross_entropy(student, label))
    torch.testing.assert_close(partial_label(student, preferred, tau=1e-3), F.cross_entropy(student, label))
    assert abs(partial_label(student, torch.full_like(preferred, 2.0)).item()) < 1e-15


def test_the_minimum_of_partial_label_is_the_label_and_of_kd_the_mean_of_the_sets():
    """Every set of the label 0 and two of the four others, once each: the student's distribution is free."""
    sets = [(0, a, b) for a in range(1, 5) for b in range(1, a)]
    teacher = torch.full((len(sets), 5), math.log(1e-9), dtype=torch.float64)
    for row, members in zip(teacher, sets, strict=True):
        row[list(members)] = 0.0
    found = {}
    for loss in (KD(), PartialLabelLoss()):
        free = torch.zeros(5, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.SGD([free], lr=3.0)
        for _ in range(700):
            optimizer.zero_grad()
            loss(free.expand(len(sets), 5), teacher).backward()
            optimizer.step()
        found[type(loss)] = free.detach().softmax(0)
    torch.testing.assert_close(found[KD], torch.tensor([1 / 3] + [1 / 6] * 4).double(), atol=1e-6, rtol=0)
    assert found[PartialLabelLoss][0] > 0.999


def test_half_precision_is_computed_in_float32_and_extreme_logits_and_impossible_classes_stay_finite():
    for dtype in (torch.bfloat16, torch.float16):
        z, y, companions = case(dtype=dtype)
        assert torch.equal(bad_teacher(z, y, companions), bad_teacher(z.float(), y, companions))
        student, teacher = logits(dtype=dtype)
        assert torch.equal(partial_label(student, teacher, 2.0), partial_label(student.float(), teacher.float(), 2.0))
    for size in (1e4, -1e4):
        z = torch.tensor([[size, 0., 0.], [0., size, 0.]]).requires_grad_()
        loss = bad_teacher(z, torch.tensor([0, 0]), torch.tensor([[False, True, False]] * 2))
        assert loss.isfinite()
        assert torch.autograd.grad(loss, z)[0].isfinite().all()
    student = torch.tensor([[200.0, -200.0, 0.0]], requires_grad=True)
    loss = partial_label(student, torch.tensor([[-torch.inf, 0.0, -torch.inf]]))
    loss.backward()
    assert (loss.item(), student.grad.tolist()) == (400, [[1.0, -1.0, 0.0]])
