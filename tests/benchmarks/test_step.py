import itertools
from pathlib import Path

import pytest
import torch

from wsld_plugin.benchmarks.configs import read_training_config
from wsld_plugin.benchmarks.gate import RefusedVariant
from wsld_plugin.benchmarks.step import TrainStep

CONFIGS = Path(__file__).parents[2] / 'configs'
PLAIN = CONFIGS / 'baselines/resnet18-w8_digits.py'
KD = CONFIGS / 'kd/kd_resnet18-w32_resnet18-w8_digits.py'
ENSEMBLE = CONFIGS / 'kd/kd_ensemble_resnet18-w8_digits.py'


def step_of(path, **options):
    return TrainStep(path.stem, read_training_config(str(path), options), batch_size=4, side=8)


def weights(step):
    return {name: value.clone() for name, value in step.model.named_parameters()}


@pytest.mark.parametrize('path', [PLAIN, KD, ENSEMBLE], ids=lambda path: path.stem)
def test_a_config_needs_no_file_and_passes_the_gate_from_its_initial_weights(path):
    step = step_of(path)
    before = weights(step)
    step.check()
    assert all(torch.equal(value, before[name]) for name, value in weights(step).items())
    losses = step(step.new_batch())
    assert torch.isfinite(losses['loss'])
    assert any(not torch.equal(value, before[name]) for name, value in weights(step).items())


def test_a_step_is_what_the_optimizer_of_the_config_makes_of_the_gradient():
    lr, decay = .125, .03125
    step = step_of(PLAIN, **{'optim_wrapper.optimizer.lr': lr, 'optim_wrapper.optimizer.weight_decay': decay,
                             'optim_wrapper.optimizer.momentum': 0.0, 'optim_wrapper.optimizer.nesterov': False})
    before = weights(step)
    data = step.model.data_preprocessor(step.new_batch(), training=True)
    loss = step.model(**data, mode='loss')['loss']
    gradients = torch.autograd.grad(loss, list(step.model.parameters()))
    step.restart()
    assert step(step.new_batch())['loss'].item() == pytest.approx(loss.item())
    for (name, after), gradient in zip(weights(step).items(), gradients, strict=True):
        assert torch.allclose(after, before[name] - lr * (gradient + decay * before[name]), atol=1e-6), name


def test_standing_still_changes_no_weight_and_keeps_the_loss():
    step = step_of(KD)
    step.stand_still()
    before = weights(step)
    losses = [step(step.new_batch())['loss'].item() for _ in range(3)]
    assert losses == [pytest.approx(losses[0])] * 3
    assert all(torch.equal(value, before[name]) for name, value in weights(step).items())


def test_a_nan_loss_is_refused_by_name():
    step = step_of(PLAIN, **{'data_preprocessor.std': [0.0]})
    with pytest.raises(RefusedVariant, match='resnet18-w8_digits is not timed: in its first step loss is nan'):
        step.check()


def test_a_loss_that_depends_on_what_ran_before_is_refused_by_name():
    step = step_of(PLAIN)
    calls = itertools.count(1)
    step.model.head.fc.register_forward_hook(lambda module, inputs, output: output * next(calls))
    with pytest.raises(RefusedVariant, match='resnet18-w8_digits is not timed: loss of the same step'):
        step.check()


def test_mixup_starts_from_the_same_labels_in_every_step():
    step = step_of(PLAIN, **{'model.train_cfg': dict(augments=dict(type='Mixup', alpha=.5))})
    for _ in range(2):
        batch = step.new_batch()
        step(batch)
        assert all('gt_score' in sample for sample in batch['data_samples'])  # written into what it was given
    assert not any('gt_score' in sample for sample in step.new_batch()['data_samples'])
    step.check()


@pytest.mark.skipif(torch.cuda.is_available(), reason='measured there')
def test_memory_is_not_measured_without_cuda():
    assert step_of(PLAIN).peak_memory() is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs CUDA')
def test_a_step_needs_memory_for_its_batch():
    step = step_of(PLAIN)
    assert step.peak_memory() > step.batch['inputs'][0].numel() * 4 * len(step.batch['inputs'])
