import pytest
from mmengine.registry import DefaultScope

import wsld_plugin  # noqa: F401  (mends what a test may import next)


@pytest.fixture
def mmrazor_scope():
    """Bare type names mean MMRazor's, as in its own configs."""
    with DefaultScope.overwrite_default_scope('mmrazor'):
        yield
