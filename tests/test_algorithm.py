import copy
from types import SimpleNamespace

import pytest
import torch
from factories import BGR, RGB, batch, build, classifier, distillation, distiller, labels_of
from mmengine.model import ExponentialMovingAverage, convert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmrazor.engine import StopDistillHook
from torch.nn.functional import cross_entropy

from wsld_plugin.errors import ConfigError
from wsld_plugin.losses import functional


def forward_loss(model, data):
    data = model.data_preprocessor(copy.deepcopy(data), True)
    return model(**data, mode='loss')


def logits(model, data, preprocessor=None):
    inputs = (preprocessor or model.data_preprocessor)(copy.deepcopy(data), False)['inputs']
    return model(inputs, mode='tensor')


def train_step(model, data, **optimizer):
    wrapper = build_optim_wrapper(model, dict(optimizer=dict(type='SGD', lr=0.1, **optimizer)))
    model.train()
    return model.train_step(copy.deepcopy(data), wrapper)


def state_of(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def test_losses_are_the_students_own_and_the_weighted_soft_labels_of_the_teacher():
    model, data = build(distillation()), batch()
    model.eval()  # BatchNorm alike in both computations
    losses = forward_loss(model, data)
    student, teacher, labels = logits(model.student, data), logits(model.teacher, data), labels_of(data)
    assert set(losses) == {'student.loss', 'distill.loss_soft'}
    torch.testing.assert_close(losses['student.loss'], cross_entropy(student, labels))
    torch.testing.assert_close(losses['distill.loss_soft'], 2.5 * functional.wsld(student, teacher, labels, tau=2.0))
    model.hard_weight = 0.1
    tenth = forward_loss(model, data)
    torch.testing.assert_close(tenth['student.loss'], losses['student.loss'] * 0.1)
    torch.testing.assert_close(tenth['distill.loss_soft'], losses['distill.loss_soft'])


def test_the_teacher_computes_no_loss_and_no_gradient_and_a_step_leaves_it_unchanged_to_the_bit(monkeypatch):
    model = build(distillation())
    before, student = state_of(model.teacher), state_of(model.student)
    for module, name in ((model.teacher.head, 'loss'), (model.teacher.head.loss_module, 'forward')):
        monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail('the teacher computed a loss'))
    train_step(model, batch())
    recorded = model.distiller.teacher_recorders.get_recorder('logits').get_record_data()
    assert not recorded.requires_grad
    assert all(parameter.grad is None for parameter in model.teacher.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.teacher.state_dict().items())
    assert any(not torch.equal(value, student[name]) for name, value in model.student.state_dict().items())


def test_the_teacher_is_in_no_optimizer_state_dict_or_walk_over_modules():
    model = build(distillation())
    student = {id(p) for p in model.student.parameters()}
    for paramwise_cfg in (None, dict(norm_decay_mult=0.0)):
        wrapper = build_optim_wrapper(model, dict(optimizer=dict(type='SGD', lr=0.1, weight_decay=1e-4),
                                                  paramwise_cfg=paramwise_cfg))
        assert {id(p) for group in wrapper.optimizer.param_groups for p in group['params']} == student
    assert {id(p) for p in model.parameters()} == student
    assert all(name.startswith('architecture.') for name in model.state_dict())
    assert not {id(m) for m in model.modules()} & {id(m) for m in model.network.modules()}


def test_an_averaged_model_shares_the_teacher_instead_of_copying_it():
    model = build(distillation())
    averaged = ExponentialMovingAverage(model, momentum=0.5)
    assert averaged.module.teacher is model.teacher
    assert averaged.module.student is not model.student
    assert not any('teacher' in name for name in averaged.state_dict())
    with torch.no_grad():
        for parameter in model.student.parameters():
            parameter.add_(1)
    averaged.update_parameters(model)  # the first call copies
    torch.testing.assert_close(list(averaged.module.student.parameters()), list(model.student.parameters()))


def test_moving_the_algorithm_moves_the_teacher_and_its_normalisation():
    model = build(distillation(teacher=classifier(data_preprocessor=BGR))).to(torch.float64)
    assert {value.dtype for value in (*model.teacher.parameters(), *model.network.renormalize.buffers())} == {
        torch.float64}
    ensemble = dict(type='wsld_plugin.EnsembleTeacher', members=[
        dict(model=classifier(data_preprocessor=preprocessor), checkpoint=False) for preprocessor in (RGB, BGR)])
    model = build(distillation(teacher=ensemble)).to(torch.float64)
    assert model.teacher.members[1].renormalize.scale.dtype == torch.float64


def test_synchronised_batchnorm_reaches_the_student_alone():
    model = convert_sync_batchnorm(build(distillation()))
    assert any(isinstance(m, torch.nn.SyncBatchNorm) for m in model.student.modules())
    assert not any(isinstance(m, torch.nn.SyncBatchNorm) for m in model.teacher.modules())


def test_teacher_bn_train_uses_and_updates_batch_statistics_and_nothing_else():
    cfg = distillation(teacher_bn='train')
    cfg['teacher'] = classifier(width=8, data_preprocessor=RGB)
    model, data = build(cfg), batch()
    before = state_of(model.teacher)
    reference = copy.deepcopy(model.teacher).train()
    train_step(model, data)
    recorded = model.distiller.teacher_recorders.get_recorder('logits').get_record_data()
    torch.testing.assert_close(recorded, logits(reference, data))
    for name, value in model.teacher.state_dict().items():
        assert torch.equal(value, before[name]) == ('running' not in name and 'batches' not in name), name
    assert any(module.training for module in model.teacher.modules())
    assert not any(module.training for module in model.eval().teacher.modules())


@pytest.mark.parametrize(('student', 'teacher'), [(RGB, BGR), (BGR, RGB)])
def test_the_teacher_sees_the_batch_in_its_own_normalisation_and_channel_order(student, teacher):
    model = build(distillation(architecture=classifier(data_preprocessor=student),
                               teacher=classifier(width=8, data_preprocessor=teacher)))
    seen, data = [], batch()
    model.teacher.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    forward_loss(model, data)
    expected = model.teacher.data_preprocessor(copy.deepcopy(data), False)['inputs']
    torch.testing.assert_close(seen[0], expected, rtol=1e-5, atol=1e-5)


def test_equal_seeds_give_a_student_the_same_initial_weights_whoever_teaches_it():
    states = []
    plain = classifier(data_preprocessor=RGB)
    for cfg in (plain, distillation(), distillation(teacher=classifier(width=16)),
                distillation(distiller=distiller(dict(type='wsld_plugin.KD')))):
        torch.manual_seed(3)
        model = build(cfg)
        states.append(getattr(model, 'student', model).state_dict())
    for state in states[1:]:
        assert all(torch.equal(value, states[0][name]) for name, value in state.items())


def test_mixed_targets_reach_the_loss_as_probabilities():
    # also if the mixing is part of train_cfg, and the data preprocessor is the algorithm's
    architecture = classifier(train_cfg=dict(augments=dict(type='CutMix', alpha=1.0)))
    model = build(distillation(architecture=architecture, data_preprocessor=dict(mean=[0.0] * 3, std=[1.0] * 3)))
    assert model.data_preprocessor.num_classes == 5
    losses = forward_loss(model, batch())
    target = model.distiller.student_recorders.get_recorder('target').get_record_data(data_idx=1)
    assert target.shape == (4, 5)
    assert torch.isfinite(losses['distill.loss_soft'])


def test_once_mmrazors_hook_has_stopped_distillation_the_teacher_does_not_run(monkeypatch):
    model, data = build(distillation()), batch()
    hook, logger = StopDistillHook(stop_epoch=1), SimpleNamespace(info=print)
    for epoch, losses in ((0, {'student.loss', 'distill.loss_soft'}), (1, {'student.loss'})):
        hook.before_train_epoch(SimpleNamespace(model=model, epoch=epoch, logger=logger))
        assert set(forward_loss(model, data)) == losses
        monkeypatch.setattr(model.teacher, 'forward', lambda *_, **__: pytest.fail('the teacher ran'))


def test_a_feature_loss_of_mmrazor_combines_with_ours():
    cfg = distillation()
    parts = cfg['distiller']
    feature = dict(type='mmrazor.ModuleOutputs', source='neck')
    parts['student_recorders']['feature'] = parts['teacher_recorders']['feature'] = feature
    parts['connectors']['widen'] = dict(type='torch.nn.Linear', in_features=32, out_features=64)
    parts['distill_losses']['loss_feature'] = dict(type='mmrazor.L2Loss', loss_weight=0.5)
    parts['loss_forward_mappings']['loss_feature'] = dict(
        s_feature=dict(recorder='feature', from_student=True, data_idx=0, connector='widen'),
        t_feature=dict(recorder='feature', from_student=False, data_idx=0))
    model = build(cfg)
    losses = forward_loss(model, batch())
    assert set(losses) == {'student.loss', 'distill.loss_soft', 'distill.loss_feature'}
    sum(losses.values()).backward()
    assert model.distiller.connectors['widen'].weight.grad.abs().sum() > 0


def test_in_place_operations_stay_on_where_only_heads_are_recorded():
    cfg = distillation()
    in_place = [m.inplace for m in build(cfg).student.modules() if isinstance(m, torch.nn.ReLU)]
    assert all(in_place)
    cfg['distiller']['student_recorders']['feature'] = dict(type='mmrazor.ModuleOutputs', source='neck')
    in_place = [m.inplace for m in build(cfg).student.modules() if isinstance(m, torch.nn.ReLU)]
    assert not any(in_place)


def test_mmrazors_own_algorithm_takes_our_losses_and_connector():
    cfg = distillation(type='mmrazor.SingleTeacherDistill', teacher=classifier(num_classes=8),
                       distiller=distiller(class_map=[7, 0, 3, 2, 1]))
    cfg.pop('teacher_ckpt')
    model, data = build(cfg), batch(num_classes=5)
    model.eval()
    losses = forward_loss(model, data)
    student, teacher = logits(model.student, data), logits(model.teacher, data, model.data_preprocessor)
    torch.testing.assert_close(losses['distill.loss_soft'], 2.5 * functional.wsld(
        student, teacher[:, [7, 0, 3, 2, 1]], labels_of(data), tau=2.0))
    train_step(model, data)


def test_teacher_logits_come_in_the_students_classes():
    model = build(distillation(teacher=classifier(num_classes=8, width=8),
                               distiller=distiller(class_map=[7, 0, 3, 2, 1])))
    model.eval()
    inputs = model.data_preprocessor(batch(), False)['inputs']
    torch.testing.assert_close(model.teacher_logits(inputs), model.teacher(inputs, mode='tensor')[:, [7, 0, 3, 2, 1]])
    model.distiller.loss_forward_mappings.clear()
    with pytest.raises(ConfigError, match=r"no distillation loss receives .*source='head'; add one"):
        model.teacher_logits(inputs)


def test_a_loss_that_is_given_nothing_is_refused():
    cfg = distillation()
    cfg['distiller']['distill_losses']['loss_sft'] = dict(type='wsld_plugin.KD')
    with pytest.raises(ConfigError, match=r"loss_sft would never be computed.*Did you mean 'loss_soft'"):
        build(cfg)


@pytest.mark.parametrize(('change', 'message'), [
    (dict(teacher_ckpt=None), 'teacher_ckpt=None.*teacher_ckpt=False'),
    (dict(teacher_bn='trian'), "teacher_bn='trian'.*Did you mean 'train'"),
    (dict(hard_weight=-1), 'hard_weight=-1'),
    (dict(teacher=classifier(num_classes=8)), '8.*5'),
    (dict(architecture=dict(cfg_path='mmpretrain::resnet/resnt18_8xb32_in1k.py')), 'Did you mean'),
])
def test_arguments_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ConfigError, match=f'(?s){message}'):
        build(distillation(**change))
