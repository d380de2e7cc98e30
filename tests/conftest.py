from collections import OrderedDict

import pytest
from mmengine.registry import DefaultScope

import wsld_plugin  # noqa: F401  (mends what a test may import next)


@pytest.fixture(autouse=True)
def no_default_scope(monkeypatch):
    """A test begins without a default scope, as a process does, whatever ran before it."""
    monkeypatch.setattr(DefaultScope, '_instance_dict', OrderedDict())


@pytest.fixture
def mmrazor_scope():
    """Bare type names mean MMRazor's, as in its own configs."""
    with DefaultScope.overwrite_default_scope('mmrazor'):
        yield
