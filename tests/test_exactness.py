"""Whole trainings in float64, from a config, against a loop that is written from the papers alone."""
import copy
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import RUNNERS
from packs import arrays

from wsld_plugin.datasets.packing import Source, pack
from wsld_plugin.engine.training import training_config

CONFIGS = Path(__file__).parents[1] / 'configs'
C, BATCH, EPOCHS, LR = 100, 2, 3, 1e-3
MEAN = torch.tensor([129.3105, 124.1085, 112.404]).double().view(3, 1, 1)
STD = torch.tensor([68.2125, 65.4075, 70.4055]).double().view(3, 1, 1)


def cross_entropy(logits, y):
    return -logits.log_softmax(1).gather(1, y[:, None]).squeeze(1)


def kl(p, q):
    return (p * (p.log() - q.log())).sum(1).mean()


def kd(s, t, y):
    return .1 * cross_entropy(s, y).mean() + .9 * 4**2 * kl((t / 4).softmax(1), (s / 4).softmax(1))


def wsld(s, t, y):
    weights = 1 - torch.exp(-cross_entropy(s, y).detach() / (cross_entropy(t, y) + 1e-7))
    soft = -((t / 4).softmax(1) * (s / 4).log_softmax(1)).sum(1)
    return cross_entropy(s, y).mean() + 2.25 * 4**2 * (weights * soft).mean()


def tf_kd_reg(s, t, y):
    p = torch.full_like(s, .01 / (C - 1)).scatter(1, y[:, None], .99) ** (1 / 20)
    return .9 * cross_entropy(s, y).mean() + .1 * kl(p / p.sum(1, keepdim=True), (s / 20).softmax(1))


def label_smoothing(s, t, y):
    return .9 * cross_entropy(s, y).mean() + .1 * kl(torch.full_like(s, 1 / C), s.softmax(1))


METHODS = dict(kd_crd=(kd, 'eval'), wsld_cifar100=(wsld, 'eval'), tf_kd_reg=(tf_kd_reg, None),
               label_smoothing=(label_smoothing, None))
CASES = [*((name, formula, mode) for name, (formula, mode) in METHODS.items()), ('wsld_cifar100', wsld, 'train')]


class Recorder(Hook):
    """Keeps the first weights, and of each iteration its batch as loaded and its loss."""

    def __init__(self):
        self.batches, self.losses = [], []

    def before_train(self, runner):
        self.student = copy.deepcopy(runner.model.student).train()
        self.teacher = copy.deepcopy(runner.model.teacher)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        labels = torch.cat([sample.gt_label for sample in data_batch['data_samples']])
        self.batches.append((data_batch['inputs'].clone(), labels))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append(outputs['loss'].item())


def config(folder, method, teacher_bn):
    """resnet14 → resnet8 on the schedule of the CIFAR-100 tables, compressed to three epochs."""
    sources = {}
    for split, n in (('train', 10 * BATCH), ('test', BATCH)):
        images, _ = arrays(n, size=32)
        names = [str(label) for label in range(C)]
        sources[split] = Source(names, n, zip(images, (7 * i % C for i in range(n)), strict=True))
    pack(folder / 'data', sources)
    model = dict(architecture=dict(cfg_path=str(CONFIGS / 'baselines/resnet8_1xb64_cifar100.py')),
                 teacher=dict(num_classes=C))
    if teacher_bn:
        model.update(teacher=dict(model['architecture'], backbone=dict(depth=14)), teacher_ckpt=False,
                     teacher_bn=teacher_bn)
    loader = dict(num_workers=0, persistent_workers=False, dataset=dict(data_root=str(folder / 'data')))
    path = folder / 'leaf.py'
    path.write_text(
        f"_base_ = ['{CONFIGS}/_base_/methods/{method}.py', '{CONFIGS}/_base_/protocols/cifar100_bs64.py']\n"
        f'model = {model!r}\ntrain_dataloader = {dict(batch_size=BATCH, **loader)!r}\nval_dataloader = {loader!r}\n'
        f'optim_wrapper = dict(optimizer=dict(lr={LR}))\nparam_scheduler = dict(milestones=[1, 2])\n'
        f'train_cfg = dict(max_epochs={EPOCHS}, val_interval={EPOCHS})\n'
        'accelerate = dict(channels_last=False)\n')
    return training_config(str(path), work_dir=str(folder / 'run'))


@pytest.mark.parametrize(('method', 'formula', 'teacher_bn'), CASES)
def test_training_equals_the_loop_of_the_paper(tmp_path, method, formula, teacher_bn):
    runner = RUNNERS.build(config(tmp_path, method, teacher_bn))
    runner.model.double()
    recorder = Recorder()
    runner.register_hook(recorder, priority='LOWEST')
    runner.train()

    student, teacher = recorder.student, recorder.teacher
    if teacher_bn:
        teacher.train(teacher_bn == 'train')
    velocity = {name: torch.zeros_like(weight) for name, weight in student.named_parameters()}
    for number, (images, labels) in enumerate(recorder.batches):
        x = (images.double() - MEAN) / STD
        with torch.no_grad():
            t = teacher(x, mode='tensor') if teacher_bn else None
        loss = formula(student(x, mode='tensor'), t, labels)
        assert recorder.losses[number] == pytest.approx(loss.item(), rel=0, abs=1e-12)
        gradients = torch.autograd.grad(loss, list(student.parameters()))
        rate = LR * .1 ** (number // 10)
        with torch.no_grad():
            for (name, weight), gradient in zip(student.named_parameters(), gradients, strict=True):
                velocity[name].mul_(.9).add_(gradient + 5e-4 * weight)
                weight.sub_(rate * velocity[name])
    assert len(recorder.batches) == 30
    for (name, expected), trained in zip(student.state_dict().items(), runner.model.student.state_dict().values(),
                                         strict=True):
        torch.testing.assert_close(trained, expected, rtol=0, atol=1e-12, msg=name)
