import copy
import sys
from pathlib import Path

import mmpretrain
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from wsld_plugin.errors import ConfigError
from wsld_plugin.models.build import build_model, resolve_model_cfg

SHIPPED = Path(mmpretrain.__file__).parent / '.mim' / 'configs'
RESNET = 'mmpretrain::resnet/resnet18_8xb32_in1k.py'
DEIT = 'mmpretrain::deit/deit-tiny_4xb256_in1k.py'


def named(cfg_path=RESNET, **overrides):
    return resolve_model_cfg(dict(cfg_path=cfg_path, **overrides))


def refusal(**cfg):
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


@pytest.mark.parametrize('cfg_path', [RESNET, DEIT, 'mmpretrain::regnet/regnetx-400mf_8xb128_in1k.py'])
def test_without_overrides_it_is_the_model_of_the_named_config(cfg_path):
    shipped = Config.fromfile(SHIPPED / cfg_path.split('::')[1])
    assert named(cfg_path) == dict(
        shipped.model.to_dict(), _scope_='mmpretrain',
        data_preprocessor=dict(shipped.data_preprocessor.to_dict(), type='ClsDataPreprocessor'))


def test_the_built_model_has_the_weights_that_mmengine_would_build():
    own = build_model(dict(cfg_path=RESNET))
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        theirs = MODELS.build(Config.fromfile(SHIPPED / RESNET.split('::')[1]).model)
    shapes = {name: value.shape for name, value in theirs.state_dict().items()}
    assert {name: value.shape for name, value in own.state_dict().items()} == shapes


def test_a_preprocessor_inside_the_named_model_stays(tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text("model = dict(type='ImageClassifier', backbone=dict(type='ResNet', depth=18),\n"
                    "             data_preprocessor=dict(type='ClsDataPreprocessor', mean=[1.], std=[2.]))\n"
                    'data_preprocessor = dict(mean=[3.], std=[4.])\n')
    assert named(str(path))['data_preprocessor']['mean'] == [1.]


def test_another_class_count_changes_the_built_model():
    model = build_model(dict(cfg_path=RESNET, head=dict(num_classes=10)))
    assert model.head.fc.out_features == 10
    assert model.eval()(torch.zeros(1, 3, 32, 32), mode='tensor').shape == (1, 10)


def test_a_drop_rate_changes_the_built_model():
    model = build_model(dict(cfg_path=DEIT, backbone=dict(drop_rate=.25, arch='deit-t')))
    rates = {module.p for module in model.backbone.modules() if isinstance(module, nn.Dropout)}
    assert .25 in rates


def test_another_loss_changes_the_built_model():
    loss = dict(_delete_=True, type='LabelSmoothLoss', label_smooth_val=.3)
    model = build_model(dict(cfg_path=RESNET, head=dict(loss=loss)))
    assert type(model.head.loss_module).__name__ == 'LabelSmoothLoss'
    assert model.head.loss_module.label_smooth_val == .3


def test_another_normalisation_changes_the_built_model():
    model = build_model(dict(cfg_path=RESNET, data_preprocessor=dict(mean=[1., 2., 3.], to_rgb=False)))
    assert model.data_preprocessor.mean.flatten().tolist() == [1, 2, 3]
    assert model.data_preprocessor.to_rgb is False


def test_delete_replaces_and_leaves_no_trace():
    cfg = named(backbone=dict(_delete_=True, type='MobileNetV2', act_cfg=dict(_delete_=True, type='ReLU')),
                head=dict(in_channels=1280), train_cfg=dict(_delete_=True, augments=dict(type='Mixup', alpha=.2)))
    assert cfg['backbone'] == dict(type='MobileNetV2', act_cfg=dict(type='ReLU'))
    assert '_delete_' not in set(keys_of(cfg))
    assert type(build_model(cfg).backbone).__name__ == 'MobileNetV2'


@pytest.mark.parametrize(('augments', 'expected'), [
    ([dict(type='CutMix', alpha=1.)], [dict(type='CutMix', alpha=1.)]),
    ({'0': dict(alpha=.5)}, [dict(type='Mixup', alpha=.5), dict(type='CutMix', alpha=1.)]),
])
def test_a_list_is_replaced_or_changed_by_index(augments, expected):
    assert named(DEIT, train_cfg=dict(augments=augments))['train_cfg']['augments'] == expected


@pytest.mark.parametrize('kind', [dict, ConfigDict])
def test_the_given_config_is_left_alone(kind):
    given = kind(cfg_path=RESNET, head=dict(loss=dict(_delete_=True, type='LabelSmoothLoss', label_smooth_val=.1)))
    before = copy.deepcopy(given)
    build_model(given)
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


@pytest.mark.parametrize(('overrides', 'told'), [
    (dict(haed=dict(num_classes=10)), "ImageClassifier takes no 'haed'. Did you mean 'head'?"),
    (dict(head=dict(num_clases=10)), "head.num_clases=10: LinearClsHead takes no 'num_clases'. "
                                     "Did you mean 'num_classes'?"),
    (dict(head=dict(loss=dict(weight=2))), 'head.loss.weight=2: CrossEntropyLoss takes no'),
    (dict(head=dict(type='LinearHead')), "Did you mean 'LinearClsHead'?"),
    (dict(head=dict(loss=dict(type='LabelSmoothLos'))), "Did you mean 'LabelSmoothLoss'?"),
    (dict(data_preprocessor=dict(to_rbg=True)), "Did you mean 'to_rgb'?"),
    (dict(train_cfg=dict(augments=dict(type='Mixp'))), "Did you mean 'Mixup'?"),
    (dict(num_classes=10), 'num_classes=10: ImageClassifier takes no'),
])
def test_an_override_that_nothing_reads_is_refused(overrides, told):
    assert told in refusal(cfg_path=RESNET, **overrides)


def test_a_slip_in_a_free_dict_is_refused():
    assert "Did you mean 'augments'?" in refusal(cfg_path=DEIT, train_cfg=dict(augment=[]))


def test_keys_left_over_from_another_type_are_refused_with_the_remedy():
    message = refusal(cfg_path=RESNET, backbone=dict(type='MobileNetV2'))
    assert "backbone.depth=18: MobileNetV2 takes no 'depth'" in message
    assert '_delete_=True' in message


def test_overrides_that_cannot_be_merged_are_refused():
    assert 'Index 7 exceeds' in refusal(cfg_path=DEIT, train_cfg=dict(augments={'7': dict(alpha=1)}))
    assert 'neck' in refusal(cfg_path=DEIT, neck=dict(type='GlobalAveragePooling'))


@pytest.mark.parametrize(('cfg_path', 'told'), [
    ('mmpretrain::resnet/resnet18_8xb32_in1k', f'Did you mean {RESNET!r}?'),
    ('mmpretrain::resnet/resnt18_8xb32_in1k.py', f'Did you mean {RESNET!r}?'),
    ('mmpretrian::resnet/resnet18_8xb32_in1k.py', "Did you mean 'mmpretrain'?"),
    ('mmcls::resnet/resnet18_8xb32_in1k.py', "write 'mmpretrain::…'"),
    ('no_such_package::a/b.py', "'no_such_package' is not installed"),
    ('nowhere/at/all.py', 'nowhere/at/all.py does not exist'),
    ('mmpretrain::_base_/default_runtime.py', 'has no `model`'),
])
def test_a_name_that_leads_nowhere_is_refused(cfg_path, told):
    assert told in refusal(cfg_path=cfg_path)


def test_mmrazors_flag_for_downloads_is_refused_and_its_absence_ignored():
    assert 'pretrained=True' in refusal(cfg_path=RESNET, pretrained=True)
    assert named(pretrained=False) == named()


def test_messages_tell_where_in_a_larger_config():
    with pytest.raises(ConfigError, match=r'^model\.teacher\.head\.x=1: LinearClsHead'):
        resolve_model_cfg(dict(cfg_path=RESNET, head=dict(x=1)), where='model.teacher')
    with pytest.raises(ConfigError, match=r'^model\.teacher\.cfg_path: '):
        resolve_model_cfg(dict(cfg_path='mmpretrain::x/y.py'), where='model.teacher')


def test_a_built_model_is_returned_as_it_is():
    module = nn.Linear(2, 3)
    assert build_model(module) is module


def test_a_model_without_a_type_is_refused():
    with pytest.raises(ConfigError, match='needs a type'):
        build_model(dict(backbone=dict(type='ResNet', depth=18)))


def test_a_named_model_builds_under_any_default_scope():
    with DefaultScope.overwrite_default_scope('mmrazor'):
        assert type(build_model(dict(cfg_path=RESNET))).__name__ == 'ImageClassifier'


def test_pkg_resources_is_not_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, 'pkg_resources', None)
    assert named()['type'] == 'ImageClassifier'
