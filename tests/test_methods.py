"""Each preset of a method, loaded from its fragment, against its formula restated in float64."""
import math
from pathlib import Path

import pytest
import torch
from caches import random_cache
from factories import RGB, batch, build, classifier
from mmengine.optim import build_optim_wrapper
from torch.nn import functional as F

from wsld_plugin.config.check import check_config
from wsld_plugin.config.load import load_config
from wsld_plugin.datasets import SampleKey
from wsld_plugin.errors import ConfigError

METHODS = Path(__file__).parents[1] / 'configs/_base_/methods'
C = 5
VIRTUAL = ('tf_kd_reg', 'tf_kd_reg_official', 'label_smoothing', 'label_smoothing_official')


def ce(s, y):
    return -(y * F.log_softmax(s, 1)).sum(1).mean()


def kl(p, log_q):
    """``KLDivLoss()`` of PyTorch up to 2.11: divided by N·C; a later release will divide by N."""
    return F.kl_div(log_q, p, reduction='sum') / p.numel()


def soft_label(y, right):
    """Row by row from the definition: the mixture of each class's soft label."""
    rows = torch.full((C, C), (1 - right) / (C - 1), dtype=torch.float64)
    rows.fill_diagonal_(right)
    return torch.stack([sum(weight * row for weight, row in zip(weights, rows, strict=True)) for weights in y])


def kd(s, t, y, tau=1.0, weight=3.0, hard=1.0):
    p, q = F.softmax(t / tau, 1), F.softmax(s / tau, 1)
    return hard * ce(s, y) + weight * tau**2 * (p * (p / q).log()).sum(1).mean()


def wsld(s, t, y, tau=2.0, weight=2.5):
    p, log_q = F.softmax(t / tau, 1), F.log_softmax(s / tau, 1)
    ratio = (y * F.log_softmax(s, 1)).sum(1) / ((y * F.log_softmax(t, 1)).sum(1) - 1e-7)
    return ce(s, y) - weight * tau**2 * ((1 - (-ratio.detach()).exp()) * (p * log_q).sum(1)).mean()


def tf_kd(s, t, y):
    return .05 * ce(s, y) + .95 * C * kl(F.softmax(t / 20, 1), F.log_softmax(s / 20, 1))


def tf_kd_official(s, t, y):
    return .05 * ce(s, y) + .95 * kl(F.softmax(t / 20, 1), F.log_softmax(s / 20, 1)) * 20 * 20 * 1


def tf_kd_reg(s, t, y):
    tempered = soft_label(y, .99) ** (1 / 20)
    return .9 * ce(s, y) + .1 * C * kl(tempered / tempered.sum(1, keepdim=True), F.log_softmax(s / 20, 1))


def tf_kd_reg_official(s, t, y):
    return .05 * ce(s, y) + .95 * kl(F.softmax(soft_label(y, .99) / 40, 1), F.log_softmax(s, 1)) * 1


def label_smoothing(s, t, y):
    return ce(s, .9 * y + .1 / C) - .1 * math.log(C)


def label_smoothing_official(s, t, y):
    p = soft_label(y, .9)
    return ce(s, p) + (p * p.log()).sum(1).mean()


FORMULAS = dict(kd=kd, kd_crd=lambda *x: kd(*x, tau=4.0, weight=.9, hard=.1), wsld=wsld,
                wsld_cifar100=lambda *x: wsld(*x, tau=4.0, weight=2.25), tf_kd=tf_kd,
                tf_kd_official=tf_kd_official, tf_kd_reg=tf_kd_reg, tf_kd_reg_official=tf_kd_reg_official,
                label_smoothing=label_smoothing, label_smoothing_official=label_smoothing_official)


def config(tmp_path, method, **model):
    """A leaf config of a small student, with the fragment as its only base."""
    teacher = dict(num_classes=C) if method in VIRTUAL else classifier(C, width=8)
    student = classifier(C, data_preprocessor=RGB)
    model = {**dict(architecture=student, teacher=teacher, teacher_ckpt=False), **model}
    path = tmp_path / 'leaf.py'
    path.write_text(f"_base_ = '{METHODS / method}.py'\ndefault_scope = 'mmpretrain'\nmodel = {model!r}\n")
    return load_config(path)


def prepared(model, kind):
    data = model.data_preprocessor(batch(6, C), True)
    one_hot = F.one_hot(torch.cat([sample.gt_label for sample in data['data_samples']]), C).double()
    if kind == 'indices':
        return data, one_hot
    mixed = .7 * one_hot + .3 * one_hot.flip(0)
    for sample, row in zip(data['data_samples'], mixed.float(), strict=True):
        sample.set_gt_score(row)
    return data, mixed


def test_no_method_is_left_out():
    assert {path.stem for path in METHODS.glob('*.py')} == {*FORMULAS, 'soft_label', 'wsld_cached'}


@pytest.mark.parametrize('method', FORMULAS)
def test_preset_is_accepted_is_its_formula_in_value_and_gradient_and_takes_a_step(tmp_path, method):
    torch.manual_seed(0)
    cfg = config(tmp_path, method)
    check_config(cfg)
    model = build(cfg.model).eval()
    for target in ('indices', 'probabilities'):
        data, y = prepared(model, target)
        losses = model(**data, mode='loss')
        recorded = model.distiller.student_recorders.get_recorder('logits').get_record_data()
        loss = sum(value for name, value in losses.items() if 'loss' in name)
        gradient, = torch.autograd.grad(loss, recorded)

        s = recorded.detach().double().requires_grad_()
        t = None if method in VIRTUAL else model.teacher(data['inputs'], mode='tensor').double()
        expected = FORMULAS[method](s, t, y)
        torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-7)
        expected_gradient, = torch.autograd.grad(expected, s)
        torch.testing.assert_close(gradient.double(), expected_gradient, rtol=1e-4, atol=1e-7)

    before = [parameter.clone() for parameter in model.parameters()]
    wrapper = build_optim_wrapper(model, dict(optimizer=dict(type='SGD', lr=0.01)))
    assert torch.isfinite(model.train().train_step(batch(6, C), wrapper)['loss'])
    assert any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_the_cached_preset_is_the_formula_of_the_logits_on_disk(tmp_path):
    torch.manual_seed(0)
    model = build(config(tmp_path, 'wsld_cached', teacher=dict(views=1)).model).eval()
    model.teacher.open(random_cache(tmp_path, num_samples=6, num_classes=C, views=1))
    data = model.data_preprocessor(batch(6, C), True)
    for index, sample in enumerate(data['data_samples']):
        sample.set_gt_label(index % C).set_field(SampleKey(0, 0, index), 'sample_key', field_type='metainfo')
    y = F.one_hot(torch.arange(6) % C, C).double()
    t = model.teacher(data['inputs'], data['data_samples'], mode='tensor').double()
    losses = model(**data, mode='loss')
    s = model.student(data['inputs'], mode='tensor').double()
    # the logits were kept in float16, their cross entropy exactly
    torch.testing.assert_close(sum(losses.values()).double(), wsld(s, t, y), rtol=1e-3, atol=0)


@pytest.mark.parametrize('method', VIRTUAL)
def test_a_preset_without_network_adds_no_parameter_and_no_buffer(tmp_path, method):
    teacher = build(config(tmp_path, method).model).network
    assert not [*teacher.parameters(), *teacher.buffers()]


def test_a_missing_or_wrong_number_of_classes_is_refused(tmp_path):
    method = 'label_smoothing'
    with pytest.raises(ConfigError, match=r'num_classes is None.*write teacher=dict\(num_classes=100\)'):
        build(config(tmp_path, method, teacher=dict()).model)
    with pytest.raises(ConfigError, match='teacher has 7 classes and the student 5'):
        build(config(tmp_path, method, teacher=dict(num_classes=7)).model)
    with pytest.raises(ConfigError, match=r"teacher_ckpt='t\.pth': a VirtualTeacher has no weights.*=False"):
        build(config(tmp_path, method, teacher_ckpt='t.pth').model)
