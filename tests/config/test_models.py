import copy
import pickle
import sys
from pathlib import Path

import mmpretrain
import pytest
import torch
from factories import BGR, RGB, classifier, distiller
from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope

from wsld_plugin.config.models import build_model, resolve_model_cfg, student_model_cfg
from wsld_plugin.errors import ConfigError

SHIPPED = Path(mmpretrain.__file__).parent / '.mim' / 'configs'
RESNET = 'mmpretrain::resnet/resnet18_8xb32_in1k.py'
DEIT = 'mmpretrain::deit/deit-tiny_4xb256_in1k.py'


def named(cfg_path=RESNET, **overrides):
    return resolve_model_cfg(dict(cfg_path=cfg_path, **overrides))


@pytest.mark.parametrize('cfg_path', [RESNET, DEIT])
def test_without_overrides_it_is_the_model_of_the_named_config(cfg_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'pkg_resources', None)  # it is not needed
    shipped = Config.fromfile(SHIPPED / cfg_path.split('::')[1])
    expected = dict(shipped.model.to_dict(), _scope_='mmpretrain',
                    data_preprocessor=dict(shipped.data_preprocessor.to_dict(), type='ClsDataPreprocessor'))
    assert named(cfg_path) == named(cfg_path, pretrained=False) == expected


def test_a_local_config_may_itself_name_one_and_keeps_the_preprocessor_inside_its_model(tmp_path, monkeypatch):
    (tmp_path / 'student.py').write_text(
        f"model = dict(cfg_path={RESNET!r}, head=dict(num_classes=7), backbone=dict(frozen_stages=1),\n"
        "             data_preprocessor=dict(mean=[1.], std=[2.]))\n"
        'data_preprocessor = dict(mean=[3.], std=[4.])\n')
    monkeypatch.chdir(tmp_path)
    cfg = named('student.py', head=dict(num_classes=5))
    assert (cfg['head']['num_classes'], cfg['backbone']['frozen_stages'], cfg['_scope_']) == (5, 1, 'mmpretrain')
    assert cfg['data_preprocessor']['mean'] == [1.]


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


def test_delete_replaces_and_leaves_no_trace_and_a_list_is_replaced_or_changed_by_index():
    mixup, cutmix = dict(type='Mixup', alpha=.5), dict(type='CutMix', alpha=1.)
    cfg = named(backbone=dict(_delete_=True, type='MobileNetV2', act_cfg=dict(_delete_=True, type='ReLU')),
                head=dict(in_channels=1280), train_cfg=dict(_delete_=True, augments=mixup))
    assert cfg['backbone'] == dict(type='MobileNetV2', act_cfg=dict(type='ReLU'))
    assert '_delete_' not in str(cfg)
    for augments, expected in (([cutmix], [cutmix]), ({'0': dict(alpha=.5)}, [mixup, cutmix])):
        assert named(DEIT, train_cfg=dict(augments=augments))['train_cfg']['augments'] == expected


@pytest.mark.parametrize('kind', [dict, ConfigDict])
def test_the_result_is_a_deep_copy_of_ordinary_dicts(kind):
    loss = dict(_delete_=True, type='LabelSmoothLoss', label_smooth_val=.1)
    given = [kind(cfg_path=RESNET, head=dict(loss=loss), backbone=dict(out_indices=[3])),
             kind(type='ImageClassifier', backbone=dict(type='ResNet', out_indices=[3]))]
    before = copy.deepcopy(given)
    assert resolve_model_cfg(given[1]) == given[1]
    for cfg in map(resolve_model_cfg, given):
        assert b'ConfigDict' not in pickle.dumps(cfg)  # names the class of every part
        cfg['backbone']['out_indices'].append(4)
    assert given == before


@pytest.mark.parametrize(('cfg', 'said'), [
    (dict(cfg_path='mmpretrain::resnet/resnt18_8xb32_in1k.py'), f'Did you mean {RESNET!r}?'),
    (dict(cfg_path='mmcls::resnet/resnet18_8xb32_in1k.py'), "write 'mmpretrain::…'"),
    (dict(cfg_path='resnet18_8xb32_in1k'), f'write {RESNET!r}'),
    (dict(cfg_path='no_such_package::a/b.py'), "'no_such_package' is not installed"),
    (dict(cfg_path='mmpretrain::_base_/default_runtime.py'), 'has no `model`'),
    (dict(cfg_path=DEIT, train_cfg=dict(augments={'7': dict(alpha=1)})), 'Index 7 exceeds'),
    (dict(cfg_path=DEIT, neck=dict(type='GlobalAveragePooling')), 'neck'),
    (dict(cfg_path=RESNET, pretrained=True), 'pretrained=True'),
    (dict(backbone=dict(type='ResNet', depth=18)), 'needs a type'),
])
def test_a_name_that_leads_nowhere_and_overrides_that_cannot_be_merged_are_rejected(cfg, said):
    with pytest.raises(ConfigError) as caught:
        build_model(cfg)
    assert said in str(caught.value)


def test_messages_name_the_place_in_a_larger_config():
    with pytest.raises(ConfigError, match=r'^model\.teacher\.members\.0\.model\.cfg_path: '):
        resolve_model_cfg(dict(members=[dict(model=dict(cfg_path='mmpretrain::x/y.py'))]), where='model.teacher')


def test_the_preprocessor_of_the_training_config_replaces_the_students_own_except_its_class_count_and_mixing():
    mixing = dict(augments=dict(type='Mixup', alpha=0.2))
    student = classifier(num_classes=7, data_preprocessor=RGB, train_cfg=mixing)
    own, new = (student_model_cfg(student, given)['data_preprocessor']
                for given in (None, dict(BGR, num_classes=1000)))
    assert (own['mean'], own['to_rgb']) == (RGB['mean'], True)
    assert (new['mean'], new['to_rgb'], new['num_classes'], new['batch_augments']) == (BGR['mean'], False, 7, mixing)
    assert student_model_cfg(student, dict(RGB, batch_augments=None))['data_preprocessor']['batch_augments'] is None
    assert student == classifier(num_classes=7, data_preprocessor=RGB, train_cfg=mixing)


def test_the_preprocessor_of_mmrazors_configs_becomes_the_one_that_a_classifier_can_use():
    given = dict(type='ImgDataPreprocessor', mean=[1.0], std=[2.0], bgr_to_rgb=True)
    assert student_model_cfg(classifier(), given)['data_preprocessor'] == dict(
        type='ClsDataPreprocessor', mean=[1.0], std=[2.0], to_rgb=True, num_classes=5)


def test_mmrazors_own_algorithm_is_built_from_named_models_with_their_overrides_and_a_built_model_is_returned():
    model = build_model(dict(
        type='mmrazor.SingleTeacherDistill', teacher_ckpt=None, distiller=distiller(),
        data_preprocessor=dict(RGB, type='mmpretrain.ClsDataPreprocessor'),
        architecture=dict(cfg_path=RESNET, pretrained=False, head=dict(num_classes=7)),
        teacher=dict(cfg_path=RESNET, pretrained=False, head=dict(num_classes=7), backbone=dict(depth=34))))
    assert (model.student.head.num_classes, model.teacher.backbone.depth) == (7, 34)
    assert build_model(model) is model
