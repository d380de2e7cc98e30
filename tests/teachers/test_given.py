import copy
import doctest
import math
import re

import pytest
import torch
from factories import build, digits_distillation, distiller, run_cfg
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from torch.nn import functional as F

from wsld_plugin.datasets.weak import PartialLabels
from wsld_plugin.errors import ConfigError
from wsld_plugin.losses.functional import kd
from wsld_plugin.teachers import given
from wsld_plugin.teachers.given import GivenTeacher


def samples(soft_labels, field='soft_label'):
    return [DataSample(**{field: row}) for row in soft_labels]


def logits(teacher, soft_labels, field='soft_label'):
    return teacher(torch.zeros(len(soft_labels), 3, 2, 2), samples(soft_labels, field))


@pytest.mark.parametrize('dtype', [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize('c', [2, 10, 1000])
def test_the_softmax_of_the_logits_is_the_soft_label(c, dtype):
    given_labels = torch.rand(4, c, generator=torch.Generator().manual_seed(c), dtype=torch.float64).softmax(1)
    result = logits(GivenTeacher(c), given_labels.to(dtype))
    assert result.dtype == torch.promote_types(dtype, torch.float32)
    torch.testing.assert_close(F.softmax(result, 1).double(), given_labels, rtol=2e-3, atol=1e-5)


def test_what_is_zero_is_the_floor_and_stays_finite_in_value_and_gradient():
    result = logits(GivenTeacher(3, floor=1e-4), torch.tensor([[.5, .5, 0.], [1., 0., 0.]]))
    expected = torch.tensor([[.5, .5, 1e-4], [1., 1e-4, 1e-4]]).log()
    torch.testing.assert_close(result, expected)


def test_at_temperature_one_kd_has_the_gradient_of_the_soft_cross_entropy():
    student = torch.randn(4, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    sets = torch.tensor([[1., 1, 0, 0, 0], [0, 0, 1, 0, 0], [1, 1, 1, 1, 1], [0, 1, 0, 1, 1]])
    soft = sets / sets.sum(1, keepdim=True)
    ours, = torch.autograd.grad(kd(student, logits(GivenTeacher(5), soft)), student)
    expected, = torch.autograd.grad(F.cross_entropy(student, soft), student)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=2e-6)


def partial_run(tmp_path, spoil=None, **overrides):
    """A run of two epochs on candidate sets; ``spoil`` changes the hidden labels after the sets are drawn."""
    model = digits_distillation(teacher=dict(type='wsld_plugin.GivenTeacher', num_classes=10), hard_weight=0.0,
                                distiller=distiller(dict(type='wsld_plugin.KD')))
    cfg = run_cfg(tmp_path, model, **overrides)
    cfg.train_dataloader.dataset = dict(type='wsld_plugin.PartialLabels', unreliability=0.2, ambiguity=0.3,
                                        dataset=cfg.train_dataloader.dataset)
    runner = Runner.from_cfg(cfg)
    if spoil:
        data = runner.build_dataloader(cfg.train_dataloader, seed=0)
        assert isinstance(data.dataset, PartialLabels)
        spoil(data.dataset)
        runner._train_dataloader = data
    runner.train()
    return {name: value.clone() for name, value in runner.model.state_dict().items()}


def permute_hidden_labels(data):
    """In the wrapper and in the data set inside."""
    for index, info in enumerate(infos := [data.dataset.get_data_info(i) for i in range(len(data))]):
        info['gt_label'] = (infos[index]['gt_label'] + 1 + index % 8) % 10
    data.dataset.get_data_info = lambda index: copy.copy(infos[index])
    data.given_labels = data.given_labels[::-1]


def test_permuting_the_hidden_labels_changes_nothing_in_a_real_run(tmp_path):
    one = partial_run(tmp_path / 'one')
    other = partial_run(tmp_path / 'other', spoil=permute_hidden_labels)
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_resumed_run_ends_as_one_that_was_never_stopped(tmp_path):
    whole = partial_run(tmp_path / 'whole')
    first = partial_run(tmp_path / 'parts', epochs=1)
    resumed = partial_run(tmp_path / 'parts', resume=True)
    assert any(not torch.equal(value, first[name]) for name, value in resumed.items())
    assert all(torch.equal(value, whole[name]) for name, value in resumed.items())


def test_images_are_not_normalised_for_it_and_it_stores_nothing():
    model = build(digits_distillation(teacher=dict(type='wsld_plugin.GivenTeacher', num_classes=10)))
    assert model.renormalize is None
    assert not list(model.teacher.state_dict())


@pytest.mark.parametrize(('settings', 'message'), [
    (dict(num_classes=None), "num_classes is None, but the number of the student's classes"),
    (dict(num_classes=1), 'num_classes is 1'),
    (dict(floor=0), 'floor is 0, but a probability between 0 and 1/10'),
    (dict(floor=.1), 'floor is 0.1'),
    (dict(floor=math.nan), 'floor is nan'),
])
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        GivenTeacher(**{**dict(num_classes=10), **settings})


@pytest.mark.parametrize(('data_samples', 'message'), [
    (None, 'no data samples'),
    ([DataSample().set_gt_label(0)], "data samples without 'soft_label', with gt_label alone. A data set such as"),
    ([DataSample()], "without 'soft_label', with no field alone"),
    (samples(torch.eye(3)[:1], 'soft_lable'), "with soft_lable alone. Did you mean 'soft_lable'?"),
    (samples(torch.tensor([[.5, .6, .1]])), 'Sample 0 has sum 1.2'),
    (samples(torch.tensor([[.5, .5]])), 'shape (1, 2)'),
    ([DataSample(soft_label=torch.tensor([1., 0., 0.])).set_gt_score(torch.tensor([.5, .5, 0.]))],
     'Mixup and CutMix'),
])
def test_samples_without_a_fitting_soft_label_are_refused(data_samples, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        GivenTeacher(3)(torch.zeros(1, 3, 2, 2), data_samples)


def test_another_field_can_be_read():
    assert logits(GivenTeacher(2, field='votes'), torch.tensor([[.25, .75]]), 'votes').argmax() == 1


@pytest.mark.parametrize('mode', ['predict', 'loss'])
def test_it_does_nothing_but_teach(mode):
    with pytest.raises(NotImplementedError, match=f"mode='{mode}': a GivenTeacher"):
        GivenTeacher(3)(torch.zeros(1, 3, 2, 2), samples(torch.tensor([[1., 0, 0]])), mode=mode)


def test_docstring_examples_hold():
    result = doctest.testmod(given)
    assert result.attempted >= 2
    assert result.failed == 0
