import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from factories import digits_classifier, digits_distillation, run_cfg
from mmengine.config import Config
from processes import ROOT, run, tool

from wsld_plugin.engine.deepspeed import DeepSpeedStrategy
from wsld_plugin.engine.fsdp import FSDPStrategy
from wsld_plugin.engine.launch import prepare_launch
from wsld_plugin.engine.training import train, training_config
from wsld_plugin.errors import ConfigError

needs_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason='concerns machines without a GPU')
without_deepspeed = find_spec('deepspeed') is None
SCALE = ROOT / 'configs/scale'


def run_of(tmp_path, strategy=None, batch_size=20, **overrides):
    """A config file: LeNet-5 learns from LeNet-5, so that no BatchNorm tells two processes from one."""
    cfg = digits_classifier()
    cfg['backbone'] = dict(type='LeNet5')
    cfg['head']['in_channels'] = 120
    cfg = run_cfg(tmp_path / 'run', digits_distillation(architecture=cfg, teacher=cfg), param_scheduler=dict(
        type='MultiStepLR', end=2, milestones=[1], gamma=0.5))
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.pipeline.insert(0, dict(type='mmcv.Resize', scale=(32, 32)))
    cfg.train_dataloader.batch_size = batch_size
    if strategy:
        cfg.merge_from_dict(Config.fromfile(ROOT / f'configs/_base_/strategies/{strategy}.py').to_dict())
        cfg.custom_imports = dict(imports=['wsld_plugin', 'shard_sizes'])
        cfg.custom_hooks = [dict(type='SaveShardSizes')]
    if strategy == 'deepspeed':
        cfg.optim_wrapper.type = 'DeepSpeedOptimWrapper'
    cfg.update(overrides)
    path = tmp_path / f'{strategy}.py'
    cfg.dump(path)
    return path


def weights(path):
    return torch.load(path, weights_only=True)['state_dict']


@needs_cpu
@pytest.mark.parametrize('strategy', ['fsdp', pytest.param('deepspeed', marks=pytest.mark.skipif(
    without_deepspeed, reason='DeepSpeed is not installed'))])
@pytest.mark.slow
def test_two_processes_with_shards_end_with_the_weights_of_one_without(tmp_path, strategy):
    config = run_of(tmp_path, strategy, batch_size=10)
    # DeepSpeed starts once in a process, and resumes not at all
    for names in [['whole', 'half', 'rest']] if strategy == 'fsdp' else [['whole'], ['half']]:
        run(sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2',
            ROOT / 'tests/train_flexible.py', config, tmp_path, *names, DS_ACCELERATOR='cpu',
            PYTHONPATH=f'{ROOT}:{ROOT}/tests')
    runner = train(training_config(str(run_of(tmp_path)), work_dir=str(tmp_path / 'alone')))
    alone = weights(tmp_path / 'alone/student_last.pth')
    for name in ('whole', 'halves') if strategy == 'fsdp' else ['whole']:
        found = weights(tmp_path / name / 'student_last.pth')
        assert found.keys() == alone.keys()
        for key, value in found.items():
            torch.testing.assert_close(value, alone[key], rtol=1e-4, atol=1e-6)
    sizes = [int(Path(tmp_path, f'whole/rank{rank}.txt').read_text()) for rank in range(2)]
    whole = sum(parameter.numel() for parameter in runner.model.parameters())
    assert whole <= sum(sizes) <= whole + 8  # the teacher has no part in them; padding
    assert max(sizes) < 0.75 * whole
    assert not list(tmp_path.glob('*/*.unfinished'))
    tool('test.py', config, tmp_path / 'whole/student_last.pth')


def test_pickled_shards_are_not_resumed_from(tmp_path):
    shards = tmp_path / 'run/epoch_1.pth'
    shards.mkdir(parents=True)
    (shards / 'weights.pth').touch()
    with pytest.raises(ConfigError, match=r'--resume .*epoch_1\.pth: the shards in it are pickles'):
        training_config(str(run_of(tmp_path, 'deepspeed')), work_dir=str(tmp_path / 'run'), resume=True)


@pytest.mark.parametrize('name', ['fsdp', 'deepspeed'])
def test_the_config_says_what_is_left_out(name, tmp_path, capsys):
    cfg = training_config(str(SCALE / f'wsld_resnet34_resnet18_{name}_8xb32_in1k.py'), work_dir=str(tmp_path))
    assert cfg.runner_type == 'wsld_plugin.FlexibleRunner'
    assert not cfg.accelerate.channels_last
    assert 'channels_last: left out' in capsys.readouterr().out


@pytest.mark.parametrize(('options', 'message'), [
    (dict(sync_bn='torch'), r'strategy\.sync_bn'),
    (dict(model_wrapper_cfg=dict(type='MMDistributedDataParallel')), r'strategy\.model_wrapper'),
    (dict(custom_hooks=[dict(type='EMAHook')]), 'EMAHook needs the model whole'),
])
def test_what_the_runner_would_not_do_is_refused(options, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        training_config(str(run_of(tmp_path, 'fsdp', **options)))


def test_a_misspelt_argument_of_the_wrapper_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="Did you mean 'sharding_strategy'"):
        training_config(str(run_of(tmp_path, 'fsdp')),
                        options={'strategy.model_wrapper.sharding_stratgy': 'NO_SHARD'})


def test_shards_need_a_launcher(tmp_path):
    with pytest.raises(ConfigError, match=r'dist_train\.sh CONFIG 1'):
        prepare_launch(training_config(str(run_of(tmp_path, 'fsdp'))))


def test_checkpoints_of_shards_are_refused():
    with pytest.raises(ConfigError, match="expected 'full'"):
        FSDPStrategy(state_dict_cfg='local')


@pytest.mark.skipif(not without_deepspeed, reason='DeepSpeed is installed')
def test_without_deepspeed_the_other_way_is_named():
    with pytest.raises(ConfigError, match='FSDPStrategy'):
        DeepSpeedStrategy()


@pytest.mark.skipif(without_deepspeed, reason='DeepSpeed is not installed')
def test_weights_in_shards_are_refused(tmp_path):
    with pytest.raises(ConfigError, match='expected 1 or 2'):
        DeepSpeedStrategy(work_dir=str(tmp_path), zero_optimization=dict(stage=3))
