from types import SimpleNamespace

import numpy as np
import pytest
import torch
from factories import digits_classifier, digits_distillation, run_cfg
from mmengine.dataset import DefaultSampler
from mmengine.runner import IterBasedTrainLoop, Runner
from mmpretrain.structures import DataSample

from wsld_plugin.datasets import KeyedSampler
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


@pytest.mark.parametrize(('model', 'dataset'), [(digits_classifier(), 'Mixture'), (digits_distillation(), 'Digits')])
def test_every_validation_writes_the_log_softmax_of_the_classifier_in_the_order_of_the_set(tmp_path, model, dataset):
    cfg = run_cfg(tmp_path, model, custom_hooks=HOOK)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.type = f'wsld_plugin.{dataset}'
    runner = Runner.from_cfg(cfg)
    runner.train()
    epochs = {epoch: np.load(path) for epoch, path in epoch_files(tmp_path).items()}
    assert list(epochs) == [1, 2]
    labels, posteriors = read_target(tmp_path)
    assert list(labels) == list(runner.val_dataloader.dataset.get_gt_labels())
    if dataset == 'Digits':
        assert posteriors is None
    else:
        assert posteriors.shape == (20, 10)
        np.testing.assert_allclose(posteriors.sum(axis=-1), 1)
        assert (posteriors.argmax(axis=-1) == labels).mean() > .5

    runner.model.eval()
    classifier = getattr(runner.model, 'student', runner.model)
    with torch.no_grad():
        inputs, = (runner.model.data_preprocessor(data)['inputs'] for data in runner.val_dataloader)
        logits = classifier(inputs, mode='tensor')  # the head included
    np.testing.assert_allclose(epochs[2], logits.double().log_softmax(dim=-1), atol=1e-5)
    assert epochs[2].dtype == np.float32
    assert PredictionsHook._record not in [getattr(hook, '__func__', None)
                                           for hook in classifier.head._forward_hooks.values()]


def test_a_shuffled_sampler_also_within_another_and_training_by_iteration_are_rejected():
    samples, model = torch.zeros(4, 1), SimpleNamespace(head=torch.nn.Identity())
    shuffled, in_order = DefaultSampler(samples, shuffle=True), DefaultSampler(samples, shuffle=False)
    for sampler, name in ((shuffled, 'sampler'), (KeyedSampler(samples, shuffled), r'sampler\.sampler')):
        with pytest.raises(ConfigError, match=rf'val_dataloader\.{name}\.shuffle is True'):
            PredictionsHook().before_val_epoch(SimpleNamespace(val_dataloader=SimpleNamespace(sampler=sampler)))
    PredictionsHook().before_val_epoch(SimpleNamespace(model=model, val_dataloader=SimpleNamespace(sampler=in_order)))
    with pytest.raises(ConfigError, match=r'train_cfg trains by iteration\. Give it by_epoch=True'):
        PredictionsHook().before_run(SimpleNamespace(_train_loop=object.__new__(IterBasedTrainLoop)))


@pytest.mark.parametrize('logits', [None, torch.zeros(2, 3, 4), torch.zeros(3, 4)])
def test_logits_whose_softmax_underflows_stay_finite_and_a_head_without_logits_is_rejected(logits):
    hook, samples = PredictionsHook(), [DataSample().set_gt_label(0), DataSample().set_gt_label(1)]
    hook._rows = []
    hook._record(None, None, torch.tensor([[0., 300.], [500., 0.]]))
    hook.after_val_iter(None, 0, outputs=samples)
    assert [row.tolist() for row, _ in hook._rows] == [[-300, 0], [0, -500]]
    hook._record(None, None, logits)
    with pytest.raises(ConfigError, match=r'gives no logits \(N, C\)'):
        hook.after_val_iter(None, 0, outputs=samples)


@pytest.mark.parametrize('kept', [0, 100, -1])
def test_a_missing_or_truncated_file_is_named_with_what_to_do(tmp_path, kept):
    with pytest.raises(RunError, match='holds no log-probabilities'):
        epoch_files(tmp_path)
    for name in ('epoch_1', 'labels'):
        path = tmp_path / FOLDER / f'{name}.npy'
        write_array(path, np.zeros((30, 3)))
        path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(RunError, match=r"epoch_1\.npy cannot be read: .* Move the run's folder away"):
        read_log_probabilities(epoch_files(tmp_path)[1])
    with pytest.raises(RunError, match=r"labels\.npy cannot be read: .* Move the run's folder away"):
        read_target(tmp_path)
