import pytest
from fake_runs import TRAIN

from wsld_plugin.studies import runs


@pytest.fixture
def fake_train(tmp_path, monkeypatch):
    """Runs that log an accuracy at once, count their calls, and fail where the config's name says so."""
    script = tmp_path / 'train.py'
    script.write_text(TRAIN)
    monkeypatch.setattr(runs, '_TRAIN', script)
