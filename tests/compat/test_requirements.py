import sys

import pytest

from wsld_plugin.compat import requirements


def test_idle_where_everything_is_installed():
    before = set(sys.modules)
    requirements.apply()
    assert set(sys.modules) == before


def test_all_missing_packages_are_named_at_once(monkeypatch):
    monkeypatch.setattr(requirements, 'find_spec', lambda name: name not in ('mmcv', 'mmrazor') or None)
    with pytest.raises(ImportError, match='needs mmcv, mmrazor, not installed'):
        requirements.apply()
