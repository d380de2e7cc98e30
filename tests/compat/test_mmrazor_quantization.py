import sys
from types import ModuleType, SimpleNamespace

import pytest

from wsld_plugin.compat import mmrazor_quantization

PACKAGE = 'mmrazor.structures.quantization'


def test_idle_where_the_real_package_can_be_imported(monkeypatch):
    real = ModuleType(PACKAGE)
    monkeypatch.delitem(sys.modules, PACKAGE)
    monkeypatch.setattr(mmrazor_quantization, 'importlib', SimpleNamespace(
        import_module=lambda name: sys.modules.__setitem__(name, real)))
    mmrazor_quantization.apply()
    assert sys.modules[PACKAGE] is real


def test_idle_where_it_is_imported_already():
    before = sys.modules[PACKAGE]
    mmrazor_quantization.apply()
    assert sys.modules[PACKAGE] is before


@pytest.mark.parametrize('name', ['BackendConfigs', 'QConfigHandler'])
def test_what_the_stand_in_offers_says_what_it_needs(name):
    with pytest.raises(ImportError, match=r'torch<2\.1'):
        getattr(sys.modules[PACKAGE], name)({'any': 'argument'})
