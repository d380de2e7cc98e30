import pytest
import torch
from factories import batch, build, distillation, distiller, labels_of
from torch.nn import functional as F

from wsld_plugin.analysis.regularization import MEASURES
from wsld_plugin.errors import ConfigError
from wsld_plugin.hooks.loss_probe import LossProbe


def model_with(gt_labels=True, kind='wsld_plugin.KD'):
    cfg = distiller(loss=dict(type=kind, tau=4.0))
    if not gt_labels:
        del cfg['loss_forward_mappings']['loss_soft']['gt_labels']
    return build(distillation(distiller=cfg)).train()


def step(model, seed=0):
    data = batch(seed=seed)
    prepared = model.data_preprocessor(data, training=True)
    model.loss(prepared['inputs'], prepared['data_samples'])
    return labels_of(data)


@pytest.mark.parametrize('gt_labels', [True, False])
def test_a_batch_is_measured_once_and_then_taken(gt_labels):
    probe = LossProbe(model := model_with(gt_labels))
    assert probe.take() is None
    step(model)
    assert probe.take().shape == (len(MEASURES), 4)
    assert probe.take() is None


def test_measures_with_and_without_a_mapped_target_are_equal():
    found = []
    for gt_labels in (True, False):
        torch.manual_seed(0)
        probe = LossProbe(model := model_with(gt_labels))
        step(model)
        found.append(probe.take())
    assert torch.equal(*found)


def test_what_was_measured_has_no_graph():
    probe = LossProbe(model := model_with())
    step(model)
    assert not probe.take().requires_grad


def test_switched_off_or_closed_it_measures_nothing():
    probe = LossProbe(model := model_with())
    probe.on = False
    step(model)
    assert probe.take() is None
    probe.on = True
    probe.close()
    step(model)
    assert probe.take() is None


def test_a_replaced_loss_of_the_head_is_followed():
    probe = LossProbe(model := model_with(gt_labels=False))
    head = model.student.head
    head.loss_module = torch.nn.CrossEntropyLoss()
    probe.follow()
    target, (student, teacher) = torch.tensor([1, 2]), torch.randn(2, 2, 5)
    head.loss_module(student, target)
    probe.loss(student, teacher)
    ce = probe.take()[MEASURES.index('student_ce')]
    torch.testing.assert_close(ce, F.cross_entropy(student, target, reduction='none'))


def test_a_replayed_step_is_read_from_the_same_place():
    probe = LossProbe(model := model_with())
    step(model)
    place = probe._measured[4]
    first = probe.taken_by_replay(4)
    place.add_(1)  # as a replay writes
    assert torch.equal(probe.taken_by_replay(4), first + 1)
    assert probe.taken_by_replay(3) is None
    model.distillation_stopped = True
    assert probe.taken_by_replay(4) is None


@pytest.mark.filterwarnings('ignore')  # torch: dynamo warns of its own doings while it traces
def test_a_compiled_loss_is_measured_too():
    probe = LossProbe(model := model_with())
    probe.loss.compile(backend='eager')
    for seed in (0, 1):
        step(model, seed)
        assert probe.take() is not None


def test_a_loss_without_target_and_a_head_without_loss_are_refused_with_what_to_write():
    model = model_with(gt_labels=False)
    del model.student.head.loss_module
    with pytest.raises(ConfigError, match='add gt_labels'):
        LossProbe(model)


def test_the_first_loss_on_logits_is_taken_or_the_one_that_is_named():
    cfg = distiller()
    cfg['distill_losses'] = dict(loss_feature=dict(type='mmrazor.L2Loss'), **cfg['distill_losses'])
    cfg['loss_forward_mappings']['loss_feature'] = dict(
        s_feature=dict(recorder='logits', from_student=True), t_feature=dict(recorder='logits', from_student=False))
    model = build(distillation(distiller=cfg))
    assert LossProbe(model).name == 'loss_soft'
    with pytest.raises(ConfigError, match="'loss_feature', expected one of 'loss_soft'"):
        LossProbe(model, 'loss_feature')
