import math
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmrazor.models import SingleTeacherDistill
from mmrazor.models.losses import WSLD as MMRazorWSLD

from wsld_plugin.benchmark import step as module
from wsld_plugin.benchmark.step import HandWrittenStep, TrainStep, check_agrees, compare_steps, ladder
from wsld_plugin.engine.accelerate import AutocastOptimWrapper
from wsld_plugin.errors import ConfigError, RunError

CONFIGS = Path(__file__).parents[2] / 'configs'
WSLD = str(CONFIGS / 'wsld/wsld_resnet18-w32_resnet18-w8_digits.py')
KD = str(CONFIGS / 'kd/kd_resnet18-w32_resnet18-w8_digits.py')
CACHED = str(CONFIGS / 'wsld/wsld_cached_resnet18-w32_resnet18-w8_digits.py')


@pytest.fixture(scope='module')
def rungs():
    # channels-last is safe on every processor from 16 channels on
    return {rung.name: rung for rung in ladder(WSLD, {
        'model.architecture.backbone.stem_channels': 16, 'model.architecture.backbone.base_channels': 16,
        'model.architecture.head.in_channels': 128})}


def batch(n=4, side=8):
    generator = torch.Generator().manual_seed(0)
    return (torch.randint(0, 256, (n, 1, side, side), generator=generator, dtype=torch.uint8),
            torch.randint(0, 10, (n,), generator=generator))


@pytest.fixture(scope='module')
def first(rungs):
    return TrainStep(rungs['MMRazor'].config(), batch(), stacked=False)


@pytest.fixture(scope='module')
def steps(rungs, first):
    names = ('logits-only teacher', 'stacked batches', 'channels-last', 'bf16')
    return {name: TrainStep(rungs[name].config(), batch(), rungs[name].stacked, first) for name in names}


def test_the_first_variant_is_mmrazors_own_classes(first):
    assert type(first.model) is SingleTeacherDistill
    loss = first.model.distiller.distill_losses['loss_wsld']
    assert type(loss) is MMRazorWSLD
    assert (loss.tau, loss.loss_weight, loss.num_classes) == (4.0, 2.25, 10)
    assert isinstance(first.new_batch()['inputs'], list)


def test_each_variant_adds_one_thing_and_has_the_same_weights_and_losses(rungs, first, steps):
    expected = {key: value.item() for key, value in first(first.new_batch()).items()}
    found = []
    for name, step in steps.items():
        weight = step.model.student.backbone.layer1[0].conv1.weight
        torch.testing.assert_close(weight, first.model.student.backbone.layer1[0].conv1.weight)
        check_agrees(name, expected, {key: value.item() for key, value in step(step.new_batch()).items()},
                     rungs[name].tolerance)
        found.append((torch.is_tensor(step.new_batch()['inputs']), not weight.is_contiguous(),
                      isinstance(step.optim_wrapper, AutocastOptimWrapper)))
    assert found == [tuple(index > place for place in range(3)) for index in range(4)]


@pytest.mark.parametrize(('name', 'tolerance'), [('hand-written, fp32', 1e-5), ('hand-written, bf16', 2e-2)])
def test_the_hand_written_loop_computes_mmrazors_loss_and_the_gradient_of_ours(
        name, tolerance, rungs, first, steps, monkeypatch):
    step = steps['channels-last' if 'fp32' in name else 'bf16']
    hand = HandWrittenStep(rungs[name].config(), batch(), True, first)
    expected, found = (each(each.new_batch())['loss'].item() for each in (first, hand))
    assert found == pytest.approx(expected, rel=tolerance)
    monkeypatch.setattr(step.optim_wrapper, 'zero_grad', lambda **_: None)  # so that the gradients stay
    step(step.new_batch())
    theirs = dict(hand.model.named_parameters())
    for key, parameter in step.model.student.named_parameters():
        difference = (parameter.grad - theirs[key].grad).norm()  # 0 where the residual branch starts at 0
        assert difference <= (1e-4 if tolerance == 1e-5 else .1) * parameter.grad.norm(), key


def test_steps_change_no_weight_and_no_batch(first):
    before = [parameter.clone() for parameter in first.model.parameters()]
    losses = [first(first.new_batch())['loss'].item() for _ in range(2)]
    assert losses == [pytest.approx(losses[0])] * 2
    assert all(torch.equal(one, other) for one, other in zip(before, first.model.parameters(), strict=True))
    assert torch.equal(torch.stack(first.new_batch()['inputs']), batch()[0])


def test_a_variant_with_other_losses_is_rejected():
    check_agrees('right', dict(loss=1.0, accuracy=5.0), dict(loss=1.000001), 1e-5)
    for other in (dict(loss=1.001), dict(), dict(loss=math.nan), {'loss': 1.0, 'distill.loss': 3.0}):
        with pytest.raises(RunError, match=r'wrong is not timed: .* expected the same to 1e-05'):
            check_agrees('wrong', {'loss': 1.0, 'distill.loss': 2.0}, other, 1e-5)


def test_configs_without_mmrazors_counterpart_and_unknown_variants_are_rejected():
    for path in (KD, CACHED):
        with pytest.raises(ConfigError, match="begins with MMRazor's WSLD"):
            compare_steps(path, pairs=2, image_size=8)
    with pytest.raises(ConfigError, match="Did you mean 'channels-last'"):
        compare_steps(WSLD, pairs=2, chosen=['channel-last'])
    with pytest.raises(ConfigError, match='give --image-size'):
        compare_steps(WSLD, pairs=2)


@pytest.mark.parametrize(('transforms', 'side'), [
    ([dict(type='RandomCrop', crop_size=32, padding=4)], 32),
    ([dict(type='ResizeEdge', scale=256, edge='short'), dict(type='CenterCrop', crop_size=224)], 224),
    ([dict(type='Resize', scale=(48, 48)), dict(type='RandomFlip', prob=.5)], 48)])
def test_the_image_size_is_that_of_the_last_resizing_transform(transforms, side):
    inner = dict(type='wsld_plugin.Digits', pipeline=[*transforms, dict(type='PackInputs')])
    for dataset in (inner, dict(type='RepeatDataset', times=2, dataset=inner)):
        assert module._image_size(Config(dict(train_dataloader=dict(dataset=dataset)))) == side
