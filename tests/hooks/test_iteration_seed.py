import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from factories import digits_classifier, run_cfg
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from packs import AUGMENTED, recorded

from wsld_plugin.engine.training import train, training_config
from wsld_plugin.hooks import IterationSeedHook


def draws(iteration, seed=0):
    IterationSeedHook().before_train_iter(SimpleNamespace(seed=seed, iter=iteration), 0)
    return random.random(), np.random.random_sample(), torch.rand(()).item()  # noqa: NPY002


def test_draws_are_a_function_of_the_seed_the_iteration_and_the_rank(monkeypatch):
    first = draws(3)
    draws(4)
    torch.rand(5)
    assert draws(3) == first
    others = [draws(4), draws(3, seed=1)]
    monkeypatch.setattr('wsld_plugin.hooks.iteration_seed.get_rank', lambda: 1)
    others.append(draws(3))
    assert all(a != b for other in others for a, b in zip(other, first, strict=True))


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_the_gpu_is_seeded_too():
    torch.zeros(1, device='cuda')
    draws(3)
    first = torch.rand(3, device='cuda')
    draws(4)
    assert (torch.rand(3, device='cuda') != first).any()
    draws(3)
    assert (torch.rand(3, device='cuda') == first).all()


@HOOKS.register_module()
class StopHere(Hook):
    """Ends the process's run in the middle of an epoch, as a crash would."""

    def __init__(self, iteration):
        self.iteration = iteration

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.iteration:
            raise KeyboardInterrupt


def config(tmp_path, name, workers, *hooks):
    """Mixup, stochastic depth and augmentation, each drawn from another generator; 2 batches an epoch."""
    model = digits_classifier()
    model['backbone']['drop_path_rate'] = 0.5
    model['head']['loss'] = dict(type='CrossEntropyLoss', use_soft=True)
    model['train_cfg'] = dict(augments=[dict(type='Mixup', alpha=1.0), dict(type='CutMix', alpha=1.0)])
    cfg = run_cfg(tmp_path / 'unused', model, epochs=3, custom_hooks=list(hooks))
    cfg.default_hooks.iteration_seed = dict(type='wsld_plugin.IterationSeedHook')
    cfg.custom_hooks.append(dict(type='RecordPixels', folder=str(tmp_path / name)))
    cfg.train_dataloader.dataset.pipeline = [AUGMENTED[0], AUGMENTED[1], AUGMENTED[-1]]
    cfg.train_dataloader.num_workers = workers
    path = tmp_path / f'{name}{len(hooks)}.py'
    cfg.dump(path)
    return str(path)


@pytest.mark.parametrize('workers', [0, 2])
def test_a_run_that_was_broken_off_in_an_epoch_ends_as_one_that_was_not(tmp_path, workers):
    whole = train(training_config(config(tmp_path, 'whole', workers), work_dir=str(tmp_path / 'run')))
    broken = config(tmp_path, 'broken', workers, dict(type='StopHere', iteration=3))
    with pytest.raises(KeyboardInterrupt):
        train(training_config(broken, work_dir=str(tmp_path / 'again')))
    torch.rand(3)
    resumed = train(training_config(config(tmp_path, 'broken', workers), work_dir=str(tmp_path / 'again'),
                                    resume=True))
    assert recorded(tmp_path / 'broken') == recorded(tmp_path / 'whole')
    assert resumed.iter == whole.iter == 6
    weights, expected = resumed.model.state_dict(), whole.model.state_dict()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
