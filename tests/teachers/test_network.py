import pytest
from factories import RGB, build, classifier
from torch import nn

from wsld_plugin.errors import ConfigError
from wsld_plugin.teachers import TeacherNetwork
from wsld_plugin.teachers.network import check_sources, head_classes

HEAD = dict(logits=dict(type='mmrazor.ModuleOutputs', source='head'))


def model_with(name, bases=(nn.Module,), **attributes):
    """A model whose head is of a class of that name."""
    model = nn.Module()
    model.head = type(name, bases, attributes)()
    return model


@pytest.mark.parametrize(('bn', 'expected'), [('eval', set()), ('train', {'BatchNorm2d'})])
def test_a_teacher_trains_nothing_but_its_batchnorm_if_asked_also_within_an_ensemble(bn, expected):
    members, sees = [dict(model=classifier(), checkpoint=False)] * 2, build(classifier(data_preprocessor=RGB))
    for model in (classifier(), dict(type='wsld_plugin.EnsembleTeacher', members=members)):
        teacher = TeacherNetwork(model, False, None, sees.data_preprocessor, RGB, bn=bn)
        teacher.add_module('dropout', nn.Dropout())
        for mode, wanted in ((True, expected), (False, set())):
            assert teacher.train(mode) is teacher
            assert {type(module).__name__ for module in teacher.modules() if module.training} == wanted


def test_single_label_heads_fit_and_one_of_two_outputs_fits_a_teacher_alone():
    for head in (dict(type='LinearClsHead'), dict(type='StackedLinearClsHead', mid_channels=[8])):
        model = build(classifier(head=dict(head, num_classes=5, in_channels=32)))
        for role in ('student', 'teacher'):
            check_sources(model, HEAD, role)
        assert head_classes(model) == 5
    model = model_with('LeViTClsHead', distillation=True)
    check_sources(model, HEAD, 'teacher')
    with pytest.raises(ConfigError, match='distillation=False'):
        check_sources(model, HEAD, 'student')


@pytest.mark.parametrize(('name', 'words'), [
    ('ConformerHead', "source='head.conv_cls_head'"), ('ArcFaceClsHead', 'margin'),
    ('MultiTaskHead', 'head.task_heads'), ('MultiLabelClsHead', 'sigmoid')])
def test_unfit_heads_and_their_subclasses_are_refused_by_name(name, words):
    model = model_with(name)
    for unfit, kind in ((model, name), (model_with('Heir', (type(model.head),)), 'Heir')):
        with pytest.raises(ConfigError, match=f'{kind}.*{words}'):
            check_sources(unfit, HEAD, 'teacher')


def test_a_source_that_is_not_in_the_model_is_refused_with_the_one_to_write_but_functions_are_not_looked_up():
    with pytest.raises(ConfigError, match=r"teacher recorder 'logits'.*Did you mean 'head'"):
        TeacherNetwork(classifier(), False, None, nn.Identity(), RGB,
                       recorders=dict(logits=dict(type='mmrazor.ModuleOutputs', source='haed')))
    timm = type('TimmClassifier', (nn.Module,), {})()
    timm.model = nn.Linear(2, 2)
    with pytest.raises(ConfigError, match=r"TimmClassifier has no submodule 'head'.*source='model'"):
        check_sources(timm, HEAD, 'teacher')
    check_sources(timm, dict(logits=dict(type='mmrazor.ModuleOutputs', source='model')), 'teacher')
    check_sources(timm, dict(f=dict(type='mmrazor.FunctionOutputs', source='a.b.c')), 'student')
    assert head_classes(timm) is None
