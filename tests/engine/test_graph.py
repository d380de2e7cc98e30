"""A step on static tensors beside the usual step; the recording itself where there is a GPU."""
import copy

import pytest
import torch
from factories import RGB, build, classifier, distillation
from mmengine.optim import build_optim_wrapper
from packs import AUGMENTED, make_pack

from wsld_plugin.datasets import PackedDataset, ResidentDataset, SampleKey
from wsld_plugin.engine.graph import CapturedStep
from wsld_plugin.engine.graph_settings import prepare_optimizer
from wsld_plugin.errors import ConfigError, RunError

CUDA = torch.cuda.is_available()
needs_cuda = pytest.mark.skipif(not CUDA, reason='needs a GPU')
SGD = dict(type='SGD', lr=0.0625, momentum=0.9, weight_decay=2**-10)
RATES = [0.0625] * 5 + [0.03125] * 3 + [0.015625] * 4  # numbers that float32 holds exactly


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    return make_pack(tmp_path_factory.mktemp('data') / 'pack')


def student():
    return classifier(10, data_preprocessor=RGB)


class Training:
    """A model and its optimizer over resident data, step by step."""

    def __init__(self, root, model=None, device='cpu', optim_wrapper=None):
        torch.manual_seed(0)
        self.model = build(model or distillation(architecture=student(), teacher=classifier(10, width=8))).to(device)
        self.model.train()
        pipeline = [*AUGMENTED[:2], AUGMENTED[-1]]
        self.data = ResidentDataset(PackedDataset(str(root), pipeline=pipeline), device=device)
        self.optim_wrapper = build_optim_wrapper(self.model, copy.deepcopy(optim_wrapper or dict(optimizer=SGD)))
        if type(self.optim_wrapper.optimizer) is torch.optim.SGD:
            prepare_optimizer(self.optim_wrapper.optimizer)
        self.step = self.model.train_step

    def captured(self, capture=False):
        self.step = CapturedStep(self.model, capture)
        return self

    def batch(self, number, size=4):
        return self.data.__getitems__([SampleKey(0, number, (number * size + place) % 24) for place in range(size)])

    def take(self, number, rate=0.0625, size=4):
        for group in self.optim_wrapper.optimizer.param_groups:
            group['lr'] = rate
        outputs = self.step(self.batch(number, size), optim_wrapper=self.optim_wrapper)
        return {name: float(value.detach()) for name, value in outputs.items()}

    def weights(self):
        return torch.cat([value.detach().flatten().float().cpu() for value in self.model.state_dict().values()])


def test_static_steps_equal_usual_ones_under_a_schedule(root):
    usual, static = Training(root), Training(root).captured()
    for number, rate in enumerate(RATES):
        assert static.take(number, rate) == usual.take(number, rate)
    assert torch.equal(static.weights(), usual.weights())
    assert static.step.recordings == 1
    assert static.optim_wrapper._inner_count == usual.optim_wrapper._inner_count == len(RATES)


def test_a_batch_of_another_size_is_taken_as_usual(root):
    usual, static = Training(root), Training(root).captured()
    for number in range(12):
        size = 3 if number % 5 == 4 else 4
        assert static.take(number, size=size) == usual.take(number, size=size)
    assert torch.equal(static.weights(), usual.weights())
    assert static.step.recordings == 1


def test_the_rate_is_a_number_outside_the_step_and_followed_inside(root):
    training = Training(root).captured()
    for number in range(5):
        training.take(number)
        assert [group['lr'] for group in training.optim_wrapper.optimizer.param_groups] == [0.0625]
    before = [value.clone() for value in training.model.parameters()]
    training.take(5, rate=0.0)
    assert all(torch.equal(a, b) for a, b in zip(before, training.model.parameters(), strict=True))
    training.take(6, rate=0.5)
    assert not all(torch.equal(a, b) for a, b in zip(before, training.model.parameters(), strict=True))


def test_each_group_of_parameters_has_its_rate(root):
    groups = dict(optimizer=SGD, paramwise_cfg=dict(custom_keys={'head': dict(lr_mult=2.0)}))
    usual, static = (Training(root, student(), optim_wrapper=groups) for _ in range(2))
    static.captured()
    rates = [group['lr'] for group in static.optim_wrapper.optimizer.param_groups]
    assert set(rates) == {0.0625, 0.125}
    for number in range(6):
        for training in (usual, static):
            for rate, group in zip(rates, training.optim_wrapper.optimizer.param_groups, strict=True):
                group['lr'] = rate / (1 + number % 2)
            training.step(training.batch(number), optim_wrapper=training.optim_wrapper)
    assert torch.equal(static.weights(), usual.weights())


def test_stopping_distillation_is_recorded_anew(root):
    usual, static = Training(root), Training(root).captured()
    for number in range(10):
        if number == 5:
            for training in (usual, static):
                training.model.distillation_stopped = True
        assert static.take(number) == usual.take(number)
    assert static.step.recordings == 2
    assert torch.equal(static.weights(), usual.weights())


def test_a_new_pipeline_is_recorded_anew(root):
    usual, static = Training(root), Training(root).captured()
    plain = PackedDataset(str(root), pipeline=AUGMENTED[-1:]).pipeline
    for number in range(9):
        if number == 4:
            usual.data.pipeline = static.data.pipeline = plain
        assert static.take(number) == usual.take(number)
    assert static.step.recordings == 2


def test_a_sample_of_a_recorded_step_has_no_key(root):
    training = Training(root).captured()
    loss = training.model.loss
    training.model.loss = lambda inputs, data_samples: (data_samples[0].sample_key, loss(inputs, data_samples))[1]
    for number in range(3):
        training.take(number)
    with pytest.raises(AttributeError, match='sample_key'):
        training.take(3)


def test_other_batches_are_refused(root):
    training = Training(root).captured()
    with pytest.raises(ConfigError, match='needs resident data, but was given a batch of type dict'):
        training.step(dict(inputs=None), optim_wrapper=training.optim_wrapper)


def test_recording_the_first_step_is_refused(root):
    with pytest.raises(ConfigError, match='warmup=0, expected at least 1'):
        CapturedStep(Training(root).model, capture=False, warmup=0)


MIXUP = dict(batch_augments=dict(augments=dict(type='Mixup', alpha=0.8)), num_classes=10)


@pytest.mark.parametrize(('model', 'optim_wrapper', 'message'), [
    (student(), dict(optimizer=dict(type='Adam', lr=1e-3)), 'optimizer Adam, expected SGD'),
    (student(), dict(optimizer=SGD, clip_grad=dict(max_norm=1)), r'optim_wrapper\.clip_grad'),
    (student(), dict(optimizer=SGD, accumulative_counts=2), r'accumulative_counts=2, expected 1'),
    (classifier(10, data_preprocessor={**RGB, **MIXUP}), dict(optimizer=SGD), r'data_preprocessor\.batch_augments')])
def test_what_is_decided_on_the_host_is_refused(root, model, optim_wrapper, message):
    training = Training(root, model, optim_wrapper=optim_wrapper).captured()
    with pytest.raises(ConfigError, match=f'cannot be captured with .*{message}'):
        training.take(0)


@needs_cuda
def test_replayed_steps_equal_usual_ones(root):
    usual, replayed = Training(root, device='cuda'), Training(root, device='cuda').captured(capture=True)
    for number, rate in enumerate(RATES):
        size = 3 if number == 7 else 4
        # small steps: a GPU adds in a varying order, and large ones would magnify that
        expected, found = (each.take(number, rate / 64, size) for each in (usual, replayed))
        assert found == pytest.approx(expected, rel=1e-3)
    torch.testing.assert_close(replayed.weights(), usual.weights(), rtol=1e-3, atol=1e-4)
    assert replayed.step.recordings == 1
    assert replayed.optim_wrapper._inner_count == len(RATES)


@needs_cuda
def test_a_replay_follows_rate_and_images(root):
    training = Training(root, device='cuda').captured(capture=True)
    for number in range(5):
        training.take(number)
    before = [value.clone() for value in training.model.parameters()]
    first, second = training.take(5, rate=0.0), training.take(6, rate=0.0)
    assert all(torch.equal(a, b) for a, b in zip(before, training.model.parameters(), strict=True))
    assert first != second
    training.take(7, rate=0.5)
    assert not all(torch.equal(a, b) for a, b in zip(before, training.model.parameters(), strict=True))


@needs_cuda
def test_dropout_of_a_replay_follows_the_seed_of_its_iteration(root):
    training = Training(root, student(), device='cuda')
    training.model.backbone.register_forward_hook(
        lambda module, args, outputs: tuple(torch.nn.functional.dropout(each, 0.5) for each in outputs))
    training.captured(capture=True)
    for number in range(4):
        training.take(number)
    losses = []
    for seed in (1, 2, 1):
        torch.cuda.manual_seed(seed)
        losses.append(training.take(9, rate=0.0)['loss'])
    assert losses[0] == pytest.approx(losses[2], rel=1e-5)
    assert losses[0] != pytest.approx(losses[1], rel=1e-3)


@needs_cuda
def test_a_step_that_reads_from_the_device_is_refused(root):
    training = Training(root, device='cuda')
    loss = training.model.loss
    training.model.loss = lambda inputs, data_samples: (float(inputs.sum()), loss(inputs, data_samples))[1]
    training.captured(capture=True)
    for number in range(3):
        training.take(number)
    with pytest.raises(RunError, match=r'cannot be recorded as a CUDA graph .* \.item\(\)'):
        training.take(3)
