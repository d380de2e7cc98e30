import copy
import doctest
import math
import re
from functools import partial

import pytest
import torch
from factories import OperationLog, batch, build, classifier, digits_distillation, distillation, distiller, run_cfg
from mmengine.model import BaseDataPreprocessor
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from torch.nn import functional as F

from wsld_plugin.errors import ConfigError
from wsld_plugin.losses.functional import kd
from wsld_plugin.teachers import GivenTeacher, VirtualTeacher, from_labels

VIRTUAL = dict(type='wsld_plugin.VirtualTeacher', num_classes=5)


def samples(targets, name='gt_label'):
    return [DataSample(**{name: target if target.ndim else target[None]}) for target in targets]


def logits(teacher, targets, name='gt_label'):
    return teacher(torch.zeros(len(targets), 3, 2, 2), samples(targets, name))


def distribution(label, c, right):
    """By hand."""
    return [right if k == label else (1 - right) / (c - 1) for k in range(c)]


@pytest.mark.parametrize(('c', 'right'), [(2, .99), (5, .5), (100, 'uniform'), (21841, 1e-3)])
def test_the_virtual_soft_label_is_its_definition(c, right):
    labels = torch.tensor([0, c - 1, 1])
    a = 1 / c if right == 'uniform' else right
    expected = torch.tensor([distribution(y, c, a) for y in labels], dtype=torch.float64)
    prob = logits(VirtualTeacher(c, right, 'prob'), labels)
    log_prob = logits(VirtualTeacher(c, right), labels)
    assert prob.dtype == log_prob.dtype == torch.float32
    torch.testing.assert_close(prob.double(), expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(F.softmax(log_prob.double(), 1), expected, rtol=2e-6, atol=0)
    torch.testing.assert_close(log_prob.double(), expected.log(), rtol=1e-6, atol=0)


def test_mixed_targets_give_the_mixture_of_the_soft_labels_one_hot_rows_that_of_their_label_in_every_type():
    y = torch.tensor([[.7, .3, 0, 0], [.25, .25, .25, .25], [.1, .2, .3, .4]], dtype=torch.float64)
    each = torch.tensor([distribution(k, 4, .9) for k in range(4)], dtype=torch.float64)
    mixture = torch.stack([sum(weight * p for weight, p in zip(row, each, strict=True)) for row in y])
    labels = torch.tensor([3, 0, 2])
    for form, of_form in (('prob', lambda p: p), ('log_prob', torch.log)):
        teacher = VirtualTeacher(4, .9, form)
        torch.testing.assert_close(logits(teacher, y, 'gt_score'), of_form(mixture))
        for dtype in (torch.float32, torch.float16, torch.float64):
            rows = logits(teacher, F.one_hot(labels, 4).to(dtype), 'gt_score')
            torch.testing.assert_close(rows.float(), logits(teacher, labels), rtol=1e-5, atol=1e-7)
            assert rows.dtype == torch.promote_types(dtype, torch.float32)
        exact = teacher(torch.zeros(3, 1, 2, 2).double(), samples(labels))
        torch.testing.assert_close(exact, rows, rtol=1e-13, atol=0)
    both = DataSample(gt_label=torch.tensor([0]), gt_score=torch.tensor([0., 1., 0.]))  # as in mmpretrain's heads
    assert VirtualTeacher(3)(torch.zeros(1, 3, 2, 2), [both]).argmax() == 1


@pytest.mark.parametrize('c', [2, 1000])
def test_virtual_teachers_are_label_smoothing_up_to_a_constant(c):
    def official(s, y):
        smooth = torch.full(s.shape, .1 / (c - 1), dtype=torch.float64)
        smooth.scatter_(1, y[:, None], .9)
        return -(smooth * F.log_softmax(s, 1)).sum() / len(y)

    generator = torch.Generator().manual_seed(c)
    s = torch.randn(6, c, generator=generator, dtype=torch.float64).requires_grad_()
    y = torch.randint(c, (6,), generator=generator)
    entropy = -.9 * math.log(.9) - .1 * math.log(.1 / (c - 1))
    pytorchs = partial(F.cross_entropy, label_smoothing=.3)
    for right, weight, smoothed, constant in (('uniform', .3, pytorchs, .3 * math.log(c)),
                                              (.9, 1., official, entropy)):
        loss = (1 - weight) * F.cross_entropy(s, y) + weight * kd(s, logits(VirtualTeacher(c, right), y))
        expected = smoothed(s, y)
        gradient, expected_gradient = (torch.autograd.grad(x, s)[0] for x in (loss, expected))
        torch.testing.assert_close(gradient, expected_gradient, rtol=1e-5, atol=1e-8)
        assert (expected - loss).item() == pytest.approx(constant, rel=1e-5)


def test_images_are_mixed_but_not_normalised_for_it_and_may_come_from_any_preprocessor():
    mixing = dict(mean=[0.0] * 3, std=[1.0] * 3, batch_augments=dict(augments=dict(type='Mixup', alpha=1.0)))
    model = build(distillation(architecture=classifier(data_preprocessor=mixing), teacher=VIRTUAL))
    assert torch.isfinite(model(**model.data_preprocessor(batch(), True), mode='loss')['distill.loss_soft'])
    student = build(classifier())
    student.data_preprocessor = type('OfNoKnownKind', (BaseDataPreprocessor,), {})()
    with pytest.raises(ConfigError, match='how a OfNoKnownKind normalises'):
        build(distillation(architecture=student, teacher=classifier(data_preprocessor=dict(mean=[0.0], std=[1.0]))))
    for kind in ('VirtualTeacher', 'GivenTeacher'):
        model = build(distillation(architecture=student, teacher=dict(VIRTUAL, type=f'wsld_plugin.{kind}')))
        assert model.network.renormalize is None
        assert not model.teacher.state_dict()


def test_a_virtual_teacher_does_not_synchronise_the_device():
    teacher = VirtualTeacher(3)
    with OperationLog() as log:  # a meta tensor has no values: reading one raises
        logits(teacher, torch.tensor([0, 1, 2]).to('meta'))
        logits(teacher, torch.full((2, 3), 1 / 3, device='meta'), 'gt_score')
    assert log.names.count('aten._assert_async.msg') == 2
    assert 'aten._local_scalar_dense.default' not in log.names


@pytest.mark.parametrize(('c', 'dtype'), [(2, torch.float16), (1000, torch.float64)])
def test_the_softmax_of_the_given_logits_is_the_soft_label_and_probabilities_of_zero_become_the_floor(c, dtype):
    given = torch.rand(4, c, generator=torch.Generator().manual_seed(c), dtype=torch.float64).softmax(1)
    result = logits(GivenTeacher(c), given.to(dtype), 'soft_label')
    assert result.dtype == torch.promote_types(dtype, torch.float32)
    torch.testing.assert_close(F.softmax(result, 1).double(), given, rtol=2e-3, atol=1e-5)
    given = torch.tensor([[.5, .5, 0.], [1., 0., 0.]])
    for field in ('soft_label', 'votes'):
        result = logits(GivenTeacher(3, field=field, floor=1e-4), given, field)
        torch.testing.assert_close(result, given.clamp(min=1e-4).log())


def partial_run(tmp_path, **overrides):
    """The final weights of a run on candidate sets whose hidden labels are permuted if ``permute``."""
    permute = overrides.pop('permute', False)
    model = digits_distillation(teacher=dict(type='wsld_plugin.GivenTeacher', num_classes=10), hard_weight=0.0,
                                distiller=distiller(dict(type='wsld_plugin.KD')))
    cfg = run_cfg(tmp_path, model, **overrides)
    cfg.train_dataloader.dataset = dict(type='wsld_plugin.PartialLabels', unreliability=0.2, ambiguity=0.3,
                                        dataset=cfg.train_dataloader.dataset)
    runner = Runner.from_cfg(cfg)
    if permute:  # after the sets are drawn, in the wrapper and in the data set inside
        runner._train_dataloader = runner.build_dataloader(cfg.train_dataloader, seed=0)
        data = runner._train_dataloader.dataset
        for index, info in enumerate(infos := [data.dataset.get_data_info(i) for i in range(len(data))]):
            info['gt_label'] = (info['gt_label'] + 1 + index % 8) % 10
        data.dataset.get_data_info = lambda index: copy.copy(infos[index])
        data.given_labels = data.given_labels[::-1]
    runner.train()
    return {name: value.clone() for name, value in runner.model.state_dict().items()}


def test_hidden_labels_change_nothing_in_a_real_run_and_a_resumed_run_ends_as_an_uninterrupted_one(tmp_path):
    whole = partial_run(tmp_path / 'whole')
    first = partial_run(tmp_path / 'parts', epochs=1, permute=True)
    resumed = partial_run(tmp_path / 'parts', resume=True, permute=True)
    assert any(not torch.equal(value, first[name]) for name, value in resumed.items())
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name


@pytest.mark.parametrize(('kind', 'settings', 'message'), [
    (VirtualTeacher, dict(num_classes=None), 'VirtualTeacher: num_classes is None, expected the number of the'),
    (VirtualTeacher, dict(num_classes=True), 'num_classes=True'),
    (VirtualTeacher, dict(correct_prob=1.0), 'correct_prob=1.0, expected a finite number in (0, 1)'),
    (VirtualTeacher, dict(correct_prob='unifrom'), "Did you mean 'uniform'?"),
    (VirtualTeacher, dict(logits='log_probs'), "logits='log_probs', expected one of 'log_prob', 'prob'. Did you"),
    (GivenTeacher, dict(num_classes=1), 'GivenTeacher: num_classes=1, expected an integer of 2 or more'),
    (GivenTeacher, dict(floor=0), 'floor=0, expected a finite number in (0, 0.1)'),
    (GivenTeacher, dict(floor=.1), 'floor=0.1'),
])
def test_invalid_settings_and_other_modes_are_refused(kind, settings, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        kind(**{**dict(num_classes=10), **settings})
    with pytest.raises(NotImplementedError, match=f"mode='loss': a {kind.__name__}"):
        kind(3)(torch.zeros(1, 3, 2, 2), samples(torch.tensor([0])), mode='loss')


@pytest.mark.parametrize(('kind', 'data_samples', 'message'), [
    (VirtualTeacher, None, 'no data samples'), (GivenTeacher, None, 'no data samples'),
    (VirtualTeacher, [DataSample(), DataSample()], 'data samples without gt_label'),
    (VirtualTeacher, samples(torch.tensor([-100, 0])), 'class -100, but logits of 3 classes need indices from 0 to'),
    (VirtualTeacher, [DataSample().set_gt_score([.5, .5]), DataSample().set_gt_label(1)],
     'data samples without gt_score'),
    (VirtualTeacher, [DataSample().set_gt_label([0, 1]), DataSample().set_gt_label(1)], 'shape (3,)'),
    (VirtualTeacher, [DataSample().set_gt_score([.5, .5, .5])] * 2, 'Sample 0 has sum 1.5'),
    (VirtualTeacher, [DataSample().set_gt_score([.5, .5])] * 2, 'shape (2, 2)'),
    (GivenTeacher, [DataSample().set_gt_label(0)] * 2, "without 'soft_label', with gt_label alone. A data set such"),
    (GivenTeacher, samples(torch.eye(3)[:2], 'soft_lable'), "with soft_lable alone. Did you mean 'soft_lable'?"),
    (GivenTeacher, samples(torch.tensor([[.5, .6, .1]] * 2), 'soft_label'), 'Sample 0 has sum 1.2'),
    (GivenTeacher, samples(torch.tensor([[.5, .5]] * 2), 'soft_label'), 'shape (2, 2)'),
    (GivenTeacher, [DataSample(soft_label=torch.eye(3)[0]).set_gt_score(torch.eye(3)[0])] * 2, 'Mixup and CutMix'),
])
def test_samples_without_a_fitting_soft_label_are_refused(kind, data_samples, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        kind(3)(torch.zeros(2, 3, 2, 2), data_samples)


def test_docstring_examples_hold():
    result = doctest.testmod(from_labels)
    assert result.attempted >= 4
    assert result.failed == 0
