import numpy as np
import pytest
import torch
from factories import digits_classifier, digits_distillation, run_cfg
from mmengine.runner import Runner
from mmpretrain.structures import DataSample

from wsld_plugin.datasets import Digits
from wsld_plugin.errors import ConfigError, RunError
from wsld_plugin.hooks.predictions import (
    FOLDER,
    PredictionsHook,
    epoch_files,
    read_log_probabilities,
    read_target,
    write_array,
)

HOOK = [dict(type='wsld_plugin.PredictionsHook')]


@pytest.mark.parametrize('model', [digits_classifier(), digits_distillation()], ids=['alone', 'distilled'])
def test_every_validation_writes_the_log_softmax_of_the_classifier_in_the_order_of_the_set(tmp_path, model):
    runner = Runner.from_cfg(run_cfg(tmp_path, model, custom_hooks=HOOK))
    runner.train()
    epochs = {epoch: np.load(path) for epoch, path in epoch_files(tmp_path).items()}
    assert list(epochs) == [1, 2]
    data = Digits(split='test', num_samples=20)
    labels, posteriors = read_target(tmp_path)
    assert list(labels) == list(data.get_gt_labels())
    assert posteriors is None

    runner.model.eval()
    images = [torch.from_numpy(data.get_data_info(index)['img'].transpose(2, 0, 1)) for index in range(20)]
    batch = runner.model.data_preprocessor(dict(inputs=images, data_samples=[DataSample() for _ in images]))
    with torch.no_grad():
        classifier = getattr(runner.model, 'student', runner.model)
        logits = classifier(batch['inputs'], mode='tensor')  # the head included
    np.testing.assert_allclose(epochs[2], logits.double().log_softmax(dim=-1), atol=1e-5)
    assert epochs[2].dtype == np.float32
    assert PredictionsHook._record not in [getattr(hook, '__func__', None)
                                           for hook in classifier.head._forward_hooks.values()]


def test_logits_whose_softmax_underflows_stay_finite(tmp_path):
    hook = PredictionsHook()
    hook._record(None, None, torch.tensor([[0., 300.], [500., 0.]]))
    hook.after_val_iter(None, 0, outputs=[DataSample().set_gt_label(0), DataSample().set_gt_label(1)])
    assert [row.tolist() for row, _ in hook._rows] == [[-300, 0], [0, -500]]


def test_known_posteriors_are_written_too(tmp_path):
    cfg = run_cfg(tmp_path, digits_classifier(), epochs=1, custom_hooks=HOOK)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.type = 'wsld_plugin.Mixture'
    runner = Runner.from_cfg(cfg)
    runner.train()
    labels, posteriors = read_target(tmp_path)
    assert posteriors.shape == (20, 10)
    np.testing.assert_allclose(posteriors.sum(axis=-1), 1)
    assert (posteriors.argmax(axis=-1) == labels).mean() > .5


def test_a_shuffled_sampler_is_rejected_also_within_another(tmp_path):
    cfg = run_cfg(tmp_path, digits_classifier(), epochs=1, custom_hooks=HOOK)
    cfg.val_dataloader.sampler.shuffle = True
    with pytest.raises(ConfigError, match=r'val_dataloader\.sampler\.shuffle is True'):
        Runner.from_cfg(cfg).train()
    cfg.experiment_name += '_within'
    shuffled = dict(type='DefaultSampler', shuffle=True)
    cfg.val_dataloader.sampler = dict(type='wsld_plugin.KeyedSampler', sampler=shuffled)
    cfg.val_dataloader.dataset = dict(type='wsld_plugin.KeyedDataset', dataset=cfg.val_dataloader.dataset)
    with pytest.raises(ConfigError, match=r'val_dataloader\.sampler\.sampler\.shuffle is True'):
        Runner.from_cfg(cfg).train()
    cfg.val_dataloader.sampler.sampler.shuffle = False
    cfg.experiment_name += '_in_order'
    Runner.from_cfg(cfg).train()
    assert list(read_target(tmp_path)[0]) == list(Digits(split='test', num_samples=20).get_gt_labels())


def test_training_by_iteration_is_rejected_before_the_first_iteration(tmp_path):
    train_cfg = dict(by_epoch=False, max_iters=4, val_interval=2)
    runner = Runner.from_cfg(run_cfg(tmp_path, digits_classifier(), custom_hooks=HOOK, train_cfg=train_cfg))
    with pytest.raises(ConfigError, match=r'train_cfg trains by iteration\. Give it by_epoch=True'):
        runner.train()
    assert runner.iter == 0
    assert not (tmp_path / FOLDER).exists()


@pytest.mark.parametrize('logits', [None, torch.zeros(2, 3, 4), torch.zeros(3, 4)])
def test_a_head_without_logits_is_rejected(logits):
    hook = PredictionsHook()
    hook._record(None, None, logits)
    with pytest.raises(ConfigError, match=r'gives no logits \(N, C\)'):
        hook.after_val_iter(None, 0, outputs=[DataSample(), DataSample()])


@pytest.mark.parametrize('kept', [0, 100, -1])
def test_a_truncated_file_is_named_with_what_to_do(tmp_path, kept):
    for name in ('epoch_1', 'labels'):
        path = tmp_path / FOLDER / f'{name}.npy'
        write_array(path, np.zeros((30, 3)))
        path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(RunError, match=r"epoch_1\.npy cannot be read: .* Move the run's folder away"):
        read_log_probabilities(epoch_files(tmp_path)[1])
    with pytest.raises(RunError, match=r"labels\.npy cannot be read: .* Move the run's folder away"):
        read_target(tmp_path)


def test_a_run_without_predictions_is_named(tmp_path):
    with pytest.raises(RunError, match='holds no log-probabilities'):
        epoch_files(tmp_path)
