import copy
import sys
from pathlib import Path

import mmpretrain
import pytest
import torch
from factories import BGR, RGB, classifier, distiller
from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope
from torch import nn

from wsld_plugin.config.models import build_model, resolve_model_cfg, student_model_cfg
from wsld_plugin.errors import ConfigError

SHIPPED = Path(mmpretrain.__file__).parent / '.mim' / 'configs'
RESNET = 'mmpretrain::resnet/resnet18_8xb32_in1k.py'
DEIT = 'mmpretrain::deit/deit-tiny_4xb256_in1k.py'


def named(cfg_path=RESNET, **overrides):
    return resolve_model_cfg(dict(cfg_path=cfg_path, **overrides))


def rejected(**cfg):
    with pytest.raises(ConfigError) as caught:
        resolve_model_cfg(cfg)
    return str(caught.value)


def keys_of(value):
    if isinstance(value, dict):
        yield from value
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from keys_of(item)


@pytest.mark.parametrize('cfg_path', [RESNET, DEIT])
def test_without_overrides_it_is_the_model_of_the_named_config(cfg_path):
    shipped = Config.fromfile(SHIPPED / cfg_path.split('::')[1])
    assert named(cfg_path) == dict(
        shipped.model.to_dict(), _scope_='mmpretrain',
        data_preprocessor=dict(shipped.data_preprocessor.to_dict(), type='ClsDataPreprocessor'))


def test_a_preprocessor_inside_the_named_model_stays(tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text("model = dict(type='ImageClassifier', backbone=dict(type='ResNet', depth=18),\n"
                    "             data_preprocessor=dict(type='ClsDataPreprocessor', mean=[1.], std=[2.]))\n"
                    'data_preprocessor = dict(mean=[3.], std=[4.])\n')
    assert named(str(path))['data_preprocessor']['mean'] == [1.]


def test_overrides_change_the_built_model_under_any_default_scope():
    loss = dict(_delete_=True, type='LabelSmoothLoss', label_smooth_val=.3)
    with DefaultScope.overwrite_default_scope('mmrazor'):
        model = build_model(dict(cfg_path=RESNET, head=dict(num_classes=10, loss=loss),
                                 backbone=dict(stem_channels=8),
                                 data_preprocessor=dict(mean=[1., 2., 3.], to_rgb=False)))
    assert type(model).__name__ == 'ImageClassifier'
    assert model.eval()(torch.zeros(1, 3, 32, 32), mode='tensor').shape == (1, 10)
    assert model.backbone.conv1.out_channels == 8
    assert type(model.head.loss_module).__name__ == 'LabelSmoothLoss'
    assert model.head.loss_module.label_smooth_val == .3
    assert model.data_preprocessor.mean.flatten().tolist() == [1, 2, 3]
    assert model.data_preprocessor.to_rgb is False


def test_delete_replaces_and_leaves_no_trace():
    cfg = named(backbone=dict(_delete_=True, type='MobileNetV2', act_cfg=dict(_delete_=True, type='ReLU')),
                head=dict(in_channels=1280), train_cfg=dict(_delete_=True, augments=dict(type='Mixup', alpha=.2)))
    assert cfg['backbone'] == dict(type='MobileNetV2', act_cfg=dict(type='ReLU'))
    assert '_delete_' not in set(keys_of(cfg))


@pytest.mark.parametrize(('augments', 'expected'), [
    ([dict(type='CutMix', alpha=1.)], [dict(type='CutMix', alpha=1.)]),
    ({'0': dict(alpha=.5)}, [dict(type='Mixup', alpha=.5), dict(type='CutMix', alpha=1.)]),
])
def test_a_list_is_replaced_or_changed_by_index(augments, expected):
    assert named(DEIT, train_cfg=dict(augments=augments))['train_cfg']['augments'] == expected


@pytest.mark.parametrize('kind', [dict, ConfigDict])
def test_the_given_config_is_not_changed(kind):
    given = kind(cfg_path=RESNET, head=dict(loss=dict(_delete_=True, type='LabelSmoothLoss', label_smooth_val=.1)))
    before = copy.deepcopy(given)
    resolve_model_cfg(given)
    assert given == before


def test_without_a_name_it_is_a_deep_copy():
    given = dict(type='ImageClassifier', backbone=dict(type='ResNet', out_indices=[3]))
    copied = resolve_model_cfg(given)
    assert copied == given
    copied['backbone']['out_indices'].append(4)
    assert given['backbone']['out_indices'] == [3]


def test_the_result_is_made_of_ordinary_dicts():
    def kinds(value):
        yield type(value)
        if isinstance(value, (dict, list, tuple)):
            for item in value.values() if isinstance(value, dict) else value:
                yield from kinds(item)

    assert ConfigDict not in set(kinds(resolve_model_cfg(ConfigDict(cfg_path=RESNET, head=dict(num_classes=2)))))


def test_a_local_config_may_itself_name_one(tmp_path, monkeypatch):
    (tmp_path / 'student.py').write_text(
        f"model = dict(cfg_path={RESNET!r}, head=dict(num_classes=7), backbone=dict(frozen_stages=1))\n")
    monkeypatch.chdir(tmp_path)
    cfg = named('student.py', head=dict(num_classes=5))
    assert (cfg['head']['num_classes'], cfg['backbone']['frozen_stages'], cfg['_scope_']) == (5, 1, 'mmpretrain')


def test_overrides_that_cannot_be_merged_are_rejected():
    assert 'Index 7 exceeds' in rejected(cfg_path=DEIT, train_cfg=dict(augments={'7': dict(alpha=1)}))
    assert 'neck' in rejected(cfg_path=DEIT, neck=dict(type='GlobalAveragePooling'))


@pytest.mark.parametrize(('cfg_path', 'said'), [
    ('mmpretrain::resnet/resnt18_8xb32_in1k.py', f'Did you mean {RESNET!r}?'),
    ('mmcls::resnet/resnet18_8xb32_in1k.py', "write 'mmpretrain::…'"),
    ('resnet18_8xb32_in1k', f'write {RESNET!r}'),
    ('no_such_package::a/b.py', "'no_such_package' is not installed"),
    ('mmpretrain::_base_/default_runtime.py', 'has no `model`'),
])
def test_a_name_that_leads_nowhere_is_rejected(cfg_path, said):
    assert said in rejected(cfg_path=cfg_path)


def test_mmrazors_flag_for_downloads_is_rejected_and_false_is_ignored():
    assert 'pretrained=True' in rejected(cfg_path=RESNET, pretrained=True)
    assert named(pretrained=False) == named()


def test_messages_name_the_place_in_a_larger_config():
    with pytest.raises(ConfigError, match=r'^model\.teacher\.members\.0\.model\.cfg_path: '):
        resolve_model_cfg(dict(members=[dict(model=dict(cfg_path='mmpretrain::x/y.py'))]), where='model.teacher')


def test_a_built_model_is_returned_as_it_is_and_a_model_without_a_type_is_rejected():
    module = nn.Linear(2, 3)
    assert build_model(module) is module
    with pytest.raises(ConfigError, match='needs a type'):
        build_model(dict(backbone=dict(type='ResNet', depth=18)))


def test_pkg_resources_is_not_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, 'pkg_resources', None)
    assert named()['type'] == 'ImageClassifier'


MIXUP = dict(augments=dict(type='Mixup', alpha=0.2))


def test_the_preprocessor_of_the_training_config_replaces_the_students_own():
    student = classifier(data_preprocessor=RGB)
    cfg = student_model_cfg(student, BGR)
    assert (cfg['data_preprocessor']['mean'], cfg['data_preprocessor']['to_rgb']) == (BGR['mean'], False)
    assert student_model_cfg(student)['data_preprocessor']['mean'] == RGB['mean']
    assert student == classifier(data_preprocessor=RGB)


def test_the_class_count_of_the_preprocessor_is_that_of_the_head():
    cfg = student_model_cfg(classifier(num_classes=7), dict(RGB, num_classes=1000))
    assert cfg['data_preprocessor']['num_classes'] == 7


def test_mixing_in_the_students_config_is_kept_unless_the_training_config_sets_its_own():
    student = classifier(train_cfg=MIXUP)
    assert student_model_cfg(student, RGB)['data_preprocessor']['batch_augments'] == MIXUP
    assert student_model_cfg(student, dict(RGB, batch_augments=None))['data_preprocessor']['batch_augments'] is None


def test_mmrazors_own_algorithm_is_built_from_named_models_with_their_overrides():
    model = build_model(dict(
        type='mmrazor.SingleTeacherDistill', teacher_ckpt=None, distiller=distiller(),
        data_preprocessor=dict(RGB, type='mmpretrain.ClsDataPreprocessor'),
        architecture=dict(cfg_path=RESNET, pretrained=False, head=dict(num_classes=7)),
        teacher=dict(cfg_path=RESNET, pretrained=False, head=dict(num_classes=7), backbone=dict(depth=34))))
    assert (model.student.head.num_classes, model.teacher.backbone.depth) == (7, 34)
