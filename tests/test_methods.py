"""Each preset of a method against its formula restated in float64 from the papers: one step, and whole trainings."""
import copy
from pathlib import Path

import pytest
import torch
from caches import random_cache
from factories import RGB, batch, build, classifier, labels_of
from mmengine.hooks import Hook
from mmengine.optim import build_optim_wrapper
from mmengine.registry import RUNNERS
from packs import arrays
from torch.nn import functional as F

from wsld_plugin.config.check import check_config
from wsld_plugin.config.load import load_config
from wsld_plugin.datasets import SampleKey
from wsld_plugin.datasets.packing import Source, pack
from wsld_plugin.engine.training import training_config
from wsld_plugin.errors import ConfigError

CONFIGS = Path(__file__).parents[1] / 'configs'
METHODS = CONFIGS / '_base_/methods'
C = 5
VIRTUAL = ('tf_kd_reg', 'tf_kd_reg_official', 'label_smoothing', 'label_smoothing_official')


def ce(s, y):
    return -(y * F.log_softmax(s, 1)).sum(1).mean()


def kl(p, q):
    return (p * (p / q).log()).sum(1).mean()


def kl_div_loss(p, log_q):
    """``KLDivLoss()`` of PyTorch up to 2.11: divided by N·C; a later release will divide by N."""
    return F.kl_div(log_q, p, reduction='sum') / p.numel()


def soft_label(y, right):
    """From the definition: the mixture of each class's soft label."""
    classes = y.shape[1]
    rows = torch.full((classes, classes), (1 - right) / (classes - 1), dtype=torch.float64)
    return y @ rows.fill_diagonal_(right)


def kd(s, t, y, tau=1.0, weight=3.0, hard=1.0):
    return hard * ce(s, y) + weight * tau**2 * kl(F.softmax(t / tau, 1), F.softmax(s / tau, 1))


def wsld(s, t, y, tau=2.0, weight=2.5):
    p, log_q = F.softmax(t / tau, 1), F.log_softmax(s / tau, 1)
    ratio = (y * F.log_softmax(s, 1)).sum(1) / ((y * F.log_softmax(t, 1)).sum(1) - 1e-7)
    return ce(s, y) - weight * tau**2 * ((1 - (-ratio.detach()).exp()) * (p * log_q).sum(1)).mean()


def tf_kd(s, t, y):
    return .05 * ce(s, y) + .95 * kl(F.softmax(t / 20, 1), F.softmax(s / 20, 1))


def tf_kd_official(s, t, y):
    return .05 * ce(s, y) + .95 * kl_div_loss(F.softmax(t / 20, 1), F.log_softmax(s / 20, 1)) * 20 * 20 * 1


def tf_kd_reg(s, t, y):
    tempered = soft_label(y, .99) ** (1 / 20)
    return .9 * ce(s, y) + .1 * kl(tempered / tempered.sum(1, keepdim=True), F.softmax(s / 20, 1))


def tf_kd_reg_official(s, t, y):
    return .05 * ce(s, y) + .95 * kl_div_loss(F.softmax(soft_label(y, .99) / 40, 1), F.log_softmax(s, 1)) * 1


def label_smoothing(s, t, y):
    return .9 * ce(s, y) + .1 * kl(torch.full_like(s, 1 / s.shape[1]), F.softmax(s, 1))


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


@pytest.mark.parametrize('method', sorted(
    {path.stem for path in METHODS.glob('*.py')} - {'soft_label', 'wsld_cached'}))
def test_preset_is_accepted_is_its_formula_in_value_and_gradient_and_takes_a_step(tmp_path, method):
    torch.manual_seed(0)
    cfg = config(tmp_path, method)
    check_config(cfg)
    model = build(cfg.model).eval()
    if method in VIRTUAL:
        assert not [*model.network.parameters(), *model.network.buffers()]
    data = model.data_preprocessor(batch(6, C), True)
    one_hot = F.one_hot(labels_of(data), C).double()
    mixed = .7 * one_hot + .3 * one_hot.flip(0)
    for y in (one_hot, mixed):
        if y is mixed:
            for sample, row in zip(data['data_samples'], mixed.float(), strict=True):
                sample.set_gt_score(row)
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


@pytest.mark.parametrize(('change', 'message'), [
    (dict(teacher=dict()), r'num_classes is None.*write teacher=dict\(num_classes=100\)'),
    (dict(teacher=dict(num_classes=7)), 'teacher has 7 classes and the student 5'),
    (dict(teacher_ckpt='t.pth'), r"teacher_ckpt='t\.pth': a VirtualTeacher has no weights.*=False"),
])
def test_a_virtual_teacher_with_a_wrong_number_of_classes_or_with_weights_is_refused(tmp_path, change, message):
    with pytest.raises(ConfigError, match=message):
        build(config(tmp_path, 'label_smoothing', **change).model)


class Recorder(Hook):
    """Keeps the first weights, and of each iteration its batch as loaded and its loss."""

    def __init__(self):
        self.batches, self.losses = [], []

    def before_train(self, runner):
        self.student = copy.deepcopy(runner.model.student).train()
        self.teacher = copy.deepcopy(runner.model.teacher)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.batches.append((data_batch['inputs'].clone(), labels_of(data_batch)))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append(outputs['loss'].item())


def compressed_config(folder, method, teacher_bn):
    """resnet14 → resnet8 on the schedule of the CIFAR-100 tables: seven batches of two images, three epochs."""
    names = [str(label) for label in range(100)]
    pack(folder / 'data', {split: Source(names, n, zip(arrays(n, size=32)[0], range(0, 7 * n, 7), strict=True))
                           for split, n in (('train', 14), ('test', 2))})
    model = dict(architecture=dict(cfg_path=str(CONFIGS / 'baselines/resnet8_1xb64_cifar100.py')),
                 teacher=dict(num_classes=100))
    if teacher_bn:
        model.update(teacher=dict(model['architecture'], backbone=dict(depth=14)), teacher_ckpt=False,
                     teacher_bn=teacher_bn)
    loader = dict(num_workers=0, persistent_workers=False, dataset=dict(data_root=str(folder / 'data')))
    path = folder / 'leaf.py'
    path.write_text(
        f"_base_ = ['{METHODS}/{method}.py', '{CONFIGS}/_base_/protocols/cifar100_bs64.py']\n"
        f'model = {model!r}\ntrain_dataloader = {dict(batch_size=2, **loader)!r}\nval_dataloader = {loader!r}\n'
        'optim_wrapper = dict(optimizer=dict(lr=1e-3))\nparam_scheduler = dict(milestones=[1, 2])\n'
        'train_cfg = dict(max_epochs=3, val_interval=3)\naccelerate = dict(channels_last=False)\n')
    return training_config(str(path), work_dir=str(folder / 'run'))


@pytest.mark.parametrize(('method', 'teacher_bn'), [
    ('kd_crd', 'eval'), ('wsld_cifar100', 'eval'), ('wsld_cifar100', 'train'), ('tf_kd_reg', None),
    ('label_smoothing', None)])
def test_training_equals_the_loop_of_the_paper(tmp_path, method, teacher_bn):
    runner = RUNNERS.build(compressed_config(tmp_path, method, teacher_bn))
    runner.model.double()
    recorder = Recorder()
    runner.register_hook(recorder, priority='LOWEST')
    runner.train()

    student, teacher = recorder.student, recorder.teacher
    if teacher_bn:
        teacher.train(teacher_bn == 'train')
    mean = torch.tensor([129.3105, 124.1085, 112.404]).double().view(3, 1, 1)
    std = torch.tensor([68.2125, 65.4075, 70.4055]).double().view(3, 1, 1)
    velocity = {name: torch.zeros_like(weight) for name, weight in student.named_parameters()}
    assert len(recorder.batches) == 21
    for number, (images, labels) in enumerate(recorder.batches):
        x = (images.double() - mean) / std
        with torch.no_grad():
            t = teacher(x, mode='tensor') if teacher_bn else None
        loss = FORMULAS[method](student(x, mode='tensor'), t, F.one_hot(labels, 100).double())
        assert recorder.losses[number] == pytest.approx(loss.item(), rel=0, abs=1e-12)
        gradients = torch.autograd.grad(loss, list(student.parameters()))
        rate = 1e-3 * .1 ** (number // 7)
        with torch.no_grad():
            for (name, weight), gradient in zip(student.named_parameters(), gradients, strict=True):
                velocity[name].mul_(.9).add_(gradient + 5e-4 * weight)
                weight.sub_(rate * velocity[name])
    for trained, expected in ((runner.model.student, student), (runner.model.teacher, teacher)):
        torch.testing.assert_close(trained.state_dict(), expected.state_dict(), rtol=0, atol=1e-12)
    if teacher_bn:
        assert any(module.training for module in runner.model.train().teacher.modules()) == (teacher_bn == 'train')
        assert not any(module.training for module in runner.model.eval().teacher.modules())
