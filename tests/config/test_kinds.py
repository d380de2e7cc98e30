"""A config whose parts are damaged at random is trained as it is or rejected in words, never with a traceback."""
import copy
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmengine.config import Config

from wsld_plugin.config import load
from wsld_plugin.engine.training import training_config
from wsld_plugin.errors import ConfigError

CONFIGS = Path(__file__).parents[2] / 'configs'
BASES = [load.read_config(CONFIGS / name).to_dict() for name in (
    'kd/kd_resnet18-w32_resnet18-w8_digits.py', 'wsld/wsld_cached_resnet18-w32_resnet18-w8_digits.py',
    'weak/partial_pll_resnet18-w8_digits.py', 'kd/kd_ensemble_resnet18-w8_digits.py')]
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.floats(), st.text(max_size=4), st.just(10**30),
    st.binary(max_size=1),
    st.sampled_from([[], {}, (), [1, 2], [{}], [None], {'a': 1}, {1: 2}, 'configs/none.py']),
    st.sampled_from([{'type': kind} for kind in (None, 3, 'KD', 'wsld_plugin.KD', 'DefaultSampler')]),
    st.sampled_from([{'cfg_path': name} for name in (3, 'nowhere.py', 'mmpretrain::resnet/resnet18_8xb32_in1k.py')]))


def places(part):
    """Every (container, key) of nested dicts and lists."""
    for key, value in part.items() if isinstance(part, dict) else enumerate(part):
        yield part, key
        if isinstance(value, (dict, list)):
            yield from places(value)


@st.composite
def damaged(draw):
    cfg = copy.deepcopy(draw(st.sampled_from(BASES)))
    for _ in range(draw(st.integers(1, 2))):
        part, key = draw(st.sampled_from(list(places(cfg))))
        how = draw(st.sampled_from(['set', 'remove', 'misspell']))
        if how == 'set':
            part[key] = copy.deepcopy(draw(VALUES))  # never a part of itself
        elif how == 'remove' or not isinstance(part, dict) or len(key) < 2:
            del part[key]
        else:
            place = draw(st.integers(0, len(key) - 1))
            part[key[:place] + key[place + 1:]] = part.pop(key)
    return cfg


def rejected_or_not(cfg, monkeypatch):
    real = load.read_config
    monkeypatch.setattr(load, 'read_config', lambda name: Config(cfg) if name == 'damaged.py' else real(name))
    try:
        training_config('damaged.py', work_dir='nowhere')
    except (ConfigError, FileNotFoundError):
        pass
    finally:
        monkeypatch.undo()


@pytest.mark.parametrize('examples', [60, pytest.param(2000, marks=pytest.mark.slow)])
def test_damaged_configs_are_rejected_in_words_or_not_at_all(examples, monkeypatch):
    @settings(max_examples=examples, deadline=None, derandomize=True, database=None,
              suppress_health_check=list(HealthCheck))
    @given(cfg=damaged())
    def holds(cfg):
        rejected_or_not(cfg, monkeypatch)
    holds()


@pytest.mark.parametrize(('part', 'value', 'said'), [
    ('model', 3, 'model=3, expected a dict'), ('custom_hooks', 'EMAHook', 'expected a list of dicts, such as'),
    ('param_scheduler', [1], r'param_scheduler\.0=1, expected a dict'),
    ('custom_imports', dict(imports=[3]), r'custom_imports\.imports\.0=3, expected a name'),
    ('default_scope', 3, "default_scope=3, expected the name of a package"),
    ('optim_wrapper', dict(_scope_=3), 'optim_wrapper._scope_=3, expected the name of a package'),
    ('train_dataloader', dict(dataset=[]), r'train_dataloader\.dataset=\[\], expected a dict')])
def test_the_first_part_of_another_kind_is_named(part, value, said):
    with pytest.raises(ConfigError, match=said):
        load.check_kinds({**BASES[0], part: value})


def test_what_a_loss_is_given_needs_a_recorder_and_a_side():
    cfg = copy.deepcopy(BASES[0])
    mapping, = cfg['model']['distiller']['loss_forward_mappings'].values()
    del mapping['teacher']['from_student']
    with pytest.raises(ConfigError, match=r"loss_forward_mappings\.\w+\.teacher has no 'from_student'"):
        load.check_kinds(cfg)
