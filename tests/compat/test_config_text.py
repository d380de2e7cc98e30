import pytest
from mmengine.config import Config, config

from wsld_plugin.compat import config_text

# the forks format with another library, and quickly
needs_yapf = pytest.mark.skipif(not hasattr(config, 'FormatCode'), reason='mmengine does not format with yapf')


@pytest.fixture
def calls(monkeypatch):
    """What yapf itself is asked for, by a fresh remedy."""
    from yapf.yapflib.yapf_api import FormatCode
    seen = []

    def format_code(code, **options):
        seen.append(code)
        return FormatCode(code, **options)
    monkeypatch.setattr(config, 'FormatCode', format_code)
    config_text.apply()
    return seen


@needs_yapf
def test_the_text_is_yapfs_and_made_once(calls):
    cfg = Config(dict(model=dict(type='A', sizes=[1, 2]), lr=.1))
    first = cfg.pretty_text
    assert cfg.pretty_text == first
    assert len(calls) == 1
    assert Config.fromstring(first, '.py').to_dict() == cfg.to_dict()


@needs_yapf
def test_a_config_that_changes_is_formatted_anew(calls):
    cfg = Config(dict(lr=.1))
    before = cfg.pretty_text
    cfg.lr = .2
    assert cfg.pretty_text == before.replace('0.1', '0.2')
    assert len(calls) == 2


@needs_yapf
def test_a_second_call_changes_nothing(calls):
    once = config.FormatCode
    config_text.apply()
    assert config.FormatCode is once


def test_idle_where_mmengine_does_not_format(monkeypatch):
    monkeypatch.delattr(config, 'FormatCode', raising=False)
    config_text.apply()
    assert not hasattr(config, 'FormatCode')
