import math
import re

import pytest
import torch
from factories import RGB, batch, build, classifier, digits_distillation, distillation, run_cfg
from mmengine.optim import build_optim_wrapper
from mmengine.registry import RUNNERS
from torch import nn

from wsld_plugin.engine.accelerate import accelerate
from wsld_plugin.errors import ConfigError
from wsld_plugin.hooks.accelerate import MANY_CLASSES, compile_backbones, compile_losses, fold_teacher


class Fickle(nn.Module):
    """Notices that it was folded."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x):
        return (self.norm(self.conv(x)) * (1 if isinstance(self.norm, nn.BatchNorm2d) else 2), )


def norms(module):
    return sum(isinstance(part, nn.BatchNorm2d) for part in module.modules())


def test_folding_keeps_the_teachers_logits_and_the_students_norms():
    model = build(distillation())
    data = model.data_preprocessor(batch(), training=False)
    before, students = model.teacher_logits(**data), norms(model.student)
    line, = fold_teacher(model, batch())
    assert line.startswith('fold_teacher_bn: 20 folded; logits of the first batch differ by at most')
    assert norms(model.teacher) == 0
    assert norms(model.student) == students > 0
    torch.testing.assert_close(model.teacher_logits(**data), before, rtol=1e-4, atol=1e-5)


def test_every_member_of_an_ensemble_is_folded():
    members = [dict(model=classifier(width=width), checkpoint=False) for width in (4, 8)]
    model = build(distillation(teacher=dict(type='wsld_plugin.EnsembleTeacher', members=members)))
    assert norms(model.teacher) == 40
    assert '40 folded' in fold_teacher(model, batch())[0]
    assert norms(model.teacher) == 0


def test_batch_statistics_are_left_alone():
    model = build(distillation(teacher_bn='train'))
    assert "teacher_bn='train'" in fold_teacher(model, batch())[0]
    assert norms(model.teacher) == 20


def test_a_teacher_without_networks_has_nothing_to_fold():
    model = build(distillation(teacher=dict(type='wsld_plugin.VirtualTeacher', num_classes=5)))
    assert fold_teacher(model, batch()) == []


def test_a_teacher_that_folding_changes_is_refused_and_put_back():
    model = build(distillation())
    model.teacher.backbone = Fickle().eval()
    model.teacher.head = nn.Identity()
    model.teacher.neck = nn.Identity()
    model.teacher.forward = lambda inputs, data_samples, mode: model.teacher.backbone(inputs)
    with pytest.raises(ConfigError, match=r"logits change by .* Set accelerate=dict\(fold_teacher_bn=False\)"):
        fold_teacher(model, batch())
    assert norms(model.teacher.backbone) == 1


@pytest.mark.parametrize('value', [math.nan, math.inf])
def test_a_teacher_whose_logits_are_not_finite_is_refused_as_that_and_is_not_folded(value):
    model = build(distillation())
    torch.nn.init.constant_(model.teacher.head.fc.bias, value)
    with pytest.raises(ConfigError, match=r"teacher's logits of the first batch are not finite"):
        fold_teacher(model, batch())
    assert norms(model.teacher) == 20


def test_backbones_are_compiled_between_the_recorders_and_train_the_same():
    losses = []
    for compiled in (False, True):
        torch.manual_seed(0)
        model = build(distillation())
        if compiled:
            lines = compile_backbones(model, dict(backend='aot_eager'))
            assert lines == ["compile: the teacher's backbone.", "compile: the student's backbone."]
        data = model.data_preprocessor(batch(8), training=True)
        losses.append({name: value.item() for name, value in model(**data, mode='loss').items()})
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_a_backbone_with_a_recorder_inside_is_not_compiled():
    model = build(distillation())
    model.student.backbone.layer3.register_forward_hook(lambda *_: None)
    lines = compile_backbones(model, dict(backend='eager'))
    assert "compile: left out for the student's backbone, 'layer3' in it has a hook." in lines
    assert model.student.backbone._compiled_call_impl is None
    assert model.teacher.backbone._compiled_call_impl is not None


def test_losses_of_few_classes_and_of_no_distillation_are_not_compiled():
    assert compile_losses(build(distillation()), dict(backend='eager')) == []
    assert compile_losses(build(classifier()), dict(backend='eager')) == []


# torch: dynamo instantiates an autograd function, looks at the .grad of logits, and warns of both
@pytest.mark.filterwarnings('ignore:.*should not be instantiated:DeprecationWarning',
                            'ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning')
def test_losses_of_many_classes_are_compiled_and_train_the_same():
    losses = []
    for compiled in (False, True):
        torch.manual_seed(0)
        student, teacher = (classifier(MANY_CLASSES, width, RGB) for width in (4, 8))
        model = build(distillation(architecture=student, teacher=teacher))
        if compiled:
            assert compile_losses(model, dict(backend='aot_eager')) == ['compile: the loss loss_soft.']
            assert model.distiller.distill_losses['loss_soft']._compiled_call_impl is not None
        optimizer = build_optim_wrapper(model, dict(optimizer=dict(type='SGD', lr=.1)))
        steps = [model.train_step(batch(), optimizer) for _ in range(2)]
        losses.append({name: value.item() for name, value in steps[1].items()})
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_what_was_done_is_logged_once(tmp_path):
    cfg = run_cfg(tmp_path, digits_distillation(), accelerate=dict(compile=dict(backend='eager')))
    accelerate(cfg)
    RUNNERS.build(cfg).train()
    log, = tmp_path.glob('*/*.log')
    assert re.findall(r'accelerate\.(\w+): (?:20 folded|the \w+)', log.read_text()) == ['fold_teacher_bn', 'compile',
                                                                                      'compile']


def test_a_machine_without_a_compiler_is_refused_before_the_first_batch(tmp_path, monkeypatch):
    cfg = run_cfg(tmp_path, digits_distillation(), accelerate=dict(compile=True))
    accelerate(cfg)
    runner = RUNNERS.build(cfg)
    monkeypatch.setattr('torch._inductor.config.cpp.cxx', ('no-such-compiler', ))
    with pytest.raises(ConfigError, match=r'accelerate\.compile needs a C\+\+ compiler'):
        runner.train()
    assert runner.iter == 0
