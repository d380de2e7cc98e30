import pytest
import torch
from factories import build, classifier
from torch import nn

from wsld_plugin.algorithms.heads import check_sources, head_classes
from wsld_plugin.errors import ConfigError

HEAD = dict(logits=dict(type='mmrazor.ModuleOutputs', source='head'))


def model_with(head):
    model = nn.Module()
    model.head = head
    return model


def head_named(name, **attributes):
    return type(name, (nn.Module,), attributes)()


@pytest.mark.parametrize('role', ['student', 'teacher'])
def test_single_label_heads_fit(role):
    for kind in ('LinearClsHead', 'StackedLinearClsHead'):
        head = dict(type=kind, num_classes=5, in_channels=32)
        if kind == 'StackedLinearClsHead':
            head['mid_channels'] = [8]
        check_sources(build(classifier(head=head)), HEAD, role)


@pytest.mark.parametrize(('name', 'words'), [
    ('ConformerHead', "source='head.conv_cls_head'"),
    ('ArcFaceClsHead', 'margin'),
    ('MultiTaskHead', 'head.task_heads'),
    ('MultiLabelClsHead', 'sigmoid'),
])
def test_unfit_heads_and_their_subclasses_are_refused_by_name(name, words):
    with pytest.raises(ConfigError, match=f'{name}.*{words}'):
        check_sources(model_with(head_named(name)), HEAD, 'teacher')
    heir = type('Heir', (type(head_named(name)),), {})()
    with pytest.raises(ConfigError, match=f'Heir.*{words}'):
        check_sources(model_with(heir), HEAD, 'teacher')


def test_a_head_of_two_outputs_is_refused_for_a_student_only():
    head = head_named('LeViTClsHead', distillation=True)
    check_sources(model_with(head), HEAD, 'teacher')
    with pytest.raises(ConfigError, match='distillation=False'):
        check_sources(model_with(head), HEAD, 'student')


def test_a_wrapper_without_head_is_refused_with_the_source_to_write():
    timm = type('TimmClassifier', (nn.Module,), {})()
    timm.model = nn.Linear(2, 2)
    with pytest.raises(ConfigError, match=r"TimmClassifier has no submodule 'head'.*source='model'"):
        check_sources(timm, HEAD, 'teacher')
    check_sources(timm, dict(logits=dict(type='mmrazor.ModuleOutputs', source='model')), 'teacher')


def test_a_misspelt_source_names_the_nearest_module():
    with pytest.raises(ConfigError, match=r"Did you mean 'head\.loss_module'"):
        check_sources(build(classifier()), dict(target=dict(type='mmrazor.ModuleInputs', source='head.loss_modul')),
                      'student')


def test_recorders_of_functions_are_left_to_mmrazor():
    check_sources(nn.Linear(1, 1), dict(f=dict(type='mmrazor.FunctionOutputs', source='a.b.c')), 'student')


def test_class_counts_are_those_of_the_head_where_it_declares_one():
    assert head_classes(build(classifier(num_classes=7))) == 7
    assert head_classes(torch.nn.Linear(2, 3)) is None
