import copy
import doctest
import math
import re

import pytest
import torch
from factories import RGB, batch, build, classifier, digits_distillation, distillation, distiller, labels_of, run_cfg
from mmengine.model import BaseDataPreprocessor
from mmengine.registry import MODELS
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from wsld_plugin.errors import ConfigError
from wsld_plugin.losses.functional import kd
from wsld_plugin.teachers import VirtualTeacher, virtual


def samples(targets, name='gt_label'):
    return [DataSample(**{name: target if target.ndim else target[None]}) for target in targets]


def logits(teacher, targets, name='gt_label'):
    return teacher(torch.zeros(len(targets), 3, 2, 2), samples(targets, name))


def distribution(label, c, right):
    """By hand."""
    return [right if k == label else (1 - right) / (c - 1) for k in range(c)]


@pytest.mark.parametrize('c', [2, 5, 100, 21841])
@pytest.mark.parametrize('right', [.99, .5, 1e-3, 'uniform'])
def test_soft_label_is_the_definition(c, right):
    labels = torch.tensor([0, c - 1, 1])
    a = 1 / c if right == 'uniform' else right
    expected = torch.tensor([distribution(y, c, a) for y in labels], dtype=torch.float64)
    prob = logits(VirtualTeacher(c, right, 'prob'), labels)
    log_prob = logits(VirtualTeacher(c, right), labels)
    assert prob.dtype == log_prob.dtype == torch.float32
    torch.testing.assert_close(prob.double(), expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(F.softmax(log_prob.double(), 1), expected, rtol=2e-6, atol=0)
    torch.testing.assert_close(log_prob.double(), expected.log(), rtol=1e-6, atol=0)


@pytest.mark.parametrize('tau', [1.0, 20.0])
def test_tempered_soft_label_is_the_power_and_in_the_code_almost_uniform(tau):
    labels = torch.arange(10)
    p = torch.tensor([distribution(y, 10, .99) for y in labels], dtype=torch.float64)
    power = p ** (1 / tau)
    paper = F.softmax(logits(VirtualTeacher(10), labels) / tau, 1).double()
    torch.testing.assert_close(paper, power / power.sum(1, keepdim=True), rtol=1e-5, atol=0)
    code = F.softmax(logits(VirtualTeacher(10, logits='prob'), labels) / tau, 1)
    assert (code - .1).abs().max() < .14 / tau


@pytest.mark.parametrize('form', ['log_prob', 'prob'])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.float64])
def test_one_hot_rows_equal_indices(form, dtype):
    teacher, labels = VirtualTeacher(10, logits=form), torch.tensor([3, 0, 9])
    rows = logits(teacher, F.one_hot(labels, 10).to(dtype), 'gt_score')
    torch.testing.assert_close(rows.float(), logits(teacher, labels), rtol=1e-5, atol=1e-7)
    assert rows.dtype == torch.promote_types(dtype, torch.float32)


def test_mixed_targets_give_the_mixture_of_the_soft_labels():
    y = torch.tensor([[.7, .3, 0, 0], [.25, .25, .25, .25], [.1, .2, .3, .4]], dtype=torch.float64)
    each = torch.tensor([distribution(k, 4, .9) for k in range(4)], dtype=torch.float64)
    mixture = torch.stack([sum(weight * p for weight, p in zip(row, each, strict=True)) for row in y])
    torch.testing.assert_close(logits(VirtualTeacher(4, .9, 'prob'), y, 'gt_score'), mixture)
    torch.testing.assert_close(logits(VirtualTeacher(4, .9), y, 'gt_score').exp(), mixture)


def test_scores_come_before_labels_as_in_mmpretrains_heads():
    sample = DataSample(gt_label=torch.tensor([0]), gt_score=torch.tensor([0., 1., 0.]))
    assert VirtualTeacher(3)(torch.zeros(1, 3, 2, 2), [sample]).argmax() == 1


def losses_and_gradients(c, right, hard, weight, smoothed):
    """Of the project's pieces, and of PyTorch's soft cross entropy."""
    generator = torch.Generator().manual_seed(c)
    s = torch.randn(6, c, generator=generator, dtype=torch.float64).requires_grad_()
    y = torch.randint(c, (6,), generator=generator)
    t = logits(VirtualTeacher(c, right), y)
    loss = hard * F.cross_entropy(s, y) + weight * kd(s, t)
    expected = smoothed(s, y)
    return loss, expected, *(torch.autograd.grad(x, s, retain_graph=True)[0] for x in (loss, expected))


@pytest.mark.parametrize('c', [2, 10, 1000])
@pytest.mark.parametrize('epsilon', [.1, .5])
def test_uniform_teacher_is_pytorchs_label_smoothing_less_a_constant(c, epsilon):
    loss, expected, gradient, expected_gradient = losses_and_gradients(
        c, 'uniform', 1 - epsilon, epsilon, lambda s, y: F.cross_entropy(s, y, label_smoothing=epsilon))
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-6, atol=1e-9)
    assert (expected - loss).item() == pytest.approx(epsilon * math.log(c), rel=1e-5)


@pytest.mark.parametrize('c', [2, 10, 1000])
def test_a_sure_teacher_is_the_official_label_smoothing_less_its_entropy(c):
    def official(s, y):
        smooth = torch.full(s.shape, .1 / (c - 1), dtype=torch.float64)
        smooth.scatter_(1, y[:, None], .9)
        return -(smooth * F.log_softmax(s, 1)).sum() / len(y)

    loss, expected, gradient, expected_gradient = losses_and_gradients(c, .9, 0.0, 1.0, official)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-5, atol=1e-8)
    entropy = -.9 * math.log(.9) - .1 * math.log(.1 / (c - 1))
    assert (expected - loss).item() == pytest.approx(entropy, rel=1e-5)


def test_a_step_learns_from_it_and_stores_nothing_of_it():
    model = build(distillation(teacher=dict(type='wsld_plugin.VirtualTeacher', num_classes=5),
                               distiller=distiller(dict(type='wsld_plugin.KD', tau=4.0))))
    data = batch()
    prepared = model.data_preprocessor(copy.deepcopy(data), True)
    sum(model(**prepared, mode='loss').values()).backward()
    recorded = model.distiller.teacher_recorders.get_recorder('logits').get_record_data()
    assert torch.equal(recorded.argmax(1), labels_of(data))
    assert all(parameter.grad is not None for parameter in model.student.parameters())
    assert all(name.startswith('architecture.') for name in model.state_dict())


def test_mixed_batches_are_taught():
    mixing = dict(RGB, batch_augments=dict(augments=dict(type='Mixup', alpha=1.0)))
    model = build(distillation(architecture=classifier(data_preprocessor=mixing),
                               teacher=dict(type='wsld_plugin.VirtualTeacher', num_classes=5)))
    assert torch.isfinite(model(**model.data_preprocessor(batch(), True), mode='loss')['distill.loss_soft'])


def test_images_are_not_normalised_for_it_and_may_come_from_any_preprocessor():
    class OfNoKnownKind(BaseDataPreprocessor):
        pass

    student = MODELS.build(classifier())
    student.data_preprocessor = OfNoKnownKind()
    refused = distillation(architecture=student, teacher=classifier(width=8, data_preprocessor=RGB))
    with pytest.raises(ConfigError, match='how a OfNoKnownKind normalises'):
        build(refused)
    virtual_teacher = dict(type='wsld_plugin.VirtualTeacher', num_classes=5)
    assert build(distillation(architecture=student, teacher=virtual_teacher)).renormalize is None


def test_a_run_says_that_it_is_not_validated(tmp_path):
    cfg = run_cfg(tmp_path, digits_distillation(teacher=dict(type='wsld_plugin.VirtualTeacher', num_classes=10)), 1)
    cfg.default_hooks.teacher = dict(type='wsld_plugin.TeacherEvalHook')
    runner = Runner.from_cfg(cfg)
    runner.train()
    log = '\n'.join(path.read_text() for path in tmp_path.glob('*/*.log'))
    assert 'The teacher is not validated: it reads the labels.' in log
    assert 'teacher_metrics' not in runner.message_hub.runtime_info


class Log(TorchDispatchMode):
    """Names of the operations that ran."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize('form', ['log_prob', 'prob'])
def test_no_device_is_waited_for(form):
    # A meta tensor has no values: whatever would wait for one raises.
    teacher = VirtualTeacher(3, logits=form)
    with Log() as log:
        logits(teacher, torch.tensor([0, 1, 2]).to('meta'))
        logits(teacher, torch.full((2, 3), 1 / 3, device='meta'), 'gt_score')
    assert log.names.count('aten._assert_async.msg') == 2
    assert 'aten._local_scalar_dense.default' not in log.names


@pytest.mark.parametrize(('settings', 'message'), [
    (dict(num_classes=None), 'num_classes is None, but the number of the student\'s classes'),
    (dict(num_classes=1), 'num_classes is 1'),
    (dict(num_classes=True), 'num_classes is True'),
    (dict(num_classes='10'), "num_classes is '10'"),
    (dict(correct_prob=1.0), 'correct_prob is 1.0, but a probability between 0 and 1'),
    (dict(correct_prob=0), 'correct_prob is 0'),
    (dict(correct_prob=math.nan), 'correct_prob is nan'),
    (dict(correct_prob='unifrom'), "Did you mean 'uniform'?"),
    (dict(logits='log_probs'), "logits='log_probs', expected one of 'log_prob', 'prob'. Did you mean"),
])
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        VirtualTeacher(**{**dict(num_classes=10), **settings})


@pytest.mark.parametrize('wrong', [10, -1, -100])
def test_a_label_out_of_range_is_refused(wrong):
    with pytest.raises(ValueError, match=f'class {wrong}, but logits of 10 classes need indices from 0 to 9'):
        logits(VirtualTeacher(10), torch.tensor([0, wrong]))


@pytest.mark.parametrize(('data_samples', 'message'), [
    (None, 'no data samples'),
    ([], 'no data samples'),
    ([DataSample(), DataSample()], 'data samples without gt_label'),
    ([DataSample().set_gt_score([.5, .5]), DataSample().set_gt_label(1)], 'data samples without gt_score'),
    ([DataSample().set_gt_label([0, 1]), DataSample().set_gt_label(1)], 'shape (3,)'),
    ([DataSample().set_gt_label(0)], 'shape (1,)'),
    ([DataSample().set_gt_score([.5, .5, .5])] * 2, 'Sample 0 has sum 1.5'),
    ([DataSample().set_gt_score([.5, .5])] * 2, 'shape (2, 2)'),
])
def test_samples_without_a_fitting_target_are_refused(data_samples, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        VirtualTeacher(3)(torch.zeros(2, 3, 2, 2), data_samples)


@pytest.mark.parametrize('mode', ['predict', 'loss'])
def test_it_does_nothing_but_teach(mode):
    with pytest.raises(NotImplementedError, match=f"mode='{mode}': a VirtualTeacher"):
        VirtualTeacher(3)(torch.zeros(1, 3, 2, 2), samples(torch.tensor([0])), mode=mode)


def test_docstring_examples_hold():
    result = doctest.testmod(virtual)
    assert result.attempted >= 2
    assert result.failed == 0
