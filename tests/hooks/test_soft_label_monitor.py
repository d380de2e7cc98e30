import json

import pytest
import torch
from factories import (
    batch,
    build,
    digits_classifier,
    digits_distillation,
    distillation,
    distiller,
    labels_of,
    run_cfg,
)
from mmengine.hooks import Hook
from mmengine.runner import Runner
from processes import tool

from wsld_plugin.analysis.regularization import describe, sample_measures, summarize
from wsld_plugin.errors import ConfigError
from wsld_plugin.hooks import SoftLabelMonitorHook
from wsld_plugin.hooks.soft_label_monitor import LossProbe


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


def watch(runner):
    """The arguments of each call of the distillation loss, recorded without the hook."""
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
    return describe(summarize(torch.cat([sample_measures(*each, tau) for each in batches], 1)))


def check_record(folder, epoch, batches, tau=2.0):
    for name, value in expected(batches, tau).items():
        assert record(folder, epoch)[name] == pytest.approx(value), name


@pytest.mark.parametrize(('log_interval', 'per_line'), [(1, 1), (100, 2)])  # an epoch has two iterations
def test_log_and_file_hold_the_measures_of_the_arguments_of_the_loss(tmp_path, log_interval, per_line):
    runner, seen = train(config(tmp_path, log_interval=log_interval))
    assert len(seen) == 4
    lines = [expected(seen[first:first + per_line], 2.0) for first in range(0, 4, per_line)]
    found = logged(runner)
    assert set(found) == set(lines[0])
    for name, values in found.items():
        assert values == pytest.approx([line[name] for line in lines]), name
    for epoch in (1, 2):
        check_record(tmp_path, epoch, seen[2 * epoch - 2:2 * epoch])
        found = record(tmp_path, epoch)
        assert (found['count'], found['tau'], found['left_out']) == (40, 2.0, 0)
        assert sum(found['weight_histogram']) == 40
    scalars = [json.loads(line) for path in tmp_path.glob('*/vis_data/scalars.json')
               for line in path.read_text().splitlines()]
    assert [line['step'] for line in scalars if 'soft_labels_epoch/weight' in line] == [1, 2]
    assert [path.name for path in (tmp_path / 'soft_label_monitor').iterdir()] == ['epochs.json']


def test_a_line_covers_the_iterations_since_the_last_line_across_epochs(tmp_path):
    """Epochs of 4 iterations, logged after each third: the fourth is part of the next line."""
    cfg = config(tmp_path, log_interval=3)
    cfg.train_dataloader.batch_size = 10
    cfg.default_hooks.logger.ignore_last = True
    runner, seen = train(cfg)
    lines = [expected(part, 2.0)['weight'] for part in (seen[:3], seen[3:7])]
    assert logged(runner)['weight'] == pytest.approx(lines)
    assert [each['count'] for each in epochs(tmp_path)] == [40, 40]


def test_a_run_with_the_hook_trains_as_one_without(tmp_path):
    with_it, _ = train(config(tmp_path / 'with'))
    without, _ = train(config(tmp_path / 'without', custom_hooks=[]))
    for one, other in zip(with_it.model.parameters(), without.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_loss_without_target_is_measured_with_that_of_the_heads_loss(tmp_path):
    cfg = config(tmp_path, digits_distillation(distiller=kd_without_target()), epochs=1, log_interval=2)
    cfg.train_dataloader.sampler.shuffle = False
    runner, seen = train(cfg)
    labels = torch.tensor([runner.train_dataloader.dataset.get_data_info(index)['gt_label'] for index in range(40)])
    batches = [(*logits, target) for (*logits, _), target in zip(seen, labels.split(20), strict=True)]
    check_record(tmp_path, 1, batches, tau=4.0)


def test_targets_of_mixup_are_probabilities(tmp_path):
    model = digits_distillation()
    model['architecture']['data_preprocessor']['batch_augments'] = dict(augments=dict(type='Mixup', alpha=1.0))
    _, seen = train(config(tmp_path, model, epochs=1))
    assert seen[0][2].shape == (20, 10)
    check_record(tmp_path, 1, seen)


def test_half_precision_is_measured_from_the_logits_that_the_loss_got(tmp_path):
    _, seen = train(config(tmp_path, epochs=1, optim_wrapper=dict(
        type='wsld_plugin.AutocastOptimWrapper', dtype='bfloat16', optimizer=dict(type='SGD', lr=.05))))
    assert seen[0][0].dtype == torch.bfloat16
    check_record(tmp_path, 1, seen)


@pytest.mark.parametrize('iterations', [False, True])
def test_a_resumed_run_continues_the_sums_exactly(tmp_path, iterations):
    def run(folder, until, **more):
        cfg = config(folder, log_interval=100, epochs=until, **more)
        loader = cfg.train_dataloader
        loader.dataset = dict(type='wsld_plugin.KeyedDataset', dataset=loader.dataset)
        loader.sampler = dict(type='wsld_plugin.KeyedSampler', sampler=loader.sampler)
        cfg.param_scheduler = None
        if iterations:
            cfg.train_cfg = dict(by_epoch=False, max_iters=2 * until - 1)
            loader.sampler.sampler = dict(type='InfiniteSampler')
            cfg.default_hooks.checkpoint.update(by_epoch=False, interval=3)
            cfg.log_processor = dict(by_epoch=False)
        Runner.from_cfg(cfg).train()

    run(tmp_path / 'whole', 4)
    run(tmp_path / 'parts', 2)
    assert [each['epoch'] for each in epochs(tmp_path / 'parts')] == [1, 2]
    run(tmp_path / 'parts', 4, resume=True)
    assert epochs(tmp_path / 'parts') == epochs(tmp_path / 'whole')
    assert [(each['epoch'], each['count']) for each in epochs(tmp_path / 'whole')] == [
        (1, 40), (2, 40), (3, 40), (4, 20 if iterations else 40)]


def test_weights_that_are_only_loaded_bring_no_sums(tmp_path):
    train(config(tmp_path / 'first'))
    train(config(tmp_path / 'second', epochs=1, load_from=str(tmp_path / 'first/epoch_2.pth')))
    assert [(each['epoch'], each['count']) for each in epochs(tmp_path / 'second')] == [(1, 40)]


def test_only_every_nth_iteration_is_measured(tmp_path):
    runner, seen = train(config(tmp_path, epochs=3, monitor=dict(every=4)))
    assert len(seen) == 6
    assert [(each['epoch'], each['count']) for each in epochs(tmp_path)] == [(1, 20), (3, 20)]  # iterations 0 and 4
    check_record(tmp_path, 1, seen[:1])
    assert not logged(runner)  # the last line has no measure, and does not repeat an old one


def test_the_hook_is_idle_while_distillation_is_stopped(tmp_path):
    cfg = config(tmp_path, epochs=3)
    cfg.custom_hooks.append(dict(type='mmrazor.StopDistillHook', stop_epoch=1))
    runner, seen = train(cfg)
    assert len(seen) == 2
    assert not logged(runner)
    assert [each['epoch'] for each in epochs(tmp_path)] == [1]


def test_nothing_is_read_from_the_device_between_readings(tmp_path, monkeypatch):
    runner = Runner.from_cfg(config(tmp_path, log_interval=100, epochs=1))
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    hook = SoftLabelMonitorHook()
    hook.before_train(runner)
    student, teacher = torch.randn(2, 20, 10).unbind(0)
    labels = torch.arange(20) % 10
    hook.before_train_iter(runner, 0)
    with monkeypatch.context() as forbidding:
        # the loss's own checks may read values on a CPU; on a GPU they do not
        forbidding.setattr('wsld_plugin.losses.checks._can_look', lambda tensor: False)
        forbidding.setattr('wsld_plugin.losses.checks._ASYNC_ASSERT_DEVICES', ())
        for name in ('item', 'tolist', '__bool__', '__float__', '__int__', 'cpu', 'numpy'):
            forbidding.setattr(torch.Tensor, name, lambda *_, name=name: pytest.fail(f'{name} reads the device'))
        for _ in range(2):
            hook._probe._see(hook._probe.loss, (), dict(student=student, teacher=teacher, gt_labels=labels), None)
        hook.after_train_iter(runner, 0)
    assert torch.equal(hook._sums[:2], torch.tensor([40., 0.], dtype=torch.float64))
    hook.after_train(runner)


def test_samples_that_are_not_finite_are_skipped_with_a_warning(tmp_path):
    runner = Runner.from_cfg(config(tmp_path, epochs=1, log_interval=100))
    head = runner.model.teacher.head
    forward = head.forward

    def certain(*args):  # WSLD's weight is then 0, its loss finite
        return forward(*args).index_fill(1, torch.tensor([5]), float('-inf'))
    head.forward = certain
    runner.train()
    assert '4 samples were skipped' in next(tmp_path.glob('*/*.log')).read_text()
    assert (record(tmp_path, 1)['left_out'], record(tmp_path, 1)['count']) == (4, 36)


def test_samples_with_hidden_labels_are_skipped_and_train_as_without_the_hook(tmp_path):
    def hiding(folder, **overrides):
        cfg = config(folder, digits_distillation(distiller=kd_without_target()), **overrides)
        cfg.train_dataloader.dataset = dict(type='wsld_plugin.FewLabels', num_labels=10,
                                            dataset=cfg.train_dataloader.dataset)
        return cfg
    runner, _ = train(hiding(tmp_path / 'with'))
    assert [(each['count'], each['left_out']) for each in epochs(tmp_path / 'with')] == [(10, 30), (10, 30)]
    without, _ = train(hiding(tmp_path / 'without', custom_hooks=[]))
    for one, other in zip(runner.model.parameters(), without.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_sums_are_read_before_a_validation_whose_checkpoint_holds_them(tmp_path):
    """Of several ranks only one saves, and it must hold the sums of all."""
    class Unread(Hook):

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            monitor, = (hook for hook in runner.hooks if isinstance(hook, SoftLabelMonitorHook))
            found.append(monitor._sums is not None)
    found = []

    cfg = run_cfg(tmp_path, digits_distillation(), 1, custom_hooks=[dict(type='wsld_plugin.SoftLabelMonitorHook')])
    cfg.param_scheduler = None
    cfg.train_cfg = dict(by_epoch=False, max_iters=4, val_interval=3)
    cfg.train_dataloader.sampler = dict(type='InfiniteSampler')
    cfg.default_hooks.logger.interval = 100
    cfg.default_hooks.checkpoint.update(by_epoch=False, interval=-1)  # the best alone
    cfg.log_processor = dict(by_epoch=False)
    runner = Runner.from_cfg(cfg)
    runner.register_hook(Unread())
    runner.train()
    assert found == [True, False, False, False]  # epochs end after the second and fourth, validated after the third


def test_a_model_without_the_loss_is_rejected_before_the_first_step(tmp_path):
    with pytest.raises(ConfigError, match='no distillation loss on logits'):
        Runner.from_cfg(config(tmp_path, digits_classifier())).train()
    with pytest.raises(ConfigError, match="Did you mean 'loss_soft'"):
        Runner.from_cfg(config(tmp_path, monitor=dict(loss='loss_sotf'))).train()


@pytest.mark.parametrize(('settings', 'message'), [
    (dict(every=0), 'every=0, expected an integer of 1 or more'), (dict(every=1.5), 'every=1.5'),
    (dict(interval=20), r'interval=20 is no longer .*set default_hooks\.logger\.interval=20')])
def test_settings_out_of_range_or_removed_are_rejected(settings, message):
    with pytest.raises(ConfigError, match=message):
        SoftLabelMonitorHook(**settings)
    SoftLabelMonitorHook(interval=None)


def test_mmrazors_losses_and_algorithm_are_measured_too(tmp_path):
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


def test_two_processes_write_the_sums_of_one(tmp_path):
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
            train(cfg)
    cfg.dump(tmp_path / 'two.py')
    tool('dist_train.sh', tmp_path / 'two.py', 2, '--work-dir', tmp_path / 'two')
    for epoch in (1, 2):
        one, two = (record(tmp_path / name, epoch) for name in ('one', 'two'))
        for measure in ('regularization_label', 'weight', 'bias_norm', 'student_ce', 'count'):
            assert two[measure] == pytest.approx(one[measure], rel=1e-4), measure


def test_tensorboard_has_the_histogram_of_the_weights(tmp_path):
    accumulator = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator')
    _, seen = train(config(tmp_path, epochs=1, visualizer=dict(
        type='mmpretrain.UniversalVisualizer', vis_backends=[dict(type='TensorboardVisBackend')])))
    events = accumulator.EventAccumulator(str(next(tmp_path.glob('*/vis_data')))).Reload()
    assert 'soft_labels_epoch/weight' in events.Tags()['scalars']
    histogram = events.Histograms('soft_labels_epoch/weights')[0].histogram_value
    assert histogram.num == 40
    assert histogram.sum / 40 == pytest.approx(expected(seen, 2.0)['weight'])


# The probe alone


def probed(gt_labels=True, cfg=None, loss=None):
    """A model, its probe, and the arguments that the probe passes on."""
    if cfg is None:
        cfg = distiller(loss=dict(type='wsld_plugin.KD', tau=4.0)) if gt_labels else kd_without_target()
    model, seen = build(distillation(distiller=cfg)).train(), []
    return model, LossProbe(model, loss, lambda *args: seen.append(args)), seen


def step(model, seed=0):
    data = batch(seed=seed)
    prepared = model.data_preprocessor(data, training=True)
    model.loss(prepared['inputs'], prepared['data_samples'])
    return labels_of(data)


@pytest.mark.parametrize('gt_labels', [True, False])
def test_the_probe_passes_on_logits_without_a_graph_and_the_target_until_it_is_off_or_closed(gt_labels):
    model, probe, seen = probed(gt_labels)
    labels = step(model)
    (student, teacher, target, teacher_ce), = seen
    assert student.shape == teacher.shape == (4, 5)
    assert torch.equal(target, labels)
    assert not student.requires_grad
    assert teacher_ce is None
    probe.on = False
    step(model)
    probe.on = True
    probe.close()
    step(model)
    assert len(seen) == 1


def test_the_probe_follows_a_replaced_loss_of_the_head():
    model, probe, seen = probed(gt_labels=False)
    model.student.head.loss_module = torch.nn.CrossEntropyLoss()
    probe.follow()
    target, logits = torch.tensor([1, 2]), torch.randn(2, 2, 5)
    model.student.head.loss_module(logits[0], target)
    probe.loss(*logits)
    assert all(torch.equal(*pair) for pair in zip(seen[0][:3], (*logits, target), strict=True))


@pytest.mark.filterwarnings('ignore')  # torch: dynamo warns of its own doings while it traces
def test_the_probe_works_on_a_compiled_loss():
    model, probe, seen = probed()
    probe.loss.compile(backend='eager')
    for seed in (0, 1):
        step(model, seed)
    assert len(seen) == 2


def test_a_loss_without_target_and_a_head_without_loss_are_rejected():
    model, *_ = probed(gt_labels=False)
    del model.student.head.loss_module
    with pytest.raises(ConfigError, match='add gt_labels'):
        LossProbe(model, None, print)


def test_the_probe_takes_the_first_loss_on_logits_or_the_named_one():
    cfg = distiller()
    cfg['distill_losses'] = dict(loss_feature=dict(type='mmrazor.L2Loss'), **cfg['distill_losses'])
    cfg['loss_forward_mappings']['loss_feature'] = dict(
        s_feature=dict(recorder='logits', from_student=True), t_feature=dict(recorder='logits', from_student=False))
    model, probe, _ = probed(cfg=cfg)
    assert probe.name == 'loss_soft'
    with pytest.raises(ConfigError, match="'loss_feature', expected one of 'loss_soft'"):
        LossProbe(model, 'loss_feature', print)
