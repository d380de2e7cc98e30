import inspect

from mmengine._strategy import FSDPStrategy
from torch.distributed.fsdp import FullyShardedDataParallel

from wsld_plugin.compat import fsdp_optimizer_state


def test_the_state_reaches_pytorch_by_name(monkeypatch):
    seen = {}

    def load(**parts):
        inspect.signature(original).bind(**parts)
        seen.update(parts)
        return 'mine'
    original = FullyShardedDataParallel.optim_state_dict_to_load
    monkeypatch.setattr(FullyShardedDataParallel, 'optim_state_dict_to_load', load)
    strategy = FSDPStrategy.__new__(FSDPStrategy)
    strategy.model = 'model'
    strategy.optim_wrapper = type('Wrapper', (), dict(optimizer='optimizer'))()
    strategy.optim_wrapper.load_state_dict = lambda state: seen.update(loaded=state)
    strategy.load_optim_state_dict(dict(state={}))
    assert seen == dict(model='model', optim='optimizer', optim_state_dict=dict(state={}), loaded='mine')


def test_it_is_idle_where_pytorch_has_the_former_order(monkeypatch):
    monkeypatch.setattr(FullyShardedDataParallel, 'optim_state_dict_to_load',
                        lambda optim_state_dict, model, optim: None)
    monkeypatch.setattr(FSDPStrategy, 'load_optim_state_dict', 'untouched')
    fsdp_optimizer_state.apply()
    assert FSDPStrategy.load_optim_state_dict == 'untouched'
