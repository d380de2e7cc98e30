import gc
from collections import Counter, OrderedDict

import pytest
from mmengine.registry import DefaultScope

import wsld_plugin  # noqa: F401  (mends what a test may import next)


def pytest_collection_modifyitems(items):
    """Files that start processes go first, then those of many tests: so several workers end together."""
    length = Counter(item.path for item in items)
    items.sort(key=lambda item: (not _starts_processes(item.module), -length[item.path]))


def pytest_collection_finish():
    """What was imported is no garbage: collections, of which mmengine makes one for every data set, skip it."""
    gc.freeze()


def _starts_processes(module):
    return 'processes' in {getattr(value, '__module__', None) for value in vars(module).values()}


@pytest.fixture(autouse=True)
def no_default_scope(monkeypatch):
    """A test begins without a default scope, as a process does, whatever ran before it."""
    monkeypatch.setattr(DefaultScope, '_instance_dict', OrderedDict())


@pytest.fixture
def mmrazor_scope():
    """Bare type names mean MMRazor's, as in its own configs."""
    with DefaultScope.overwrite_default_scope('mmrazor'):
        yield
