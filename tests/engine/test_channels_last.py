import pytest
import torch
from factories import RGB, batch, build, classifier, distillation, distiller
from mmpretrain.registry import MODELS
from torch import nn

from wsld_plugin.engine.channels_last import SAFE, obstacle, use_channels_last


def test_channels_last_converts_student_and_teacher_and_keeps_losses_and_gradients():
    found = []
    for converted in (False, True):
        torch.manual_seed(0)
        model = build(distillation(architecture=classifier(width=16, data_preprocessor=RGB),
                                   teacher=classifier(width=16)))
        if converted:
            use_channels_last(model)
        seen = []
        for part in (model.student, model.teacher):
            part.backbone.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[0]))
        losses = model(**model.data_preprocessor(batch(8), training=True), mode='loss')
        sum(value for name, value in losses.items() if 'loss' in name).backward()
        found.append((losses, [parameter.grad for parameter in model.student.parameters()]))
        assert [image.is_contiguous(memory_format=torch.channels_last) for image in seen] == [converted] * 2
    torch.testing.assert_close(found[1][0], found[0][0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found[1][1], found[0][1], rtol=1e-3, atol=1e-5)
    use_channels_last(nn.Sequential(nn.Linear(2, 2)))  # without convolutions and a data_preprocessor to hook


@pytest.mark.parametrize(('widths', 'norm', 'layer'), [
    ((8, 16), 'BN', 'backbone.layer2.0.downsample.0 of the model (Conv2d)'),
    ((16, 8), 'BN', 'backbone.layer2.0.downsample.0 of the teacher (Conv2d)'),
    ((16, 16), 'GN', 'of the model (GroupNorm)')])
def test_a_layer_with_a_faulty_kernel_keeps_the_model_contiguous_on_a_cpu(widths, norm, layer, monkeypatch):
    student, teacher = (classifier(width=width, data_preprocessor=RGB) for width in widths)
    if norm == 'GN':
        student['backbone']['norm_cfg'] = dict(type='GN', num_groups=2)
    log = []
    monkeypatch.setattr('wsld_plugin.engine.channels_last.print_log', lambda text, logger: log.append(text))
    for device, converted in (('cpu', False), ('cuda', True)):
        model = build(distillation(architecture=student, teacher=teacher))
        monkeypatch.setattr('wsld_plugin.engine.channels_last.get_device', lambda device=device: device)
        use_channels_last(model)
        weights = [weight for part in (model.student, model.teacher) for weight in part.parameters()
                   if weight.dim() == 4 and min(weight.shape[1:3]) > 1]
        assert {weight.is_contiguous(memory_format=torch.channels_last) for weight in weights} == {converted}
    line, = log
    assert layer in line


def recorded(source):
    given = distiller()
    given['student_recorders']['map'] = given['teacher_recorders']['map'] = dict(
        type='mmrazor.ModuleOutputs', source=source)
    given['distill_losses']['loss_map'] = dict(type='mmrazor.L2Loss')
    given['loss_forward_mappings']['loss_map'] = dict(
        s_feature=dict(recorder='map', from_student=True), t_feature=dict(recorder='map', from_student=False))
    return given


VGG = classifier(data_preprocessor=RGB, neck=None, head=dict(type='ClsHead', loss=dict(type='CrossEntropyLoss')),
                 backbone=dict(type='VGG', depth=11, num_classes=5))
FLAT = classifier(data_preprocessor=RGB, head=dict(type='LinearClsHead', num_classes=5, in_channels=7),
                  neck=dict(type='LinearNeck', in_channels=32 * 4, out_channels=7, gap_dim=0))


@pytest.mark.parametrize(('model', 'size', 'words'), [
    (VGG, 224, 'the backbone VGG of the model'), (FLAT, 16, 'the neck LinearNeck of the model'),
    (distillation(architecture=classifier(width=16, data_preprocessor=RGB), teacher=classifier(width=16),
                  distiller=recorded('backbone.layer2')), 16, "the recorder 'map' passes on backbone.layer2"),
    (distillation(architecture=classifier(width=16, data_preprocessor=RGB), teacher=VGG), 224,
     'the backbone VGG of the teacher'),
    (dict(type='mmpretrain.TimmClassifier', model_name='resnet18', num_classes=5,
          data_preprocessor=dict(RGB, type='mmpretrain.ClsDataPreprocessor')), 32,
     'the model has no backbone that is known')])
def test_what_may_flatten_a_feature_map_trains_in_the_usual_order_and_always_converts(
        model, size, words, monkeypatch):
    log = []
    monkeypatch.setattr('wsld_plugin.engine.channels_last.print_log', lambda text, logger: log.append(text))
    built = build(model)
    use_channels_last(built)
    assert f'left out, {words}' in log[0]
    losses = built(**built.data_preprocessor(batch(2, size=size), training=True), mode='loss')
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    use_channels_last(built, always=True)
    weight = next(weight for weight in built.parameters() if weight.dim() == 4)
    assert weight.is_contiguous(memory_format=torch.channels_last)


DEPTHS = dict(ResNet=18, ResNet_CIFAR=18, ResNetV1c=18, ResNetV1d=18, CSPResNet=50, CSPResNeXt=50, ResNeSt=50,
              ResNeXt=50, SEResNet=50, SEResNeXt=50, CSPDarkNet=53)
ARCHITECTURES = dict(ConvMixer='768/32', ConvNeXt='tiny', DenseNet='121', EfficientNet='b0', EfficientNetV2='s',
                     HRNet='w18', MobileNetV3='small', MobileOne='s0', RegNet='regnetx_400mf', RepVGG='A0',
                     VAN='tiny')
ARGUMENTS = {'Res2Net': dict(depth=50, scales=4, base_width=26), **{key: dict(depth=depth) for key, depth in
             DEPTHS.items()}, **{key: dict(arch=name) for key, name in ARCHITECTURES.items()}}


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore:In MMCV v1.4.4')
@pytest.mark.parametrize('kind', sorted(SAFE))
def test_a_safe_backbone_has_the_same_features_and_gradients_in_float64(kind):
    torch.manual_seed(0)
    model = MODELS.build(dict(type=f'mmpretrain.{kind}', **ARGUMENTS.get(kind, {}))).double()
    model.train()  # which returns None
    for module in model.modules():
        if 'Drop' in type(module).__name__:
            module.eval()
    images, found = torch.randn(4, 3, 64, 64, dtype=torch.float64), []
    for order in (torch.contiguous_format, torch.channels_last):
        model.to(memory_format=order).zero_grad()
        maps = model(images.contiguous(memory_format=order))
        sum(each.square().mean() for each in maps).backward()
        found.append([maps[-1].detach(), *(weight.grad.clone() for weight in model.parameters())])
    for plain, converted in zip(*found, strict=True):
        torch.testing.assert_close(converted, plain, rtol=1e-6, atol=1e-9)


def test_networks_of_the_tables_are_converted_on_a_gpu(monkeypatch):
    monkeypatch.setattr('wsld_plugin.engine.channels_last.get_device', lambda: 'cuda')
    for kind, settings in (('wsld_plugin.CifarVGG', dict(depth=8)), ('wsld_plugin.MobileNetV1', {}),
                           ('mmpretrain.ResNet', dict(depth=18))):
        assert obstacle(MODELS.build(classifier(backbone=dict(type=kind, **settings)))) is None
