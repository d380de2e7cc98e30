import pytest
import torch

from wsld_plugin.errors import ConfigError
from wsld_plugin.losses import KD, WSLD
from wsld_plugin.losses.functional import kd, wsld
from wsld_plugin.losses.regularization import regularization_samples


def case(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    student, teacher = 3 * torch.randn(2, 40, 6, generator=generator, dtype=dtype)
    return student, teacher, torch.randint(6, (40,), generator=generator)


def per_sample(kind, student, teacher, target):
    if kind is KD:
        return kd(student, teacher, 2.0, 'none')
    return wsld(student, teacher, target, 2.0, 'none')


@pytest.mark.parametrize('kind', [KD, WSLD])
@pytest.mark.parametrize('reading', ['label', 'row'])
@pytest.mark.parametrize(('regularization', 'others'), [(0, 1), (.5, 1), (1, 0), (.3, 2)])
def test_each_group_has_its_factor_and_the_mean_divides_by_all(kind, reading, regularization, others):
    student, teacher, target = case()
    chosen = regularization_samples(student, teacher, target, 2.0, reading)
    values = per_sample(kind, student, teacher, target)
    expected = .9 / 40 * (regularization * values[chosen].sum() + others * values[~chosen].sum())
    loss = kind(2.0, .9, samples=dict(reading=reading, regularization=regularization, others=others))
    assert loss(student, teacher, target).item() == pytest.approx(expected.item(), rel=1e-12)
    assert 0 < chosen.sum() < 40


@pytest.mark.parametrize('kind', [KD, WSLD])
def test_a_dropped_sample_has_no_gradient_and_the_others_keep_theirs(kind):
    student, teacher, target = case()
    student.requires_grad_()
    chosen = regularization_samples(student, teacher, target, 2.0)
    plain, = torch.autograd.grad(kind(2.0)(student, teacher, target), student)
    dropped, = torch.autograd.grad(kind(2.0, samples=dict(regularization=0))(student, teacher, target), student)
    assert not dropped[chosen].any()
    torch.testing.assert_close(dropped[~chosen], plain[~chosen])


def infinite_case(regularization):
    """As ``case``, with one sample of infinite loss that is a regularization sample or is not."""
    student, teacher, target = case()
    for row in range(40):
        infinite = student.clone()
        infinite[row, (target[row] + 1) % 6] = -torch.inf
        chosen = regularization_samples(infinite, teacher, target, 2.0)
        if chosen[row] == regularization:
            return infinite, teacher, target, chosen
    raise AssertionError


@pytest.mark.parametrize('kind', [KD, WSLD])
@pytest.mark.parametrize('dropped', ['regularization', 'others'])
def test_a_dropped_sample_of_infinite_loss_gives_nothing(kind, dropped):
    student, teacher, target, chosen = infinite_case(dropped == 'regularization')
    kept = chosen == (dropped == 'others')
    values = per_sample(kind, student.requires_grad_(), teacher, target)
    assert values.isinf().sum() == values[~kept].isinf().sum() == 1
    loss = kind(2.0, samples={dropped: 0})(student, teacher, target)
    assert loss.item() == pytest.approx(values[kept].sum().item() / 40, rel=1e-12)
    gradient, = torch.autograd.grad(loss, student)
    torch.testing.assert_close(gradient, torch.autograd.grad(values[kept].sum() / 40, student)[0])
    assert not gradient[~kept].any()


@pytest.mark.parametrize('dropped', ['regularization', 'others'])
def test_an_infinite_loss_that_is_not_dropped_stays_and_nan_is_never_hidden(dropped):
    student, teacher, target, _ = infinite_case(dropped == 'others')
    loss = KD(2.0, samples={dropped: 0})
    assert loss(student, teacher, target) == torch.inf
    assert loss(student.index_fill(0, torch.tensor([5]), torch.nan), teacher, target).isnan()


@pytest.mark.parametrize('kind', [KD, WSLD])
def test_factors_of_1_change_nothing_but_rounding(kind):
    student, teacher, target = case()
    torch.testing.assert_close(kind(2.0, samples={})(student, teacher, target), kind(2.0)(student, teacher, target))


@pytest.mark.parametrize('kind', [KD, WSLD])
def test_half_precision_and_probabilities_are_accepted(kind):
    student, teacher, target = case(torch.bfloat16)
    mixed = torch.full((40, 6), .02).scatter_(1, target[:, None], .9)
    loss = kind(2.0, samples=dict(regularization=0))(student, teacher, mixed)
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)


def test_kd_without_labels_says_what_to_add():
    student, teacher, _ = case()
    with pytest.raises(ConfigError, match=r"gt_labels=dict\(recorder='target'"):
        KD(2.0, samples=dict(regularization=0))(student, teacher)


@pytest.mark.parametrize(('samples', 'message'), [
    (dict(regularisation=0), "Did you mean 'regularization'"),
    (dict(reading='rows'), "Did you mean 'row'"),
    (dict(others=-1), 'factor ≥ 0'),
    (dict(others='0.5'), 'finite number'),
    ('label', r'None or a dict')])
@pytest.mark.parametrize('kind', [KD, WSLD])
def test_wrong_settings_are_refused_when_the_loss_is_built(kind, samples, message):
    with pytest.raises(ConfigError, match=message):
        kind(samples=samples)


@pytest.mark.parametrize('kind', [KD, WSLD])
def test_printed_module_shows_them(kind):
    assert repr(kind(4.0, samples=dict(regularization=.5))) == (
        f"{kind.__name__}(tau=4.0, loss_weight=1.0, "
        "samples={'reading': 'label', 'regularization': 0.5, 'others': 1.0})")
