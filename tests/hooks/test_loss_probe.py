import pytest
import torch
from factories import batch, build, distillation, distiller, labels_of

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
def test_a_batch_is_kept_until_it_is_taken(gt_labels):
    probe = LossProbe(model := model_with(gt_labels))
    assert probe.take() is None
    labels = step(model)
    given = probe.take()
    assert given.logits.shape == (2, 4, 5)
    assert torch.equal(given.target, labels)
    assert given.tau == 4.0
    assert probe.take() is None


def test_what_is_seen_with_and_without_a_mapped_target_are_equal():
    found = []
    for gt_labels in (True, False):
        torch.manual_seed(0)
        probe = LossProbe(model := model_with(gt_labels))
        step(model)
        found.append(probe.take())
    assert all(torch.equal(one, other) for one, other in zip(found[0][:2], found[1][:2], strict=True))


def test_what_was_kept_has_no_graph():
    probe = LossProbe(model := model_with())
    step(model)
    assert not probe.take().logits.requires_grad


def test_switched_off_or_closed_it_keeps_nothing():
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
    given = probe.take()
    assert torch.equal(given.target, target)
    assert torch.equal(given.logits, torch.stack([student, teacher]))


def test_a_replayed_step_is_read_from_the_same_place():
    probe = LossProbe(model := model_with())
    step(model)
    place = probe._given[4].logits
    first = probe.taken_by_replay(4).logits
    place.add_(1)  # as a replay writes
    assert torch.equal(probe.taken_by_replay(4).logits, first + 1)
    assert probe.taken_by_replay(3) is None
    model.distillation_stopped = True
    assert probe.taken_by_replay(4) is None


@pytest.mark.filterwarnings('ignore')  # torch: dynamo warns of its own doings while it traces
def test_a_compiled_loss_is_seen_too():
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
