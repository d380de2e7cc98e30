import math
import re

import pytest
import torch
from factories import batch, build, classifier
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS
from mmpretrain.models.utils.batch_augments import CutMix, Mixup
from torch.utils._python_dispatch import TorchDispatchMode

from wsld_plugin.datasets import Digits
from wsld_plugin.datasets.keyed import seeded
from wsld_plugin.datasets.weak import Companions
from wsld_plugin.datasets.weak import companion_sets as fixed_companions
from wsld_plugin.errors import ConfigError
from wsld_plugin.losses.bad_teacher import BadTeacherLoss, bad_teacher, draw_companions, read_companions

WEIGHTS = dict(punish=2.0, compensate=3.0, random=0.5, punish_margin=0.7, compensate_margin=0.4)


def case(n=8, c=6, count=2, dtype=torch.float64):
    generator = torch.Generator().manual_seed(n * c + count)
    z = 2 * torch.randn(n, c, generator=generator, dtype=torch.float64)
    y = torch.randint(c, (n,), generator=generator)
    return z.to(dtype), y, torch.from_numpy(fixed_companions(y.numpy(), c, count, 0))


def loop(z, y, companions, punish, compensate, random, punish_margin, compensate_margin):
    """From the docstring, a number at a time."""
    total = 0.0
    for row, label, of_row in zip(z.tolist(), y.tolist(), companions.tolist(), strict=True):
        wrong = [c for c in range(len(row)) if c != label]
        beside = [c for c in wrong if of_row[c]]
        others = [c for c in wrong if not of_row[c]]
        total += math.log(math.fsum(math.exp(value - row[label]) for value in row))
        total += punish * max(0.0, punish_margin + row[label] - max(row[c] for c in beside))
        total += compensate * max([0.0] + [compensate_margin + row[c] - row[label] for c in others])
        log_sum = math.log(math.fsum(math.exp(row[c]) for c in wrong))
        total += random * sum(log_sum - row[c] for c in beside) / len(beside)
    return total / len(z)


@pytest.mark.parametrize('count', [1, 2, 4, 5])
@pytest.mark.parametrize('dtype', [torch.float64, torch.float32])
def test_loss_equals_loop(count, dtype):
    z, y, companions = case(count=count, dtype=dtype)
    result = bad_teacher(z, y, companions, **WEIGHTS)
    assert result.dtype == dtype
    exact = 1e-12 if dtype == torch.float64 else 1e-5
    assert result.item() == pytest.approx(loop(z, y, companions, **WEIGHTS), rel=exact)


@pytest.mark.parametrize('count', [1, 2, 5])
def test_gradient_is_closed_form_and_each_row_sums_to_zero(count):
    z, y, companions = case(count=count)
    gradient, = torch.autograd.grad(bad_teacher(z.requires_grad_(), y, companions, **WEIGHTS), z)
    one = torch.eye(z.shape[1]).double()
    expected = torch.softmax(z.detach(), 1) - one[y]
    wrong_share = torch.exp(z.detach()) * (1 - one[y])
    placed = wrong_share / wrong_share.sum(1, keepdim=True) - companions.double() / count
    expected += WEIGHTS['random'] * placed
    for i, (row, label, of_row) in enumerate(zip(z.tolist(), y.tolist(), companions.tolist(), strict=True)):
        wrong = [c for c in range(len(row)) if c != label]
        first = max((c for c in wrong if of_row[c]), key=row.__getitem__)
        if row[first] < row[label] + WEIGHTS['punish_margin']:
            expected[i] += WEIGHTS['punish'] * (one[label] - one[first])
        best = max((c for c in wrong if not of_row[c]), key=row.__getitem__, default=None)
        if best is not None and row[best] > row[label] - WEIGHTS['compensate_margin']:
            expected[i] += WEIGHTS['compensate'] * (one[best] - one[label])
    torch.testing.assert_close(gradient, expected / len(z))
    assert gradient.sum(1).abs().max() < 1e-12


def test_gradient_passes_gradcheck():
    z, y, companions = case()
    assert torch.autograd.gradcheck(lambda z: bad_teacher(z, y, companions, **WEIGHTS), z.requires_grad_())


def test_label_and_companions_in_their_places_by_the_margin_are_not_punished():
    y = torch.tensor([0, 2])
    companions = torch.tensor([[False, True, False, False], [True, False, False, False]])
    z = torch.tensor([[2., 3.5, 0., 0.], [4., 1., 2., -1.]], dtype=torch.float64)
    none = dict(WEIGHTS, punish=0., compensate=0.)
    assert bad_teacher(z, y, companions, **WEIGHTS) == bad_teacher(z, y, companions, **none)


@pytest.mark.parametrize(('place', 'value', 'term', 'expected'), [
    (0, 9., 'punish', .7 + 9 - 4), (2, 3., 'compensate', .4 + 3 - 2), (3, 2.5, 'compensate', .4 + 2.5 - 2)])
def test_a_class_in_a_wrong_place_costs_what_it_lacks(place, value, term, expected):
    y, companions = torch.tensor([0]), torch.tensor([[False, True, False, False]])
    z = torch.tensor([[2., 4., 0., 0.]], dtype=torch.float64)
    z[0, place] = value
    without = {**WEIGHTS, term: 0.0}
    cost = bad_teacher(z, y, companions, **{**without, term: 1.0}) - bad_teacher(z, y, companions, **without)
    assert cost.item() == pytest.approx(expected)


def test_moving_the_label_alone_does_not_change_where_the_companions_are_drawn():
    z, y, companions = case()
    moved = z + 3.0 * torch.nn.functional.one_hot(y, z.shape[1])
    only = dict(punish=0.0, compensate=0.0)
    placed = [bad_teacher(logits, y, companions, random=1.0, **only)
              - bad_teacher(logits, y, companions, random=0.0, **only) for logits in (z, moved)]
    torch.testing.assert_close(placed[0], placed[1])


def test_half_precision_is_computed_in_float32():
    z, y, companions = case(dtype=torch.bfloat16)
    assert torch.equal(bad_teacher(z, y, companions), bad_teacher(z.float(), y, companions))


@pytest.mark.parametrize('size', [1e4, -1e4])
def test_extreme_logits_stay_finite(size):
    z = torch.tensor([[size, 0., 0.], [0., size, 0.]]).requires_grad_()
    loss = bad_teacher(z, torch.tensor([0, 0]), torch.tensor([[False, True, False]] * 2))
    assert loss.isfinite()
    assert torch.autograd.grad(loss, z)[0].isfinite().all()


def test_gradient_descent_on_free_logits_ends_bad_but_skillful():
    z, y, companions = case(c=10, count=2)
    z.requires_grad_()
    optimizer = torch.optim.SGD([z], lr=0.1)
    for _ in range(600):
        optimizer.zero_grad()
        (len(z) * bad_teacher(z, y, companions)).backward()
        optimizer.step()
    first_three = z.topk(3, 1).indices
    assert not (first_three[:, 0] == y).any()
    wanted = companions | torch.nn.functional.one_hot(y, 10).bool()
    assert torch.equal(torch.zeros_like(wanted).scatter_(1, first_three, True), wanted)


def target_of(y, companions):
    score = companions.float()
    score[torch.arange(len(y)), y] = 2
    return score / score.sum(1, keepdim=True)


def test_module_reads_label_and_companions_from_a_target_of_probabilities():
    z, y, companions = case()
    loss = BadTeacherLoss(k=3, loss_weight=2.0, **WEIGHTS)(z, target_of(y, companions), avg_factor=len(z))
    torch.testing.assert_close(loss, 2 * bad_teacher(z, y, companions, **WEIGHTS))


@pytest.mark.parametrize('k', [2, 3, 10])
def test_the_targets_of_companions_are_read_as_they_were_drawn_in_every_type(k):
    data = Companions(Digits(num_samples=50, pipeline=[dict(type='mmpretrain.PackInputs')]), k=k)
    score = torch.stack([data[index]['data_samples'].gt_score for index in range(50)])
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        label, companions = read_companions(score.to(dtype), k)
        assert torch.equal(label, torch.from_numpy(data.given_labels))
        assert torch.equal(companions, torch.from_numpy(data.companions))


@pytest.mark.parametrize('k', range(2, 1001, 37))
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_rounded_shares_of_any_k_are_read(k, dtype):
    y = torch.tensor([3])
    companions = torch.arange(1001)[None] > 1001 - k
    label, read = read_companions(target_of(y, companions).to(dtype), k)
    assert label == y
    assert torch.equal(read, companions)


def test_for_indices_companions_are_drawn_from_the_seeded_generator():
    z, y, _ = case(n=64)
    loss = BadTeacherLoss(k=3)
    draws = [(torch.manual_seed(seed), loss(z, y).item())[1] for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


def test_drawn_companions_are_wrong_classes_each_as_often_as_the_others():
    torch.manual_seed(0)
    y = torch.arange(20000) % 4
    drawn = draw_companions(y, 4, 2)
    assert (drawn.sum(1) == 2).all()
    assert not drawn[torch.arange(len(y)), y].any()
    for label in range(4):
        shares = drawn[y == label].double().mean(0)
        assert (shares[torch.arange(4) != label] - 2 / 3).abs().max() < 0.04  # six standard deviations


def test_a_classifier_trains_with_it_as_the_loss_of_its_head():
    cfg = classifier(num_classes=5)
    cfg['head']['loss'] = dict(type='wsld_plugin.BadTeacherLoss', k=3)
    model, data = build(cfg).train(), batch()
    y = torch.cat([sample.gt_label for sample in data['data_samples']])
    data['inputs'] = [image.float() / 255 for image in data['inputs']]
    for row, sample in zip(target_of(y, torch.from_numpy(fixed_companions(y.numpy(), 5, 2, 0))),
                           data['data_samples'], strict=True):
        sample.set_gt_score(row)
    wrapper = build_optim_wrapper(model, dict(optimizer=dict(type='SGD', lr=0.01)))
    losses = [model.train_step(data, wrapper)['loss'].item() for _ in range(8)]
    assert losses[-1] < losses[0]


def test_config_builds_the_module_from_any_scope():
    module = MODELS.build(dict(type='wsld_plugin.BadTeacherLoss', k=4, punish_margin=0.5))
    assert 'k=4' in repr(module)
    assert not module.state_dict()


@pytest.mark.parametrize(('settings', 'message'), [
    (dict(k=1), 'k is 1, expected 2 or more'),
    (dict(k=2.0), 'k is 2.0'),
    (dict(compensate_margin=-1), 'compensate_margin is -1, expected a number ≥ 0'),
    (dict(random=math.nan), 'random is nan'),
])
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        BadTeacherLoss(**settings)


def test_targets_and_classes_that_do_not_fit_are_refused():
    z, y, companions = case()
    message = (r'^Sample 0 has companions 2 .*BadTeacherLoss\(k=4\) takes 3 companions of 0.2 each and 0.4 for the '
               r'label: give wsld_plugin\.Companions k=4')
    with pytest.raises(ConfigError, match=message):
        BadTeacherLoss(k=4)(z, target_of(y, companions))
    one_less = companions.clone()
    one_less[5, one_less[5].nonzero()[0]] = False
    with pytest.raises(ConfigError, match=r'^Sample 5 has companions 1 .*k=3\) takes 2 companions'):
        BadTeacherLoss(k=3)(z, target_of(y, one_less))
    with pytest.raises(ConfigError, match='k=7, but there are 6 classes: expected 2 … 6'):
        BadTeacherLoss(k=7)(z, y)
    with pytest.raises(ConfigError, match='The target has shape'):
        BadTeacherLoss(k=3)(z, y[:3])


@pytest.mark.parametrize(('k', 'row'), [
    (2, [.5, .5, 0, 0]), (3, [.375, .375, .25, 0]), (3, [.5, .3, .2, 0]), (3, [.4, .3, .3, 0]), (4, [.25] * 4),
    (4, [.7, .1, .1, .1]), (2, [1, 0, 0, 0])])
def test_a_target_that_has_no_one_label_and_equal_companions_is_refused(k, row):
    first = torch.zeros(4)
    first[:k] = 1 / (k + 1)
    first[0] *= 2
    target = torch.stack([first, torch.tensor(row)])
    with pytest.raises(ConfigError, match=rf'^Sample 1 has companions .*largest .*k={k}.*mixes or smooths targets'):
        BadTeacherLoss(k=k)(torch.zeros(2, 4), target)


@pytest.mark.parametrize('method', [Mixup, CutMix])
def test_mixed_batches_are_refused(method):
    z, y, companions = case()
    with seeded('mixed'):
        _, mixed = method(alpha=1.0)(torch.rand(8, 3, 8, 8), target_of(y, companions))
    with pytest.raises(ConfigError, match='mixes or smooths'):
        BadTeacherLoss(k=3)(z, mixed)


@pytest.mark.parametrize('wrong', [6, -1, -100])
def test_a_class_out_of_range_is_refused(wrong):
    z, y, _ = case()
    y[2] = wrong
    with pytest.raises(ConfigError, match=f'class {wrong}, but logits of 6 classes need indices from 0 to 5'):
        BadTeacherLoss(k=3)(z, y)


@pytest.mark.parametrize('asserts', [1, 2])
def test_nothing_is_read_from_the_device_and_values_are_asserted(asserts):
    z, y, companions = case(dtype=torch.float32)
    target = y if asserts == 1 else target_of(y, companions)
    operations = []

    class Log(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            operations.append(str(function))
            return function(*args, **(kwargs or {}))

    # a meta tensor has no values: whatever would wait for one, or make a shape of them, raises
    z = z.to('meta').requires_grad_()
    with Log():
        BadTeacherLoss(k=3)(z, target.to('meta')).backward()
    assert z.grad.shape == z.shape
    assert operations.count('aten._assert_async.msg') == asserts
    assert not {'aten._local_scalar_dense.default', 'aten.nonzero.default'} & set(operations)


@pytest.mark.parametrize('soft', [False, True])
def test_a_step_is_one_graph_and_asserts_in_it(soft):
    z, y, companions = case(dtype=torch.float32)
    target = target_of(y, companions) if soft else y
    loss = torch.compile(BadTeacherLoss(k=3), fullgraph=True, backend='aot_eager')
    results = [(torch.manual_seed(0), each(z, target))[1] for each in (loss, BadTeacherLoss(k=3))]
    torch.testing.assert_close(*results)
    wrong = torch.full_like(target, 1 / 6) if soft else torch.full_like(target, 6)
    with pytest.raises((RuntimeError, IndexError)):
        loss(z, wrong)
