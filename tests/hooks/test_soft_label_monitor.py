import json

import numpy as np
import pytest
import torch
from factories import digits_classifier, digits_distillation, distiller, run_cfg
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from processes import tool

from wsld_plugin.analysis.regularization import describe, sample_measures, summarize
from wsld_plugin.datasets.keyed import key_training_set
from wsld_plugin.engine.graph import CapturedStep
from wsld_plugin.engine.resident import use_resident_data
from wsld_plugin.engine.training import training_config
from wsld_plugin.errors import ConfigError
from wsld_plugin.hooks import SoftLabelMonitorHook


def kd_without_target():
    cfg = distiller(loss=dict(type='wsld_plugin.KD', tau=4.0))
    del cfg['loss_forward_mappings']['loss_soft']['gt_labels']
    return cfg


def config(work_dir, model=None, epochs=2, log_interval=1, **overrides):
    hook = dict(type='wsld_plugin.SoftLabelMonitorHook', **overrides.pop('monitor', {}))
    cfg = run_cfg(work_dir, model or digits_distillation(), epochs,
                  **{'custom_hooks': [hook], 'val_dataloader': None, 'val_cfg': None, 'val_evaluator': None,
                     **overrides})
    cfg.default_hooks.logger.interval = log_interval
    cfg.default_hooks.checkpoint.save_best = None
    return cfg


def keyed(cfg):
    loader = cfg.train_dataloader
    loader.dataset = dict(type='wsld_plugin.KeyedDataset', dataset=loader.dataset)
    loader.sampler = dict(type='wsld_plugin.KeyedSampler', sampler=loader.sampler)
    return cfg


def watch(runner):
    """What the distillation loss was given in every call, by a way of the test's own."""
    seen = []
    loss = next(iter(runner.model.distiller.distill_losses.values()))
    forward = loss.forward

    def spying(student, teacher, gt_labels=None):
        seen.append((student.detach().clone(), teacher.clone(), gt_labels))
        return forward(student, teacher, gt_labels)
    loss.forward = spying
    return seen


def train(cfg):
    runner = Runner.from_cfg(cfg)
    seen = watch(runner)
    runner.train()
    return runner, seen


def logged(runner):
    return {name.removeprefix('train/soft_labels/'): list(buffer.data[0])
            for name, buffer in runner.message_hub.log_scalars.items() if 'soft_labels' in name}


def epochs(folder):
    return json.loads((folder / 'soft_label_monitor/epochs.json').read_text())


def record(folder, epoch):
    return next(each for each in epochs(folder) if each['epoch'] == epoch)


def expected(batches, tau):
    return describe(summarize(torch.cat([sample_measures(*batch, tau) for batch in batches], 1).numpy()))


@pytest.mark.parametrize('log_interval', [1, 100])
def test_log_and_files_have_the_measures_of_what_the_loss_was_given(tmp_path, log_interval):
    runner, seen = train(config(tmp_path, log_interval=log_interval))
    assert len(seen) == 4
    per_line = 1 if log_interval == 1 else 4  # epochs of two iterations, shorter than 100
    lines = [expected(seen[first:first + per_line], 2.0) for first in range(0, 4, per_line)]
    found = logged(runner)
    assert set(found) == set(lines[0])
    for name, values in found.items():
        assert values == pytest.approx([line[name] for line in lines]), name
    for epoch in (1, 2):
        found, batches = record(tmp_path, epoch), seen[2 * epoch - 2:2 * epoch]
        for name, value in expected(batches, 2.0).items():
            assert found[name] == pytest.approx(value), name
        assert (found['count'], found['tau'], found['left_out']) == (40, 2.0, 0)
        assert sum(found['weight_histogram']) == 40
    scalars = [json.loads(line) for path in tmp_path.glob('*/vis_data/scalars.json')
               for line in path.read_text().splitlines()]
    assert [line['step'] for line in scalars if 'soft_labels_epoch/weight' in line] == [1, 2]


@pytest.mark.parametrize(('epochs_of_two', 'interval', 'told_after'), [(6, 4, [4, 8, 12]), (5, 3, [4, 6, 10]),
                                                                     (3, 2, [2, 4, 6]), (2, 1, [1, 2, 3, 4])])
def test_short_epochs_are_told_together_and_lines_between_repeat_nothing(tmp_path, epochs_of_two, interval,
                                                                         told_after):
    runner = Runner.from_cfg(config(tmp_path, epochs=epochs_of_two, log_interval=1, monitor=dict(interval=interval)))
    lines = []

    class Line(Hook):
        priority = 'LOW'

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            lines.append('train/soft_labels/weight' in runner.message_hub.log_scalars)
    runner.register_hook(Line())
    runner.train()
    assert [each['epoch'] for each in epochs(tmp_path)] == list(range(1, epochs_of_two + 1))
    assert all(each['count'] == 40 for each in epochs(tmp_path))
    at_ends = {iteration for iteration, there in enumerate(lines, 1) if there and iteration % 2 == 0}
    assert at_ends == {iteration for iteration in told_after if iteration % 2 == 0}


def test_a_run_with_it_trains_as_one_without(tmp_path):
    with_it, _ = train(config(tmp_path / 'with'))
    without, _ = train(config(tmp_path / 'without', custom_hooks=[]))
    for one, other in zip(with_it.model.parameters(), without.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_target_of_the_heads_loss_serves_a_loss_without_one(tmp_path):
    cfg = config(tmp_path, digits_distillation(distiller=kd_without_target()), epochs=1, log_interval=2)
    cfg.train_dataloader.sampler.shuffle = False
    runner, seen = train(cfg)
    labels = torch.tensor([runner.train_dataloader.dataset.get_data_info(index)['gt_label'] for index in range(40)])
    batches = [(*logits, target) for (*logits, _), target in zip(seen, labels.split(20), strict=True)]
    for name, value in expected(batches, 4.0).items():
        assert record(tmp_path, 1)[name] == pytest.approx(value), name


def test_targets_of_mixup_are_seen_as_probabilities(tmp_path):
    model = digits_distillation()
    model['architecture']['data_preprocessor']['batch_augments'] = dict(augments=dict(type='Mixup', alpha=1.0))
    _, seen = train(config(tmp_path, model, epochs=1))
    assert seen[0][2].shape == (20, 10)
    for name, value in expected(seen, 2.0).items():
        assert record(tmp_path, 1)[name] == pytest.approx(value), name


def test_half_precision_is_measured_from_the_logits_that_the_loss_got(tmp_path):
    _, seen = train(config(tmp_path, epochs=1, optim_wrapper=dict(
        type='wsld_plugin.AutocastOptimWrapper', dtype='bfloat16', optimizer=dict(type='SGD', lr=.05))))
    assert seen[0][0].dtype == torch.bfloat16
    for name, value in expected(seen, 2.0).items():
        assert record(tmp_path, 1)[name] == pytest.approx(value), name


@pytest.mark.parametrize('teacher', [
    dict(type='wsld_plugin.VirtualTeacher', num_classes=10),
    dict(type='wsld_plugin.EnsembleTeacher', members=[
        dict(model=digits_distillation()['teacher'], checkpoint=False) for _ in range(2)])])
def test_virtual_teachers_and_ensembles_are_seen_through_the_loss(tmp_path, teacher):
    _, seen = train(config(tmp_path, digits_distillation(teacher=teacher), epochs=1))
    for name, value in expected(seen, 2.0).items():
        assert record(tmp_path, 1)[name] == pytest.approx(value), name


def test_samples_are_counted_by_their_place_in_the_training_set(tmp_path):
    cfg = keyed(config(tmp_path, epochs=3))
    cfg.train_dataloader.sampler.sampler.shuffle = False
    _, seen = train(cfg)
    flags = torch.stack([sample_measures(*batch, 2.0)[:2] for batch in seen])  # (6, 2, 20)
    counts = flags.reshape(3, 2, 2, 20).sum(0).transpose(0, 1).reshape(2, 40).numpy()
    saved = np.load(tmp_path / 'soft_label_monitor/samples.npz')
    assert saved['epoch'] == 3
    np.testing.assert_array_equal(saved['seen'], np.full(40, 3))
    np.testing.assert_array_equal(saved['regularization_label'], counts[0])
    np.testing.assert_array_equal(saved['regularization_row'], counts[1])
    assert saved['seen'].dtype == np.int32


def test_without_keys_no_samples_are_counted(tmp_path):
    train(config(tmp_path, epochs=1))
    assert [path.name for path in (tmp_path / 'soft_label_monitor').iterdir()] == ['epochs.json']


@pytest.mark.parametrize('iterations', [False, True])
def test_a_resumed_run_goes_on_counting_exactly(tmp_path, iterations):
    def run(folder, until, **more):
        cfg = keyed(config(folder, log_interval=100, epochs=until, **more))
        cfg.param_scheduler = None
        if iterations:
            cfg.train_cfg = dict(by_epoch=False, max_iters=2 * until - 1)
            cfg.train_dataloader.sampler.sampler = dict(type='InfiniteSampler')
            cfg.default_hooks.checkpoint.update(by_epoch=False, interval=3)
            cfg.log_processor = dict(by_epoch=False)
        Runner.from_cfg(cfg).train()
        with np.load(folder / 'soft_label_monitor/samples.npz') as saved:
            return {name: saved[name] for name in saved}

    whole = run(tmp_path / 'whole', 4)
    part = run(tmp_path / 'parts', 2)
    resumed = run(tmp_path / 'parts', 4, resume=True)
    assert part['seen'].sum() < resumed['seen'].sum()
    assert set(resumed) == set(whole)
    for name, values in whole.items():
        np.testing.assert_array_equal(resumed[name], values, name)
    assert epochs(tmp_path / 'parts') == epochs(tmp_path / 'whole')
    assert [each['epoch'] for each in epochs(tmp_path / 'whole')] == [1, 2, 3, 4]


def test_weights_that_are_only_loaded_bring_no_counts(tmp_path):
    train(keyed(config(tmp_path / 'first')))
    train(keyed(config(tmp_path / 'second', epochs=1, load_from=str(tmp_path / 'first/epoch_2.pth'))))
    np.testing.assert_array_equal(np.load(tmp_path / 'second/soft_label_monitor/samples.npz')['seen'], np.ones(40))


def test_only_every_kth_iteration_is_looked_at(tmp_path):
    cfg = keyed(config(tmp_path, epochs=3, monitor=dict(every=4)))
    _, seen = train(cfg)
    assert len(seen) == 6
    counts = np.load(tmp_path / 'soft_label_monitor/samples.npz')['seen']
    assert counts.sum() == 2 * 20  # iterations 0 and 4
    assert (record(tmp_path, 1)['count'], record(tmp_path, 3)['count']) == (20, 20)
    assert [each['epoch'] for each in epochs(tmp_path)] == [1, 3]
    assert record(tmp_path, 1)['weight'] == pytest.approx(expected(seen[:1], 2.0)['weight'])


def test_stopped_distillation_leaves_it_idle(tmp_path):
    cfg = config(tmp_path, epochs=3)
    cfg.custom_hooks.append(dict(type='mmrazor.StopDistillHook', stop_epoch=1))
    runner, seen = train(cfg)
    assert len(seen) == 2
    assert not logged(runner)  # not the last values for ever
    assert [each['epoch'] for each in epochs(tmp_path)] == [1]


def test_nothing_is_read_from_the_device_between_readings(tmp_path, monkeypatch):
    cfg = keyed(config(tmp_path, log_interval=100, epochs=1))
    runner = Runner.from_cfg(cfg)
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    hook = SoftLabelMonitorHook()
    hook.before_train(runner)
    probe = hook._probe
    hook.before_train_iter(runner, 0)
    batch = next(iter(runner.train_dataloader))
    student, teacher = torch.randn(2, 20, 10).unbind(0)
    labels = torch.arange(20) % 10
    with monkeypatch.context() as forbidding:
        # the loss's own checks may look at values on a CPU; on a GPU they do not
        forbidding.setattr('wsld_plugin.losses.checks._can_look', lambda tensor: False)
        forbidding.setattr('wsld_plugin.losses.checks._ASYNC_ASSERT_DEVICES', ())
        for name in ('item', 'tolist', '__bool__', '__float__', '__int__', 'cpu', 'numpy'):
            forbidding.setattr(torch.Tensor, name, lambda *_, name=name: pytest.fail(f'{name} reads the device'))
        probe._look(probe.loss, (), dict(student=student, teacher=teacher, gt_labels=labels), None)
        hook.after_train_iter(runner, 0, batch)
    assert len(hook._waiting) == 1
    hook.after_train(runner)


def test_samples_that_are_not_finite_are_told_and_left_out(tmp_path):
    runner = Runner.from_cfg(config(tmp_path, epochs=1, log_interval=100))
    head = runner.model.teacher.head
    forward = head.forward

    def certain(*args):  # WSLD's weight is then 0, its loss finite
        return forward(*args).index_fill(1, torch.tensor([5]), float('-inf'))
    head.forward = certain
    runner.train()
    assert '4 samples are left out' in next(tmp_path.glob('*/*.log')).read_text()
    assert (record(tmp_path, 1)['left_out'], record(tmp_path, 1)['count']) == (4, 36)


def test_samples_with_hidden_labels_train_as_without_it_and_are_left_out(tmp_path):
    def hiding(folder, **overrides):
        cfg = config(folder, digits_distillation(distiller=kd_without_target()), **overrides)
        cfg.train_dataloader.dataset = dict(type='wsld_plugin.FewLabels', num_labels=10,
                                            dataset=cfg.train_dataloader.dataset)
        return cfg
    runner, _ = train(hiding(tmp_path / 'with'))
    assert 'samples are left out' in next((tmp_path / 'with').glob('*/*.log')).read_text()
    for epoch in (1, 2):
        found = record(tmp_path / 'with', epoch)
        assert (found['count'], found['left_out']) == (10, 30)
    without, _ = train(hiding(tmp_path / 'without', custom_hooks=[]))
    for one, other in zip(runner.model.parameters(), without.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_all_is_read_before_a_validation_whose_checkpoint_holds_it(tmp_path):
    """Where several ranks train, only one is there when it is saved."""
    class Waiting(Hook):

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            monitor, = (hook for hook in runner.hooks if isinstance(hook, SoftLabelMonitorHook))
            found.append(len(monitor._waiting))
    found = []

    cfg = run_cfg(tmp_path, digits_distillation(), 1, custom_hooks=[dict(type='wsld_plugin.SoftLabelMonitorHook')])
    cfg.param_scheduler = None
    cfg.train_cfg = dict(by_epoch=False, max_iters=4, val_interval=3)
    cfg.train_dataloader.sampler = dict(type='InfiniteSampler')
    cfg.default_hooks.logger.interval = 100
    cfg.default_hooks.checkpoint.update(by_epoch=False, interval=-1)  # the best alone
    cfg.log_processor = dict(by_epoch=False)
    runner = Runner.from_cfg(cfg)
    runner.register_hook(Waiting())
    runner.train()
    assert found == [1, 2, 0, 0]  # validated after the third, and at the end


def test_a_model_without_a_loss_on_logits_is_refused_before_the_first_step(tmp_path):
    with pytest.raises(ConfigError, match='no distillation loss on logits'):
        Runner.from_cfg(config(tmp_path, digits_classifier())).train()


def test_a_wrong_name_of_a_loss_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match="Did you mean 'loss_soft'"):
        Runner.from_cfg(config(tmp_path, monitor=dict(loss='loss_sotf'))).train()


@pytest.mark.parametrize('settings', [dict(every=0), dict(every=1.5), dict(interval=0)])
def test_wrong_numbers_of_iterations_are_refused(settings):
    with pytest.raises(ConfigError, match='from 1 up'):
        SoftLabelMonitorHook(**settings)


def test_mmrazors_losses_and_algorithm_are_seen_too(tmp_path):
    cfg = kd_without_target()
    cfg['distill_losses']['loss_soft'] = dict(type='mmrazor.KLDivergence', tau=3.0)
    mapping = cfg['loss_forward_mappings']['loss_soft']
    mapping['preds_S'], mapping['preds_T'] = mapping.pop('student'), mapping.pop('teacher')
    model = digits_distillation(distiller=cfg)
    model['type'] = 'mmrazor.SingleTeacherDistill'
    model['data_preprocessor'] = model['architecture'].pop('data_preprocessor')
    model['data_preprocessor']['type'] = 'mmpretrain.ClsDataPreprocessor'
    model['teacher'].pop('data_preprocessor')
    Runner.from_cfg(config(tmp_path, model, epochs=1)).train()
    assert (record(tmp_path, 1)['tau'], record(tmp_path, 1)['count']) == (3.0, 40)


@pytest.mark.parametrize('folder', ['kd-monitored', 'wsld-monitored'])
def test_configs_have_the_hook(folder):
    cfg = training_config(f'configs/regularization/{folder}_resnet18-w32_resnet18-w8_digits.py', work_dir='none')
    assert isinstance(cfg, Config)
    assert [hook['type'] for hook in cfg.custom_hooks] == ['wsld_plugin.SoftLabelMonitorHook']


def test_two_processes_tell_what_one_does(tmp_path):
    def without_batchnorm():
        cfg = digits_classifier()
        cfg['backbone'], cfg['head']['in_channels'] = dict(type='LeNet5'), 120
        return cfg
    model = digits_distillation(architecture=without_batchnorm(), teacher=without_batchnorm())
    for name, batch_size in (('one', 20), ('two', 10)):
        cfg = config(tmp_path / name, model, log_interval=100)
        cfg.train_dataloader.batch_size = batch_size
        cfg.train_dataloader.dataset.pipeline.insert(0, dict(type='mmcv.Resize', scale=(32, 32)))
        if name == 'one':
            train(keyed(cfg))
    cfg.dump(tmp_path / 'two.py')
    tool('dist_train.sh', tmp_path / 'two.py', 2, '--work-dir', tmp_path / 'two')
    for epoch in (1, 2):
        one, two = (record(tmp_path / name, epoch) for name in ('one', 'two'))
        for measure in ('regularization_label', 'weight', 'bias_norm', 'student_ce', 'count'):
            assert two[measure] == pytest.approx(one[measure], rel=1e-4), measure
    one, two = (np.load(tmp_path / name / 'soft_label_monitor/samples.npz') for name in ('one', 'two'))
    for name in ('seen', 'regularization_label', 'regularization_row'):
        np.testing.assert_array_equal(two[name], one[name])
    assert two['seen'].sum() == 80


def test_tensorboard_has_the_histogram_of_the_weights(tmp_path):
    accumulator = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator')
    _, seen = train(config(tmp_path, epochs=1, visualizer=dict(
        type='mmpretrain.UniversalVisualizer', vis_backends=[dict(type='TensorboardVisBackend')])))
    events = accumulator.EventAccumulator(str(next(tmp_path.glob('*/vis_data')))).Reload()
    assert 'soft_labels_epoch/weight' in events.Tags()['scalars']
    histogram = events.Histograms('soft_labels_epoch/weights')[0].histogram_value
    assert histogram.num == 40
    assert histogram.sum / 40 == pytest.approx(expected(seen, 2.0)['weight'])


@pytest.mark.parametrize('resident', [False, True])
def test_a_captured_step_of_resident_data_is_told_as_a_usual_one(tmp_path, resident):
    """The last batch of an epoch is smaller: it is not replayed."""
    cfg = config(tmp_path, epochs=5, optim_wrapper=dict(optimizer=dict(type='SGD', lr=.0625, fused=True)))
    cfg.train_dataloader.batch_size = 15
    key_training_set(cfg)
    if resident:
        use_resident_data(cfg)
        cfg.custom_hooks.append(dict(type='wsld_plugin.CapturedStepHook', capture=False))
    _, seen = train(cfg)
    assert len(seen) == 15
    for epoch in range(1, 6):
        for name, value in expected(seen[3 * epoch - 3:3 * epoch], 2.0).items():
            assert record(tmp_path, epoch)[name] == pytest.approx(value), (epoch, name)
    np.testing.assert_array_equal(np.load(tmp_path / 'soft_label_monitor/samples.npz')['seen'], np.full(40, 5))


def test_a_captured_step_is_looked_at_in_its_turns(tmp_path, monkeypatch):
    """A graph repeats what was recorded: what did not run then does not run in any later step."""
    cfg = config(tmp_path, epochs=5, monitor=dict(every=2),
                 optim_wrapper=dict(optimizer=dict(type='SGD', lr=.0625, fused=True)))
    key_training_set(cfg)
    use_resident_data(cfg)
    cfg.custom_hooks.append(dict(type='wsld_plugin.CapturedStepHook', capture=False))
    recorded_on = []
    record_step, replay = CapturedStep._record, CapturedStep._replay

    def probe():
        return next(hook for hook in runner.hooks if isinstance(hook, SoftLabelMonitorHook))._probe

    def recording(self, *args):
        recorded_on.append(probe().on)
        return record_step(self, *args)

    def replaying(self, *args):
        on, probe().on = probe().on, recorded_on[-1]
        try:
            return replay(self, *args)
        finally:
            probe().on = on
    monkeypatch.setattr(CapturedStep, '_record', recording)
    monkeypatch.setattr(CapturedStep, '_replay', replaying)
    runner = Runner.from_cfg(cfg)
    seen = watch(runner)
    runner.train()
    assert recorded_on
    for epoch in range(1, 6):
        for name, value in expected(seen[2 * epoch - 2:2 * epoch - 1], 2.0).items():
            assert record(tmp_path, epoch)[name] == pytest.approx(value), (epoch, name)
