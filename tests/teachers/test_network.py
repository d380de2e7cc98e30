import copy

import pytest
import torch
from factories import BGR, RGB, batch, build, classifier
from torch import nn

from wsld_plugin.errors import ConfigError
from wsld_plugin.teachers import TeacherNetwork, VirtualTeacher
from wsld_plugin.teachers.network import check_sources, head_classes

HEAD = dict(logits=dict(type='mmrazor.ModuleOutputs', source='head'))


def head_named(name, **attributes):
    return type(name, (nn.Module,), attributes)()


def model_with(head):
    model = nn.Module()
    model.head = head
    return model


def preprocessor(cfg=RGB):
    return build(classifier(data_preprocessor=cfg)).data_preprocessor


def saved(path, seed=1, **model):
    torch.manual_seed(seed)
    built = build(classifier(**model)).eval()
    torch.save(dict(state_dict=built.state_dict()), path)
    return built


def test_it_loads_freezes_normalises_and_maps(tmp_path):
    alone = saved(tmp_path / 'a.pth', num_classes=8, data_preprocessor=BGR)
    sees, before = preprocessor(), torch.get_rng_state()
    network = TeacherNetwork(classifier(num_classes=8, data_preprocessor=BGR), str(tmp_path / 'a.pth'),
                             [7, 0, 3, 2, 1], sees)
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert not any(module.training for module in network.modules())
    data = batch()
    result = network(sees(copy.deepcopy(data), False)['inputs'], data['data_samples'])
    expected = alone(alone.data_preprocessor(copy.deepcopy(data), False)['inputs'], mode='tensor')
    torch.testing.assert_close(result, expected[:, [7, 0, 3, 2, 1]], rtol=1e-4, atol=1e-5)
    assert network.num_classes == 5


def test_a_model_without_a_preprocessor_sees_what_the_student_sees():
    sees = preprocessor()
    assert TeacherNetwork(classifier(), False, None, sees, RGB).renormalize is None
    assert TeacherNetwork(classifier(data_preprocessor=RGB), False, None, sees, BGR).renormalize is None
    assert TeacherNetwork(classifier(data_preprocessor=BGR), False, None, sees, RGB).renormalize.flip
    virtual = TeacherNetwork(dict(type='wsld_plugin.VirtualTeacher', num_classes=5), False, None, nn.Identity())
    assert virtual.renormalize is None


def test_a_model_without_a_checkpoint_is_initialised_and_a_loaded_one_is_not(tmp_path):
    cfg = classifier()
    cfg['head']['init_cfg'] = dict(type='Constant', layer='Linear', val=0.25)
    assert (TeacherNetwork(cfg, False, None, preprocessor(), RGB).model.head.fc.weight == 0.25).all()
    source = saved(tmp_path / 'a.pth')
    network = TeacherNetwork(cfg, str(tmp_path / 'a.pth'), None, preprocessor(), RGB)
    network.init_weights()
    assert all(torch.equal(value, source.state_dict()[name]) for name, value in network.model.state_dict().items())


@pytest.mark.parametrize(('model', 'settings', 'message'), [
    (VirtualTeacher(5), dict(checkpoint='a.pth'),
     r"checkpoint='a.pth': a VirtualTeacher has no weights\. Write checkpoint=False"),
    (classifier(), dict(class_map=[0, 1, 5]), 'The teacher has 5 classes'),
    (classifier(head=dict(type='MultiLabelLinearClsHead', num_classes=5, in_channels=32)), {},
     'MultiLabelLinearClsHead does not fit.*Here the output of the head itself is read'),
    (classifier(), dict(recorders=dict(logits=dict(type='mmrazor.ModuleOutputs', source='haed'))),
     r"teacher recorder 'logits'.*Did you mean 'head'"),
])
def test_a_teacher_that_does_not_fit_is_refused(model, settings, message):
    settings = {**dict(checkpoint=False, class_map=None, sees=preprocessor(), default=RGB), **settings}
    with pytest.raises(ConfigError, match=message):
        TeacherNetwork(model, **settings)


@pytest.mark.parametrize(('bn', 'expected'), [('eval', set()), ('train', {'BatchNorm2d'})])
def test_a_teacher_trains_nothing_but_its_batchnorm_if_asked_also_within_an_ensemble(bn, expected):
    members = [dict(model=classifier(), checkpoint=False)] * 2
    for model in (classifier(), dict(type='wsld_plugin.EnsembleTeacher', members=members)):
        teacher = TeacherNetwork(model, False, None, preprocessor(), RGB, bn=bn)
        teacher.add_module('dropout', nn.Dropout())
        for mode, wanted in ((True, expected), (False, set())):
            assert teacher.train(mode) is teacher
            assert {type(module).__name__ for module in teacher.modules() if module.training} == wanted


def test_single_label_heads_fit():
    for head in (dict(type='LinearClsHead'), dict(type='StackedLinearClsHead', mid_channels=[8])):
        model = build(classifier(head=dict(head, num_classes=5, in_channels=32)))
        for role in ('student', 'teacher'):
            check_sources(model, HEAD, role)
        assert head_classes(model) == 5


@pytest.mark.parametrize(('name', 'words'), [
    ('ConformerHead', "source='head.conv_cls_head'"),
    ('ArcFaceClsHead', 'margin'),
    ('MultiTaskHead', 'head.task_heads'),
    ('MultiLabelClsHead', 'sigmoid'),
])
def test_unfit_heads_and_their_subclasses_are_refused_by_name(name, words):
    heir = type('Heir', (type(head_named(name)),), {})()
    for head, kind in ((head_named(name), name), (heir, 'Heir')):
        with pytest.raises(ConfigError, match=f'{kind}.*{words}'):
            check_sources(model_with(head), HEAD, 'teacher')


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


def test_recorders_of_functions_are_not_looked_up_in_the_model():
    model = nn.Linear(1, 1)
    check_sources(model, dict(f=dict(type='mmrazor.FunctionOutputs', source='a.b.c')), 'student')
    assert head_classes(model) is None
