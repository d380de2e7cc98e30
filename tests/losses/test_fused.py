"""The fused pass is the plain formula that autograd would follow, whatever its chunks, types and transformations."""
import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from wsld_plugin.losses import fused
from wsld_plugin.losses.functional import kd, wsld, wsld_weights

# What a loss takes beside the logits, by the kind of target that it is given.
KINDS = dict(kd=lambda y, c: (),
             indices=lambda y, c: (y,),
             probabilities=lambda y, c: (.9 * F.one_hot(y, c) + .1 / c,),
             teacher_ce=lambda y, c: (y, (1 + y.double()) / c))
each_kind = pytest.mark.parametrize('kind', KINDS)
# torch: dynamo instantiates an autograd function and warns of it
compiles = pytest.mark.filterwarnings('ignore:.*should not be instantiated:DeprecationWarning')


def case(kind, n=7, c=10, dtype=torch.float64, scale=3.0):
    """Logits of the student, and the loss of it per sample as the function under test and as autograd's formula."""
    generator = torch.Generator().manual_seed(n * c)
    s, t = scale * torch.randn(2, n, c, generator=generator, dtype=torch.float64)
    s, t, y = s.to(dtype), t.to(dtype), torch.randint(c, (n,), generator=generator)
    extra = KINDS[kind](y, c)

    def loss(s, tau=2.0):
        if kind == 'kd':
            return kd(s, t, tau, 'none', student_tau=1.5 * tau)
        return wsld(s, t, extra[0], tau, 'none', *extra[1:])

    def plain(s, tau=2.0):
        s, teacher = s.double(), t.double()
        p = F.softmax(teacher / tau, 1)
        if kind == 'kd':
            return tau**2 * (p * (p.log() - F.log_softmax(s / (1.5 * tau), 1))).sum(1)
        weights = wsld_weights(s, teacher, extra[0])
        if len(extra) > 1:
            weights = 1 - torch.exp(-F.cross_entropy(s, y, reduction='none').detach() / (extra[1] + 1e-7))
        return tau**2 * weights * F.cross_entropy(s / tau, p, reduction='none')

    return s.requires_grad_(), loss, plain


def gradient(loss, s, per_sample=None):
    values = loss(s)
    return torch.autograd.grad(values, s, torch.ones_like(values) if per_sample is None else per_sample)[0]


@each_kind
@pytest.mark.parametrize('tau', [0.5, 1.0, 4.0])
def test_value_and_gradient_are_those_of_the_plain_formula(kind, tau):
    s, loss, plain = case(kind)
    torch.testing.assert_close(loss(s, tau), plain(s, tau), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(gradient(lambda s: loss(s, tau), s), gradient(lambda s: plain(s, tau), s))


@each_kind
@pytest.mark.parametrize(('n', 'c', 'dtype'), [(2, 140_000, torch.float32), (270, 1000, torch.bfloat16)])
def test_more_logits_than_are_taken_at_once_are_as_exact(kind, n, c, dtype):
    assert n * c > fused._AT_ONCE
    s, loss, plain = case(kind, n, c, dtype)
    torch.testing.assert_close(loss(s).double(), plain(s), rtol=1e-5, atol=1e-5)
    tolerance = dict(rtol=1e-4, atol=1e-8) if dtype == torch.float32 else dict(rtol=1e-2, atol=1e-6)
    torch.testing.assert_close(gradient(loss, s), gradient(plain, s), **tolerance)


@each_kind
@pytest.mark.parametrize('at_once', [1, 20, 35, 60])
def test_how_many_samples_are_taken_at_once_changes_nothing(kind, at_once, monkeypatch):
    s, loss, _ = case(kind)
    weights = torch.arange(7).double()
    whole, whole_gradient = loss(s), gradient(loss, s, weights)
    monkeypatch.setattr(fused, '_AT_ONCE', at_once)
    torch.testing.assert_close(loss(s), whole, rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(loss(s.detach()), whole.detach(), rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(gradient(loss, s, weights), whole_gradient, rtol=1e-14, atol=1e-15)


@each_kind
@pytest.mark.parametrize('at_once', [fused._AT_ONCE, 20])
def test_second_derivative_is_that_of_the_plain_formula(kind, at_once, monkeypatch):
    monkeypatch.setattr(fused, '_AT_ONCE', at_once)
    s, loss, plain = case(kind)
    direction = torch.sin(torch.arange(s.numel()).double()).view_as(s)
    products = []
    for each in (loss, plain):
        first = torch.autograd.grad(each(s).square().sum(), s, create_graph=True)[0]
        products.append(torch.autograd.grad(first, s, direction)[0])
    torch.testing.assert_close(*products)


def test_gradients_pass_the_numerical_check():
    s, t = 3 * torch.randn(2, 4, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y, certain = torch.tensor([0, 1, 2, 3]), torch.zeros(4)    # a certain teacher: every weight is 1
    s.requires_grad_()
    for loss in (lambda s: wsld(s, t, y, 2.0, 'none', certain), lambda s: kd(s, t, 2.0, 'none', 0.5)):
        assert torch.autograd.gradcheck(loss, s)
        assert torch.autograd.gradgradcheck(loss, s)


@each_kind
def test_backward_can_run_again(kind):
    s, loss, _ = case(kind)
    value = loss(s).sum()
    first = torch.autograd.grad(value, s, retain_graph=True)[0]
    assert torch.equal(torch.autograd.grad(4 * value, s)[0], 4 * first)


@each_kind
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_beside_the_student_one_tensor_of_logits_stays(kind, dtype):
    s, loss, _ = case(kind, 8, 1000, dtype)
    kept = []

    def pack(tensor):
        if tensor.ndim == 2 and tensor.data_ptr() != s.data_ptr():
            kept.append((tensor.shape, tensor.dtype))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss(s)
    assert kept == [(s.shape, torch.float32)]


class Names(TorchDispatchMode):
    """Names of the operations that ran."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@each_kind
@pytest.mark.parametrize('at_once', [fused._AT_ONCE, 20])
def test_no_gradient_is_computed_that_nobody_wants(kind, at_once, monkeypatch):
    monkeypatch.setattr(fused, '_AT_ONCE', at_once)
    s, loss, _ = case(kind)
    with Names() as wanted:
        value = loss(s)
    with Names() as without_grad, torch.no_grad():
        assert torch.equal(loss(s), value)
    with Names() as detached:
        assert not loss(s.detach()).requires_grad
    for names in (without_grad, detached):
        chunks = 1 if at_once > s.numel() else 4
        assert names.seen.count('sub_') == wanted.seen.count('sub_') - chunks
        assert names.seen.count('empty') == wanted.seen.count('empty') - (chunks > 1)


def test_small_gradients_in_float16_survive_until_a_loss_scale_lifts_them():
    generator = torch.Generator().manual_seed(0)
    s, t = torch.randn(2, 2, 5000, generator=generator)
    s, t = s.half().requires_grad_(), (s + 1e-3 * t).half()
    scale = 2.0**16
    found = torch.autograd.grad(scale * kd(s, t, reduction='sum'), s)[0]
    exact = scale * (F.softmax(s.double(), 1) - F.softmax(t.double(), 1))
    assert (exact / scale).abs().max() < torch.finfo(torch.float16).tiny
    torch.testing.assert_close(found.double(), exact, rtol=2e-2, atol=2e-3)
    assert found.count_nonzero() > .9 * s.ne(t).count_nonzero()


@each_kind
def test_logits_and_gradients_of_any_strides_are_as_good(kind):
    s, loss, _ = case(kind)
    strided = torch.stack([s, s], 2).detach()[..., 0].T.contiguous().T.requires_grad_()
    assert not strided.is_contiguous()
    weights = torch.arange(14).double()[::2]
    assert torch.equal(loss(strided), loss(s))
    assert torch.equal(gradient(loss, strided, weights), gradient(loss, s, weights.contiguous()))


@each_kind
@pytest.mark.parametrize('value', [float('nan'), float('inf'), float('-inf')])
@pytest.mark.parametrize('owner', ['student', 'teacher'])
def test_logits_that_are_not_finite_give_a_loss_that_is_not_in_their_row(kind, value, owner):
    s, t = torch.randn(2, 7, 10, generator=torch.Generator().manual_seed(0))
    y = torch.arange(7)
    extra = KINDS[kind](y, 10)
    (s if owner == 'student' else t)[2, 2] = value
    s.requires_grad_()
    values = kd(s, t, 2.0, 'none') if kind == 'kd' else wsld(s, t, extra[0], 2.0, 'none', *extra[1:])
    rest = torch.arange(7) != 2
    assert values[rest].isfinite().all()
    # A teacher may rule a class out; its part of a cross entropy is 0, of a divergence 0 · inf.
    ruled_out = owner == 'teacher' and value == float('-inf') and kind != 'kd'
    assert values[2].isfinite() == ruled_out


@compiles
@each_kind
def test_compiled_as_one_graph_it_is_the_same(kind):
    s, loss, _ = case(kind)
    torch.compiler.reset()
    compiled = torch.compile(lambda s: loss(s).mean(), fullgraph=True, backend='aot_eager')
    torch.testing.assert_close(compiled(s), loss(s).mean())
    torch.testing.assert_close(gradient(compiled, s), gradient(lambda s: loss(s).mean(), s))
    with torch.no_grad():
        torch.testing.assert_close(compiled(s), loss(s).mean())


@compiles
def test_compiled_it_still_refuses_a_target_that_is_wrong():
    s, t = torch.randn(2, 3, 4)
    torch.compiler.reset()
    compiled = torch.compile(wsld, fullgraph=True, backend='aot_eager')
    with pytest.raises(IndexError, match='Target 4 is out of bounds'):
        compiled(s, t, torch.tensor([0, 4, 1]))
    with pytest.raises(RuntimeError, match='must be probabilities'):
        compiled(s, t, torch.ones(3, 4))
