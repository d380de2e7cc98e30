"""Real runs: a cache serves the outputs of the teacher, and a cache that does not fit stops the run."""
from pathlib import Path

import pytest
import torch
from caches import AUGMENTED, cached_cfg, live_cfg, teacher_file, without_checksums
from factories import digits_classifier, run_cfg
from mmengine.hooks import Hook
from mmengine.registry import MODELS
from mmengine.runner import Runner

from wsld_plugin.datasets.keyed import key_training_set
from wsld_plugin.errors import ConfigError
from wsld_plugin.soft_labels.store import HEADER, RECORDS

KD = dict(type='wsld_plugin.KD', tau=4.0)


class Recorder(Hook):
    """Records the losses, and the served logits beside those of the network on the same pixels."""

    def __init__(self, teacher=None):
        self.teacher = teacher
        self.losses, self.keys, self.served, self.live = [], [], [], []

    def before_train(self, runner):
        runner.model.teacher.head.register_forward_hook(lambda _, given, out: self.served.append(out))

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.keys += [sample.sample_key for sample in data_batch['data_samples']]
        if self.teacher:
            with torch.no_grad():
                pixels = torch.stack(list(data_batch['inputs'])).float()
                self.live.append(self.teacher((pixels - 77.8) / 95.9))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append({name: value.item() for name, value in outputs.items()})


def run(cfg, hook=None):
    cfg.val_dataloader = cfg.val_evaluator = cfg.val_cfg = None
    cfg.test_dataloader = cfg.test_evaluator = cfg.test_cfg = None
    runner = Runner.from_cfg(cfg)
    hook = hook or Recorder()
    runner.register_hook(hook, 'LOWEST')
    runner.train()
    return runner, hook


def teacher_of(path):
    teacher = MODELS.build(digits_classifier(8))
    teacher.load_state_dict(torch.load(path))
    return teacher.eval()


@pytest.mark.parametrize('loss', [None, KD])
def test_without_augmentation_one_view_trains_as_the_teacher_itself_does(tmp_path, loss):
    live = live_cfg(tmp_path, loss)
    key_training_set(live)
    alone, with_teacher = run(live)
    cached, with_cache = run(cached_cfg(tmp_path, loss))
    assert not list(cached.model.teacher.parameters()), 'the network was not freed'
    for ours, expected in zip(with_cache.losses, with_teacher.losses, strict=True):
        assert ours == pytest.approx(expected, rel=2e-3)
    assert [key.index for key in with_cache.keys] == [key.index for key in with_teacher.keys]
    for name, value in alone.model.student.state_dict().items():
        torch.testing.assert_close(cached.model.student.state_dict()[name], value, rtol=5e-3, atol=5e-3)


@pytest.mark.parametrize(('kept', 'resident'), [({}, False), (dict(top_k=4), False), ({}, True)])
def test_every_sample_of_every_epoch_gets_the_soft_label_of_its_own_pixels(tmp_path, kept, resident):
    cfg = cached_cfg(tmp_path, KD, AUGMENTED, teacher=dict(views=2, **kept), epochs=4)
    if resident:
        cfg.train_dataloader.dataset.type = 'wsld_plugin.ResidentDataset'
        cfg.train_dataloader.collate_fn = dict(type='wsld_plugin.whole_batch')
    _, recorder = run(cfg, Recorder(teacher_of(tmp_path / 'teacher.pth')))
    assert len(recorder.served) == len(recorder.live) == 8
    for served, live in zip(recorder.served, recorder.live, strict=True):
        top = live.topk(kept.get('top_k', 10)).indices
        for logits in (served, live):
            logits -= logits.logsumexp(1, keepdim=True) if not kept else (logits / 4).logsumexp(1, keepdim=True) * 4
        torch.testing.assert_close(served.gather(1, top), live.gather(1, top), rtol=2e-3, atol=2e-3)
    assert [key.epoch for key in recorder.keys] == [epoch % 2 for epoch in range(4) for _ in range(40)]
    orders = [[key.index for key in recorder.keys[40 * epoch:40 * epoch + 40]] for epoch in range(4)]
    assert len({tuple(order) for order in orders}) == 4, 'the order of the samples repeats with the views'


def test_augmentation_on_the_device_has_a_cache_of_its_own(tmp_path):
    run(cached_cfg(tmp_path, KD, AUGMENTED))
    cfg = cached_cfg(tmp_path, KD, AUGMENTED)
    cfg.train_dataloader.dataset.type = 'wsld_plugin.ResidentDataset'
    cfg.train_dataloader.collate_fn = dict(type='wsld_plugin.whole_batch')
    with pytest.raises(ConfigError, match='pipeline: the cache has'):
        run(cfg)


def test_a_resumed_run_opens_its_cache_and_ends_as_an_uninterrupted_one(tmp_path):
    whole, _ = run(cached_cfg(tmp_path, pipeline=AUGMENTED, teacher=dict(views=2), epochs=3))
    first = cached_cfg(tmp_path, pipeline=AUGMENTED, teacher=dict(views=2), epochs=3)
    first.work_dir = str(tmp_path / 'b')
    first.train_cfg.max_epochs = 2
    run(first)
    again = cached_cfg(tmp_path, pipeline=AUGMENTED, teacher=dict(views=2), epochs=3, resume=True,
                       load_from=str(tmp_path / 'b/epoch_2.pth'))
    again.work_dir = str(tmp_path / 'b')
    resumed, recorder = run(again)
    assert len(recorder.losses) == 2
    for name, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value), name


def test_a_missing_wrong_or_other_cache_stops_the_run_before_training(tmp_path):
    with pytest.raises(ConfigError, match=r"tools/cache_soft_labels\.py.*make='missing'"):
        run(cached_cfg(tmp_path, teacher=dict(make='never')))
    assert not (tmp_path / 'cache').exists()
    run(cached_cfg(tmp_path))
    path, recorder = tmp_path / 'cache' / RECORDS, Recorder()
    path.write_bytes(path.read_bytes()[28:] + path.read_bytes()[:28])  # each label one sample too early
    without_checksums(tmp_path / 'cache')
    with pytest.raises(ConfigError, match='is not what the teacher computes'):
        run(cached_cfg(tmp_path), recorder)
    before = (tmp_path / 'cache' / HEADER).read_bytes()
    teacher_file(tmp_path / 'teacher.pth', seed=8)
    with pytest.raises(ConfigError, match='teacher_weights: the cache has'):
        run(cached_cfg(tmp_path), recorder)
    assert not recorder.losses
    assert (tmp_path / 'cache' / HEADER).read_bytes() == before


def test_samples_without_their_view_are_refused(tmp_path):
    cfg = cached_cfg(tmp_path, pipeline=AUGMENTED, teacher=dict(views=2))
    cfg.train_dataloader.sampler.views = None
    with pytest.raises(ConfigError, match=r'KeyedSampler.*views=2'):
        run(cfg)
    cfg = cached_cfg(tmp_path, pipeline=AUGMENTED, teacher=dict(views=2))
    cfg.train_dataloader = live_cfg(tmp_path).train_dataloader
    with pytest.raises(ConfigError, match=r'wsld_plugin\.KeyedDataset'):
        run(cfg)


@pytest.mark.parametrize('made', [False, True])
def test_the_random_state_is_left_as_it_was(tmp_path, made):
    cfg = cached_cfg(tmp_path, pipeline=AUGMENTED)
    if made:
        run(cached_cfg(tmp_path, pipeline=AUGMENTED))
    runner = Runner.from_cfg(cfg)
    runner.train_loop  # noqa: B018  (builds the loader)
    before = torch.get_rng_state()
    hook, = (hook for hook in runner.hooks if type(hook).__name__ == 'SoftLabelsHook')
    hook.before_train(runner)
    assert torch.equal(torch.get_rng_state(), before)


def test_other_models_are_ignored(tmp_path):
    cfg = run_cfg(tmp_path, digits_classifier(), epochs=1)
    cfg.default_hooks.soft_labels = dict(type='wsld_plugin.SoftLabelsHook')
    Runner.from_cfg(cfg).train()
    assert not Path(tmp_path / 'soft_labels').exists()
