import functools
import json

import pytest
import torch
from factories import batch, build, digits_distillation, distillation, distiller, labels_of, run_cfg
from mmengine.hooks import Hook
from mmengine.runner import Runner

from wsld_plugin.analysis.regularization import describe, sample_measures, summarize
from wsld_plugin.errors import ConfigError
from wsld_plugin.hooks import SoftLabelMonitorHook
from wsld_plugin.hooks.soft_label_monitor import LossProbe


def kd_without_target():
    cfg = distiller(loss=dict(type='wsld_plugin.KD', tau=4.0))
    del cfg['loss_forward_mappings']['loss_soft']['gt_labels']
    return cfg


def config(work_dir, model=None, epochs=2, log_interval=1, every=1, **overrides):
    cfg = run_cfg(work_dir, model or digits_distillation(), epochs, **{
        'custom_hooks': [dict(type='wsld_plugin.SoftLabelMonitorHook', every=every)],
        'val_dataloader': None, 'val_cfg': None, 'val_evaluator': None, **overrides})
    cfg.default_hooks.logger.interval = log_interval
    cfg.default_hooks.checkpoint.save_best = None
    return cfg


def by_iteration(cfg, iterations, **train_cfg):
    cfg.param_scheduler, cfg.log_processor = None, dict(by_epoch=False)
    cfg.train_cfg = dict(by_epoch=False, max_iters=iterations, **train_cfg)
    cfg.train_dataloader.sampler = dict(type='InfiniteSampler')
    cfg.default_hooks.checkpoint.update(by_epoch=False, interval=3)
    cfg.default_hooks.logger.interval = 100
    return cfg


def train(cfg):
    """The runner, and the logits and target of each call of the distillation loss, recorded without the hook."""
    runner, seen = Runner.from_cfg(cfg), []
    loss = next(iter(runner.model.distiller.distill_losses.values()))
    forward = loss.forward

    @functools.wraps(forward)
    def spying(*logits, gt_labels=None, **named):
        student, teacher = logits or named.values()
        seen.append((student.detach().clone(), teacher.clone(), gt_labels))
        return forward(*logits, **named, **({} if gt_labels is None else dict(gt_labels=gt_labels)))
    loss.forward = spying
    runner.train()
    return runner, seen


def logged(runner):
    return {name.removeprefix('train/soft_labels/'): list(buffer.data[0])
            for name, buffer in runner.message_hub.log_scalars.items() if 'soft_labels' in name}


def epochs(folder):
    return json.loads((folder / 'soft_label_monitor/epochs.json').read_text())


def counts(folder):
    return [(each['epoch'], each['count'], each['left_out']) for each in epochs(folder)]


def expected(batches, tau=2.0):
    return describe(summarize(torch.cat([sample_measures(*each, tau) for each in batches], 1)))


def check_record(record, batches, tau=2.0):
    measures = expected(batches, tau)
    assert {name: record[name] for name in measures} == pytest.approx(measures)
    assert record['tau'] == tau


def test_log_and_file_hold_the_measures_of_the_arguments_of_the_loss_and_training_is_as_without_the_hook(tmp_path):
    runner, seen = train(config(tmp_path / 'with'))
    assert len(seen) == 4
    found = logged(runner)
    for index, each in enumerate(seen):
        assert {name: values[index] for name, values in found.items()} == pytest.approx(expected([each]))
    for epoch, record in enumerate(epochs(tmp_path / 'with')):
        check_record(record, seen[2 * epoch:2 * epoch + 2])
        assert sum(record['weight_histogram']) == 40
    assert counts(tmp_path / 'with') == [(1, 40, 0), (2, 40, 0)]
    assert [path.name for path in (tmp_path / 'with/soft_label_monitor').iterdir()] == ['epochs.json']

    without, _ = train(config(tmp_path / 'without', custom_hooks=[]))
    torch.testing.assert_close(runner.model.state_dict(), without.model.state_dict(), rtol=0, atol=0)


def test_a_line_covers_the_iterations_since_the_last_line_across_epochs(tmp_path):
    """Epochs of 4 iterations, logged after each third: the fourth is part of the next line."""
    cfg = config(tmp_path, log_interval=3)
    cfg.train_dataloader.batch_size = 10
    cfg.default_hooks.logger.ignore_last = True
    runner, seen = train(cfg)
    assert logged(runner)['weight'] == pytest.approx([expected(part)['weight'] for part in (seen[:3], seen[3:7])])
    assert counts(tmp_path) == [(1, 40, 0), (2, 40, 0)]


def test_targets_of_mixup_and_half_precision_are_measured_as_the_loss_got_them(tmp_path):
    model = digits_distillation()
    model['architecture']['data_preprocessor']['batch_augments'] = dict(augments=dict(type='Mixup', alpha=1.0))
    _, seen = train(config(tmp_path, model, epochs=1, optim_wrapper=dict(
        type='wsld_plugin.AutocastOptimWrapper', dtype='bfloat16', optimizer=dict(type='SGD', lr=.05))))
    assert (seen[0][0].dtype, seen[0][2].shape) == (torch.bfloat16, (20, 10))
    check_record(epochs(tmp_path)[0], seen)


def test_a_resumed_run_continues_the_sums_exactly_and_loaded_weights_bring_no_sums(tmp_path):
    def run(folder, until, **more):
        cfg = by_iteration(config(tmp_path / folder, **more), until)
        loader = cfg.train_dataloader
        loader.dataset = dict(type='wsld_plugin.KeyedDataset', dataset=loader.dataset)
        loader.sampler = dict(type='wsld_plugin.KeyedSampler', sampler=loader.sampler)
        Runner.from_cfg(cfg).train()

    run('whole', 7)
    run('parts', 3)
    assert counts(tmp_path / 'parts') == [(1, 40, 0), (2, 20, 0)]
    run('parts', 7, resume=True)
    assert epochs(tmp_path / 'parts') == epochs(tmp_path / 'whole')
    assert counts(tmp_path / 'whole') == [(1, 40, 0), (2, 40, 0), (3, 40, 0), (4, 20, 0)]
    run('loaded', 1, load_from=str(tmp_path / 'whole/iter_7.pth'))
    assert counts(tmp_path / 'loaded') == [(1, 20, 0)]


def test_only_every_nth_iteration_is_measured_until_distillation_is_stopped(tmp_path):
    cfg = config(tmp_path, epochs=5, every=4)
    cfg.custom_hooks.append(dict(type='mmrazor.StopDistillHook', stop_epoch=4))
    runner, seen = train(cfg)
    assert len(seen) == 8
    assert counts(tmp_path) == [(1, 20, 0), (3, 20, 0)]  # iterations 0 and 4, not 8
    check_record(epochs(tmp_path)[0], seen[:1])
    assert not logged(runner)  # the last line has no measure, and does not repeat an old one


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


def test_samples_that_are_not_finite_are_skipped_with_a_warning_and_those_with_hidden_labels(tmp_path):
    runner = Runner.from_cfg(config(tmp_path / 'infinite', epochs=1, log_interval=100))
    head = runner.model.teacher.head
    forward = head.forward
    # WSLD's weight is then 0, its loss finite
    head.forward = lambda *args: forward(*args).index_fill(1, torch.tensor([5]), float('-inf'))
    runner.train()
    assert '4 samples were skipped' in next(tmp_path.glob('infinite/*/*.log')).read_text()
    assert counts(tmp_path / 'infinite') == [(1, 36, 4)]

    cfg = config(tmp_path / 'hidden', digits_distillation(distiller=kd_without_target()), epochs=1)
    cfg.train_dataloader.dataset = dict(type='wsld_plugin.FewLabels', num_labels=10,
                                        dataset=cfg.train_dataloader.dataset)
    train(cfg)
    assert counts(tmp_path / 'hidden') == [(1, 10, 30)]


def test_the_sums_are_read_before_a_validation_whose_checkpoint_holds_them(tmp_path):
    """Of several ranks only one saves, and it must hold the sums of all."""
    cfg = run_cfg(tmp_path, digits_distillation(), 1, custom_hooks=[dict(type='wsld_plugin.SoftLabelMonitorHook')])
    by_iteration(cfg, 4, val_interval=3).default_hooks.checkpoint.interval = -1  # the best alone
    runner, found, unread = Runner.from_cfg(cfg), [], Hook()
    runner.register_hook(unread)
    monitor, = (hook for hook in runner.hooks if isinstance(hook, SoftLabelMonitorHook))
    unread.after_train_iter = lambda *_, **__: found.append(monitor._sums is not None)
    runner.train()
    assert found == [True, False, False, False]  # epochs end after the second and fourth, validated after the third


def test_mmrazors_losses_and_algorithm_are_measured_with_the_target_of_the_heads_loss(tmp_path):
    parts = kd_without_target()
    parts['distill_losses']['loss_soft'] = dict(type='mmrazor.KLDivergence', tau=3.0)
    mapping = parts['loss_forward_mappings']['loss_soft']
    mapping['preds_S'], mapping['preds_T'] = mapping.pop('student'), mapping.pop('teacher')
    model = digits_distillation(distiller=parts, type='mmrazor.SingleTeacherDistill')
    model['data_preprocessor'] = model['architecture'].pop('data_preprocessor')
    model['data_preprocessor']['type'] = 'mmpretrain.ClsDataPreprocessor'
    model['teacher'].pop('data_preprocessor')
    cfg = config(tmp_path, model, epochs=1)
    cfg.train_dataloader.sampler.shuffle = False
    runner, seen = train(cfg)
    labels = torch.tensor([runner.train_dataloader.dataset.get_data_info(index)['gt_label'] for index in range(40)])
    check_record(epochs(tmp_path)[0], [(*logits, target) for (*logits, _), target
                                       in zip(seen, labels.split(20), strict=True)], tau=3.0)


def test_tensorboard_has_the_histogram_of_the_weights(tmp_path):
    accumulator = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator')
    _, seen = train(config(tmp_path, epochs=1, visualizer=dict(
        type='mmpretrain.UniversalVisualizer', vis_backends=[dict(type='TensorboardVisBackend')])))
    events = accumulator.EventAccumulator(str(next(tmp_path.glob('*/vis_data')))).Reload()
    assert 'soft_labels_epoch/weight' in events.Tags()['scalars']
    histogram = events.Histograms('soft_labels_epoch/weights')[0].histogram_value
    assert histogram.num == 40
    assert histogram.sum / 40 == pytest.approx(expected(seen)['weight'])


# The probe alone


def probed(cfg=None, loss=None):
    """A model, its probe, and the arguments that the probe passes on."""
    model, seen = build(distillation(distiller=cfg or kd_without_target())).train(), []
    return model, LossProbe(model, loss, lambda *args: seen.append(args)), seen


def step(model, seed=0):
    data = batch(seed=seed)
    model(**model.data_preprocessor(data, training=True), mode='loss')
    return labels_of(data)


@pytest.mark.parametrize('cfg', [distiller(loss=dict(type='wsld_plugin.KD', tau=4.0)), kd_without_target()])
def test_the_probe_passes_on_logits_without_a_graph_and_the_target_until_it_is_off_or_closed(cfg):
    model, probe, seen = probed(cfg)
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
    model, probe, seen = probed()
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


def test_the_probe_takes_the_first_loss_on_logits_or_the_named_one_and_other_models_and_settings_are_rejected():
    cfg = distiller()
    cfg['distill_losses'] = dict(loss_feature=dict(type='mmrazor.L2Loss'), **cfg['distill_losses'])
    cfg['loss_forward_mappings']['loss_feature'] = dict(
        s_feature=dict(recorder='logits', from_student=True), t_feature=dict(recorder='logits', from_student=False))
    model, probe, _ = probed(cfg)
    assert probe.name == 'loss_soft'
    with pytest.raises(ConfigError, match="'loss_feature', expected one of 'loss_soft'"):
        LossProbe(model, 'loss_feature', print)
    with pytest.raises(ConfigError, match='no distillation loss on logits'):
        LossProbe(model.student, None, print)
    model, *_ = probed()
    del model.student.head.loss_module
    with pytest.raises(ConfigError, match='add gt_labels'):
        LossProbe(model, None, print)
    for every in (0, 1.5):
        with pytest.raises(ConfigError, match=f'every={every}, expected an integer of 1 or more'):
            SoftLabelMonitorHook(every=every)
