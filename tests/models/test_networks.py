import zlib

import pytest
import torch
from mmengine.registry import MODELS

from wsld_plugin.errors import ConfigError
from wsld_plugin.models import (
    CifarDenseNet,
    CifarGoogLeNet,
    CifarMobileNetV2,
    CifarResNet,
    CifarResNeXt,
    CifarShuffleNetV1,
    CifarShuffleNetV2,
    CifarVGG,
    MobileNetV1,
    WideResNet,
)

# name: backbone, channels of its last stage, parameters with 100 classes as the papers' code has them
CRD = {
    **{f'resnet{depth}': (dict(type='wsld_plugin.CifarResNet', depth=depth), 64, count) for depth, count in [
        (8, 83_892), (14, 181_108), (20, 278_324), (32, 472_756), (44, 667_188), (56, 861_620), (110, 1_736_564)]},
    **{f'resnet{depth}x4': (dict(type='wsld_plugin.CifarResNet', depth=depth, stem_channels=32, base_channels=64),
                            256, count) for depth, count in [(8, 1_233_540), (32, 7_433_860)]},
    **{f'WRN-{depth}-{k}': (dict(type='wsld_plugin.WideResNet', depth=depth, widen_factor=k), 64 * k, count)
       for depth, k, count in [(16, 1, 180_916), (16, 2, 703_284), (40, 1, 569_780), (40, 2, 2_255_156)]},
    **{f'vgg{depth}': (dict(type='wsld_plugin.CifarVGG', depth=depth), 512, count) for depth, count in [
        (8, 3_965_028), (11, 9_277_284), (13, 9_462_180), (16, 14_774_436), (19, 20_086_692)]},
    'MobileNetV2': (dict(type='wsld_plugin.CifarMobileNetV2', widen_factor=.5), 1280, 812_836),
    'ShuffleNetV1': (dict(type='wsld_plugin.CifarShuffleNetV1'), 960, 949_258),
    'ShuffleNetV2': (dict(type='wsld_plugin.CifarShuffleNetV2'), 1024, 1_355_528),
    'ResNet50': (dict(type='mmpretrain.ResNet_CIFAR', depth=50, zero_init_residual=False), 2048, 23_705_252),
}
TF_KD = {
    'ResNet18': (dict(type='mmpretrain.ResNet_CIFAR', depth=18, zero_init_residual=False), 512, 11_220_132),
    'MobileNetV2': (dict(type='wsld_plugin.CifarMobileNetV2', variant='tf_kd'), 1280, 2_369_380),
    'ShuffleNetV2': (dict(type='wsld_plugin.CifarShuffleNetV2', variant='tf_kd'), 1024, 1_360_896),
    'ResNeXt29': (dict(type='wsld_plugin.CifarResNeXt', depth=29, groups=8, width_per_group=64), 1024, 34_518_948),
    'GoogLeNet': (dict(type='wsld_plugin.CifarGoogLeNet'), 1024, 6_258_500),
    'DenseNet121': (dict(type='wsld_plugin.CifarDenseNet', depth=121), 1024, 7_048_548),
}
WSLD = {'MobileNetV1': (dict(type='wsld_plugin.MobileNetV1'), 1024, 4_231_976 - 900 * 1025)}  # of 1000 classes
NETWORKS = [pytest.param(*row, id=f'{table}-{name}')
            for table, rows in dict(crd=CRD, tf_kd=TF_KD, wsld=WSLD).items() for name, row in rows.items()]

# one of each kind, small where there is a choice, the (channels, pixels a side) of its stages, and the CRC-32 of the
# names of its weights in the first version that had it
SMALL = [
    (dict(type='WideResNet', depth=10, widen_factor=2), [(32, 32), (64, 16), (128, 8)], 3608131074),
    (dict(type='CifarVGG', depth=8), [(64, 32), (128, 16), (256, 8), (512, 4), (512, 4)], 1041238305),
    (dict(type='CifarMobileNetV2', widen_factor=.5),
     [(8, 16), (12, 16), (16, 8), (32, 4), (48, 4), (80, 2), (160, 2), (1280, 2)], 3007992408),
    (dict(type='CifarMobileNetV2', variant='tf_kd'),
     [(16, 34), (24, 17), (32, 9), (64, 5), (96, 5), (160, 5), (320, 5), (1280, 5)], 2058362802),
    (dict(type='CifarShuffleNetV1'), [(240, 16), (480, 8), (960, 4)], 1962048501),
    (dict(type='CifarShuffleNetV2', widen_factor=.5), [(48, 16), (96, 8), (192, 4), (1024, 4)], 927168242),
    (dict(type='CifarShuffleNetV2', variant='tf_kd'), [(116, 16), (232, 8), (464, 4), (1024, 4)], 4074050166),
    (dict(type='CifarResNeXt', depth=20, groups=2, width_per_group=4), [(256, 32), (512, 16), (1024, 8)], 3588559560),
    (dict(type='CifarGoogLeNet'), [(480, 32), (832, 16), (1024, 8)], 3992165733),
    (dict(type='CifarDenseNet', depth=121), [(128, 16), (256, 8), (512, 4), (1024, 4)], 2550226929),
    (dict(type='MobileNetV1', widen_factor=.25), [(16, 16), (32, 8), (64, 4), (128, 2), (256, 1)], 379815963),
]
KINDS = pytest.mark.parametrize(('backbone', 'stages', 'names'), [
    pytest.param(dict(backbone, type=f'wsld_plugin.{backbone["type"]}'), stages, names,
                 id='-'.join(map(str, backbone.values()))) for backbone, stages, names in SMALL])


def classifier(backbone: dict, in_channels: int) -> dict:
    return dict(type='mmpretrain.ImageClassifier', _scope_='mmpretrain', backbone=backbone,
                neck=dict(type='GlobalAveragePooling'),
                head=dict(type='LinearClsHead', num_classes=100, in_channels=in_channels))


def build(cfg: dict) -> torch.nn.Module:
    """Build on the meta device; mmpretrain's ResNet computes drop rates, which have no values there."""
    if 'CifarResNe' in str(cfg) or 'mmpretrain.ResNet' in str(cfg):
        return MODELS.build(cfg).to('meta')
    with torch.device('meta'):
        return MODELS.build(cfg)


def feature_maps(backbone: dict, channels: int = 3) -> list[tuple[int, ...]]:
    """Shapes for two images of 32 pixels."""
    maps = build(backbone)(torch.zeros(2, channels, 32, 32, device='meta'))
    return [tuple(features.shape) for features in maps]


@pytest.mark.parametrize(('backbone', 'in_channels', 'count'), NETWORKS)
def test_parameters_are_those_of_the_papers_code(backbone, in_channels, count):
    model = build(classifier(dict(backbone), in_channels))
    assert model(torch.zeros(2, 3, 32, 32, device='meta'), mode='tensor').shape == (2, 100)
    assert sum(parameter.numel() for parameter in model.parameters()) == count


@KINDS
def test_a_checkpoint_of_before_fits_and_a_seed_gives_the_weights_of_before(backbone, stages, names):
    assert zlib.crc32('\n'.join(build(dict(backbone)).state_dict()).encode()) == names


@KINDS
def test_stages_have_the_documented_shapes_and_out_indices_choose_them(backbone, stages, names):
    shapes = [(2, channels, side, side) for channels, side in stages]
    assert feature_maps(dict(backbone, out_indices=tuple(range(len(stages))))) == shapes
    assert feature_maps(dict(backbone, out_indices=[0, 2], in_channels=1), channels=1) == [shapes[0], shapes[2]]


@pytest.mark.parametrize(('network', 'arguments', 'message'), [
    (WideResNet, dict(depth=17), r'depth=17, expected 6n \+ 4: 10, 16, 22 and so on\. The nearest is 16\.'),
    (WideResNet, dict(depth='16'), r"depth='16', expected 6n \+ 4"),
    (WideResNet, dict(depth=16, widen_factor=1.5), r'widen_factor=1\.5, expected an integer of 1 or more'),
    (WideResNet, dict(depth=16, drop_rate=1), r'drop_rate=1, expected a probability'),
    (WideResNet, dict(depth=16, out_indices=(3,)), r'out_indices=\(3,\), expected stages 0 to 2'),
    (CifarVGG, dict(depth=12), r'depth=12, expected one of 8, 11, 13, 16, 19\. The nearest is 11\.'),
    (CifarVGG, dict(depth=8, out_indices=()), r'out_indices=\(\), expected stages 0 to 4'),
    (CifarMobileNetV2, dict(variant='crf'), r"variant='crf', expected one of 'crd', 'tf_kd'\. Did you mean 'crd'\?"),
    (CifarMobileNetV2, dict(widen_factor=.05), r'widen_factor=0\.05, expected a number ≥ 1/16'),
    (CifarMobileNetV2, dict(expand_ratio=0), r'expand_ratio=0, expected an integer of 1 or more'),
    (CifarShuffleNetV1, dict(out_indices=(-1,)), r'out_indices=\(-1,\), expected stages 0 to 2'),
    (CifarShuffleNetV2, dict(widen_factor=.75), r'widen_factor=0\.75, expected one of 0\.5, 1\.0, 1\.5, 2\.0\.'),
    (CifarResNeXt, dict(depth=50), r'depth=50, expected 9n \+ 2: 11, 20, 29 and so on\. The nearest is 47\.'),
    (CifarResNeXt, dict(out_indices=(3,)), r'out_indices=\(3,\), expected stages 0 to 2'),
    (CifarResNet, dict(depth=21), r'depth=21, expected one of 8, 14, 20'),
    (MobileNetV1, dict(frozen_stages=6), r'frozen_stages=6, expected -1 \(none\) to 5'),
    (MobileNetV1, dict(widen_factor=0), r'widen_factor=0, expected a finite number in \(0, inf\)'),
    (CifarGoogLeNet, dict(drop_rate=-.1), r'drop_rate=-0\.1, expected a probability'),
    (CifarDenseNet, dict(depth=120), r'depth=120, expected one of 121, 161, 169, 201\. The nearest is 121\.'),
    (CifarDenseNet, dict(out_indices=(4,)), r'out_indices=\(4,\), expected stages 0 to 3'),
])
def test_bad_arguments_are_named_with_the_nearest_good_one(network, arguments, message):
    with pytest.raises(ConfigError, match=message):
        network(**arguments)
