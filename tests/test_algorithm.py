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

KD, CLASS_MAP = dict(type='wsld_plugin.KD'), [7, 0, 3, 2, 1]


def forward_loss(model, data):
    return model(**model.data_preprocessor(copy.deepcopy(data), True), mode='loss')


def logits(model, data, preprocessor=None):
    inputs = (preprocessor or model.data_preprocessor)(copy.deepcopy(data), False)['inputs']
    return model(inputs, mode='tensor')


def train_step(model, data):
    wrapper = build_optim_wrapper(model, dict(optimizer=dict(type='SGD', lr=0.1)))
    model.train()
    return model.train_step(copy.deepcopy(data), wrapper)


def test_losses_are_the_students_own_and_the_weighted_soft_labels_of_the_teacher():
    model, data = build(distillation()).eval(), batch()  # BatchNorm alike in both computations
    student, teacher, labels = logits(model.student, data), logits(model.teacher, data), labels_of(data)
    for hard_weight in (1, 0.1):
        model.hard_weight = hard_weight
        losses = forward_loss(model, data)
        assert set(losses) == {'student.loss', 'distill.loss_soft'}
        torch.testing.assert_close(losses['student.loss'], hard_weight * cross_entropy(student, labels))
        torch.testing.assert_close(losses['distill.loss_soft'], 2.5 * functional.wsld(student, teacher, labels, 2.0))


def test_the_teacher_computes_no_loss_and_no_gradient_and_a_step_leaves_it_unchanged_to_the_bit(monkeypatch):
    model = build(distillation())
    before, student = copy.deepcopy(model.teacher.state_dict()), copy.deepcopy(model.student.state_dict())
    for module, name in ((model.teacher.head, 'loss'), (model.teacher.head.loss_module, 'forward')):
        monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail('the teacher computed a loss'))
    train_step(model, batch())
    assert not model.distiller.teacher_recorders.get_recorder('logits').get_record_data().requires_grad
    assert all(parameter.grad is None for parameter in model.teacher.parameters())
    torch.testing.assert_close(model.teacher.state_dict(), before, rtol=0, atol=0)
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
    model = convert_sync_batchnorm(model)
    for part, converted in ((model.student, True), (model.teacher, False)):
        assert any(isinstance(m, torch.nn.SyncBatchNorm) for m in part.modules()) == converted


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
    for cfg in (classifier(data_preprocessor=RGB), distillation(), distillation(teacher=classifier(width=16)),
                distillation(distiller=distiller(KD))):
        torch.manual_seed(3)
        model = build(cfg)
        states.append(getattr(model, 'student', model).state_dict())
        assert all(torch.equal(value, states[0][name]) for name, value in states[-1].items())


def test_once_mmrazors_hook_has_stopped_distillation_the_teacher_does_not_run(monkeypatch):
    model, data = build(distillation()), batch()
    hook, logger = StopDistillHook(stop_epoch=1), SimpleNamespace(info=print)
    for epoch, losses in ((0, {'student.loss', 'distill.loss_soft'}), (1, {'student.loss'})):
        hook.before_train_epoch(SimpleNamespace(model=model, epoch=epoch, logger=logger))
        assert set(forward_loss(model, data)) == losses
        monkeypatch.setattr(model.teacher, 'forward', lambda *_, **__: pytest.fail('the teacher ran'))


def test_a_feature_loss_of_mmrazor_combines_with_ours_and_in_place_operations_stay_on_without_it():
    cfg = distillation()
    assert all(m.inplace for m in build(cfg).student.modules() if isinstance(m, torch.nn.ReLU))
    parts = cfg['distiller']
    feature = dict(type='mmrazor.ModuleOutputs', source='neck')
    parts['student_recorders']['feature'] = parts['teacher_recorders']['feature'] = feature
    parts['connectors']['widen'] = dict(type='torch.nn.Linear', in_features=32, out_features=64)
    parts['distill_losses']['loss_feature'] = dict(type='mmrazor.L2Loss', loss_weight=0.5)
    parts['loss_forward_mappings']['loss_feature'] = dict(
        s_feature=dict(recorder='feature', from_student=True, data_idx=0, connector='widen'),
        t_feature=dict(recorder='feature', from_student=False, data_idx=0))
    model = build(cfg)
    assert not any(m.inplace for m in model.student.modules() if isinstance(m, torch.nn.ReLU))
    losses = forward_loss(model, batch())
    assert set(losses) == {'student.loss', 'distill.loss_soft', 'distill.loss_feature'}
    sum(losses.values()).backward()
    assert model.distiller.connectors['widen'].weight.grad.abs().sum() > 0


def test_mmrazors_own_algorithm_takes_our_losses_and_connector():
    cfg = distillation(type='mmrazor.SingleTeacherDistill', teacher=classifier(num_classes=8),
                       distiller=distiller(class_map=CLASS_MAP))
    cfg.pop('teacher_ckpt')
    model, data = build(cfg), batch(num_classes=5)
    model.eval()
    losses = forward_loss(model, data)
    student, teacher = logits(model.student, data), logits(model.teacher, data, model.data_preprocessor)
    torch.testing.assert_close(losses['distill.loss_soft'], 2.5 * functional.wsld(
        student, teacher[:, CLASS_MAP], labels_of(data), tau=2.0))
    train_step(model, data)


def test_teacher_logits_come_in_the_students_classes():
    model = build(distillation(teacher=classifier(num_classes=8, width=8), distiller=distiller(class_map=CLASS_MAP)))
    inputs = model.eval().data_preprocessor(batch(), False)['inputs']
    torch.testing.assert_close(model.teacher_logits(inputs), model.teacher(inputs, mode='tensor')[:, CLASS_MAP])
    model.distiller.loss_forward_mappings.clear()
    with pytest.raises(ConfigError, match=r"no distillation loss receives .*source='head'; add one"):
        model.teacher_logits(inputs)


@pytest.mark.parametrize(('change', 'message'), [
    (dict(teacher_ckpt=None), 'teacher_ckpt=None.*teacher_ckpt=False'),
    (dict(teacher_bn='trian'), "teacher_bn='trian'.*Did you mean 'train'"),
    (dict(hard_weight=-1), 'hard_weight=-1'),
    (dict(teacher=classifier(num_classes=8)), '8.*5'),
    (dict(architecture=dict(cfg_path='mmpretrain::resnet/resnt18_8xb32_in1k.py')), 'Did you mean'),
    (dict(distiller={**distiller(), 'distill_losses': dict.fromkeys(('loss_soft', 'loss_sft'), KD)}),
     "loss_sft would never be computed.*Did you mean 'loss_soft'"),
])
def test_arguments_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ConfigError, match=f'(?s){message}'):
        build(distillation(**change))
