import sys
from types import SimpleNamespace

import mmcv
import pytest

from wsld_plugin.compat import mmcv_version


@pytest.fixture
def seen(monkeypatch):
    """MMCV's version as MMRazor's first import sees it; empty where the remedy imports nothing."""
    versions = []
    monkeypatch.delitem(sys.modules, 'mmrazor')
    monkeypatch.setattr(mmcv_version, 'importlib', SimpleNamespace(
        import_module=lambda name: versions.append((name, mmcv.__version__))))
    return versions


@pytest.mark.parametrize('version', ['2.0.1', '2.1.0'])
def test_idle_where_the_version_is_in_range(monkeypatch, seen, version):
    monkeypatch.setattr(mmcv, '__version__', version)
    mmcv_version.apply()
    assert seen == []
    assert mmcv.__version__ == version


def test_idle_where_mmrazor_is_imported_already(monkeypatch, seen):
    monkeypatch.setattr(mmcv, '__version__', '2.3.6')
    monkeypatch.setitem(sys.modules, 'mmrazor', object())
    mmcv_version.apply()
    assert seen == []


def test_a_newer_version_is_hidden_for_the_import_alone(monkeypatch, seen):
    monkeypatch.setattr(mmcv, '__version__', '2.3.6')
    mmcv_version.apply()
    assert seen == [('mmrazor', '2.1.0')]
    assert mmcv.__version__ == '2.3.6'


def test_the_version_comes_back_when_the_import_fails(monkeypatch, seen):
    monkeypatch.setattr(mmcv, '__version__', '2.3.6')
    monkeypatch.setattr(mmcv_version.importlib, 'import_module', lambda name: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        mmcv_version.apply()
    assert mmcv.__version__ == '2.3.6'
