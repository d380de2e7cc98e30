import copy
import re

import pytest
import torch
from factories import BGR, RGB, batch, build, classifier, distillation
from mmengine.optim import build_optim_wrapper
from torch.nn import functional as F

from wsld_plugin.errors import CheckpointError, ConfigError
from wsld_plugin.teachers import EnsembleTeacher

IMAGES = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(5))


def average_of(logits, average):
    return EnsembleTeacher([dict_member()], average).head(list(logits))


def ensemble(*members, **settings):
    return dict(type='wsld_plugin.EnsembleTeacher', members=[*members], **settings)


def member(seed=0, class_map=None, **model):
    """A built classifier with random weights and BatchNorm statistics, as a member."""
    torch.manual_seed(seed)
    built = build(classifier(**model)).eval()
    for module in built.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.bias)
            module.running_mean.normal_(std=.1)
    return dict(model=built, checkpoint=False, class_map=class_map)


def dict_member(**changes):
    return {**dict(model=classifier(), checkpoint=False), **changes}


def saved(path, seed, **model):
    """A member config whose weights are in a file, and the model that they come from."""
    built = member(seed, **model)['model']
    torch.save(dict(state_dict=built.state_dict()), path)
    return dict(model=classifier(**model), checkpoint=str(path)), built


def test_averages_are_their_definitions_small_probabilities_keep_their_logarithm_and_confident_members_share():
    for m, scale in ((1, 1.0), (2, 30.0), (5, 1e4)):
        logits = scale * torch.randn(m, 6, 10, generator=torch.Generator().manual_seed(m))
        mean = F.softmax(logits.double(), -1).mean(0)
        result = average_of(logits, 'probabilities')
        assert result.dtype == torch.float32
        assert result.isfinite().all()
        torch.testing.assert_close(F.softmax(result, 1).double(), mean, rtol=1e-5, atol=1e-7)
        seen = mean > 1e-30
        torch.testing.assert_close(result.double()[seen], mean[seen].log(), rtol=1e-5, atol=1e-5)
        mean_logits = average_of(logits, 'logits').double()
        torch.testing.assert_close(mean_logits, logits.double().mean(0), rtol=1e-5, atol=1e-5 * scale)
    logits = torch.tensor([[[0., -1e4, -2e4]], [[0., -3e4, -1e4]]])
    expected = torch.tensor([[0., -1e4, -1e4]]) - torch.tensor([[0., 1, 1]]) * torch.log(torch.tensor(2.))
    torch.testing.assert_close(average_of(logits, 'probabilities'), expected)
    half = average_of(torch.tensor([[[1e4, 0., 0.]], [[0., 1e4, 0.]]]), 'probabilities').softmax(1)
    torch.testing.assert_close(half, torch.tensor([[.5, .5, 0.]]))


@pytest.mark.parametrize(('student', 'own'), [
    (RGB, {}), (BGR, dict(data_preprocessor=dict(mean=[0.0] * 3, std=[255.0] * 3)))])
def test_each_member_sees_what_it_would_see_alone(student, own):
    members = [member(0, data_preprocessor=RGB), member(1, data_preprocessor=BGR)]
    seen, data = [], batch()
    model = build(distillation(architecture=classifier(data_preprocessor=student), teacher=ensemble(*members, **own)))
    for each in model.teacher.members:
        each.model.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    model(**model.data_preprocessor(copy.deepcopy(data), False), mode='loss')
    recorded, alone = model.distiller.teacher_recorders.get_recorder('logits').get_record_data(), []
    for part, inputs in zip(members, tuple(seen), strict=True):
        expected = part['model'].data_preprocessor(copy.deepcopy(data), False)['inputs']
        torch.testing.assert_close(inputs, expected, rtol=1e-5, atol=1e-5)
        alone.append(part['model'](expected, mode='tensor'))
    torch.testing.assert_close(recorded, torch.stack(alone).softmax(-1).mean(0).log(), rtol=1e-4, atol=1e-5)


def test_members_without_a_normalisation_see_what_the_ensemble_sees_also_in_an_ensemble_of_ensembles():
    inner = ensemble(dict_member(), dict_member(model=classifier(data_preprocessor=BGR)))
    same = dict_member(model=classifier(data_preprocessor=RGB))
    model = build(distillation(teacher=ensemble(dict_member(model=inner), same)))
    nested, same = model.teacher.members
    assert {each.renormalize for each in (model.network, nested, same, nested.model.members[0])} == {None}
    assert nested.model.members[1].renormalize.flip


def test_class_maps_bring_the_members_to_the_same_classes_and_labels_are_read_if_a_member_reads_them():
    members = [member(0, num_classes=8, class_map=[7, 0, 3, 2, 1]), member(1, num_classes=5)]
    teacher = EnsembleTeacher(members, 'logits')
    expected = (members[0]['model'](IMAGES, mode='tensor')[:, [7, 0, 3, 2, 1]]
                + members[1]['model'](IMAGES, mode='tensor')) / 2
    torch.testing.assert_close(teacher(IMAGES), expected)
    assert teacher.head.num_classes == 5
    assert not teacher.reads_labels
    reader = dict_member(model=dict(type='wsld_plugin.VirtualTeacher', num_classes=5))
    model = build(distillation(teacher=ensemble(dict_member(), reader)))
    assert model.teacher.reads_labels
    assert model(**model.data_preprocessor(batch(), True), mode='loss')['distill.loss_soft'].isfinite()


@pytest.mark.parametrize('teacher_bn', ['eval', 'train'])
def test_each_member_is_loaded_or_initialised_and_frozen_but_for_its_batchnorm_if_asked(tmp_path, teacher_bn):
    first, source = saved(tmp_path / 'a.pth', 1)
    second, other = saved(tmp_path / 'b.pth', 2, width=8)
    third = dict_member()
    third['model']['head']['init_cfg'] = dict(type='Constant', layer='Linear', val=0.25)
    model = build(distillation(teacher=ensemble(first, second, third), teacher_bn=teacher_bn))
    for loaded, expected in zip(model.teacher.members, (source, other), strict=False):
        for name, value in expected.state_dict().items():
            assert torch.equal(loaded.model.state_dict()[name], value), name
    assert (model.teacher.members[2].model.head.fc.weight == 0.25).all()
    assert not any(parameter.requires_grad for parameter in model.teacher.parameters())
    assert all(name.startswith('architecture.') for name in model.state_dict())
    before = copy.deepcopy(model.teacher.state_dict())
    model.train().train_step(batch(), build_optim_wrapper(model, dict(optimizer=dict(type='SGD', lr=0.1))))
    for name, value in model.teacher.state_dict().items():
        statistics = teacher_bn == 'train' and ('running' in name or 'batches' in name)
        assert torch.equal(value, before[name]) != statistics, name


@pytest.mark.parametrize(('members', 'message'), [
    ([], 'members=[], expected a list of one or more'),
    (dict_member(), 'members={'),
    ([dict_member(), dict(checkpoint=False)], 'members[1] has no model'),
    ([dict_member(), dict(model=classifier())], 'members[1]: checkpoint=None, expected the file or URL'),
    ([dict_member(checkpont='a.pth')], "Did you mean 'checkpoint'?"),
    ([dict_member(checkpoint='a.pth'), dict_member(), dict_member(checkpoint='a.pth')],
     'members[2] is the same as members[0] (a.pth), which would count twice'),
    ([dict_member(), dict_member(model=classifier(7))], 'members[1] has 7 classes and members[0] 5'),
    ([dict_member(class_map=[0, 1, 5])], 'members[0]: The teacher has 5 classes'),
    ([dict_member(), dict_member(model=dict(cfg_path='mmpretrain::resnet/resnt18_8xb32_in1k.py'))],
     'members[1]: model.cfg_path'),
    ([dict_member(model=dict(type='wsld_plugin.VirtualTeacher', num_classes=5), checkpoint='a.pth')],
     "members[0]: checkpoint='a.pth': a VirtualTeacher has no weights. Write checkpoint=False."),
    ([dict_member(model=classifier(head=dict(type='MultiLabelLinearClsHead', num_classes=5, in_channels=32)))],
     "members[0]: the teacher's MultiLabelLinearClsHead does not fit source='head': its classes are independent "
     'sigmoids; soft labels of a softmax do not apply. Here the output of the head itself is read.'),
])
def test_members_that_do_not_fit_are_refused_by_their_index(members, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        EnsembleTeacher(members)


def test_settings_checkpoints_and_outputs_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"average='logit', expected one of.*Did you mean 'logits'"):
        EnsembleTeacher([dict_member()], average='logit')
    with pytest.raises(NotImplementedError, match="mode='predict'"):
        EnsembleTeacher([dict_member()])(IMAGES, mode='predict')
    for changes, member_changes, message in (
            (dict(teacher_ckpt=None), {}, 'for an EnsembleTeacher, whose members each name their checkpoint'),
            (dict(teacher_ckpt='a.pth'), {}, "teacher_ckpt='a.pth': the members of an EnsembleTeacher each"),
            ({}, dict(model=classifier(7)), 'teacher has 7 classes and the student 5')):
        with pytest.raises(ConfigError, match=re.escape(message)):
            build(distillation(**changes, teacher=ensemble(dict_member(**member_changes))))

    fits, _ = saved(tmp_path / 'a.pth', 1)
    with pytest.raises(FileNotFoundError, match=r'teacher member 1 checkpoint: .*b\.pth'):
        EnsembleTeacher([fits, dict_member(checkpoint=str(tmp_path / 'b.pth'))])
    with pytest.raises(CheckpointError, match=r'teacher member 1 checkpoint.*does not fit'):
        EnsembleTeacher([fits, dict_member(model=classifier(7), checkpoint=str(tmp_path / 'a.pth'))])

    with pytest.raises(ValueError, match=r'members\[1\] returns logits \(4, 7\) and members\[0\] \(4, 5\)'):
        EnsembleTeacher([dict_member()]).head([torch.zeros(4, 5), torch.zeros(4, 7)])
    headless = EnsembleTeacher([dict_member(model=classifier(head=None))])
    with pytest.raises(TypeError, match='LogitConnector was given tuple'):
        headless(IMAGES)
