import sys
from types import ModuleType

from mmengine._strategy import deepspeed as strategy
from mmengine.registry import OPTIMIZERS


class FusedAdam:
    """In place of DeepSpeed's."""


def test_what_deepspeed_has_is_registered_as_often_as_it_is_asked_for(monkeypatch):
    names = ('deepspeed', 'deepspeed.ops', 'deepspeed.ops.adam')
    for name in names:
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    for name in ('deepspeed.ops.lamb', 'deepspeed.runtime.fp16.onebit'):
        monkeypatch.setitem(sys.modules, name, None)  # an import of it fails
    sys.modules['deepspeed.ops.adam'].FusedAdam = FusedAdam
    monkeypatch.setattr(OPTIMIZERS, '_module_dict', dict(OPTIMIZERS.module_dict))
    assert strategy.register_deepspeed_optimizers() == ['FusedAdam']
    assert strategy.register_deepspeed_optimizers() == ['FusedAdam']
    assert OPTIMIZERS.get('FusedAdam') is FusedAdam
