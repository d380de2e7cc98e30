import json

import pytest

from wsld_plugin.analysis.epoch_records import read_epochs
from wsld_plugin.errors import ConfigError

RECORD = dict(epoch=1, tau=4.0, regularization_label=.5, regularization_row=.1, weight_histogram=[0, 20])


def written(folder, text):
    (folder / 'soft_label_monitor').mkdir()
    (folder / 'soft_label_monitor/epochs.json').write_text(text)
    return folder


def test_a_run_without_the_hook_is_told_what_to_add(tmp_path):
    with pytest.raises(ConfigError, match='SoftLabelMonitorHook'):
        read_epochs(tmp_path)


def test_what_was_written_is_read(tmp_path):
    records = [RECORD, dict(RECORD, epoch=2, more='of it')]
    assert read_epochs(written(tmp_path, json.dumps(records))) == records


@pytest.mark.parametrize('text', [
    '', '[', '[]', 'null', '3', json.dumps(RECORD), '[null]', '[[]]', '[{}]', json.dumps([RECORD, {}]),
    *(json.dumps([{key: value for key, value in RECORD.items() if key != name}]) for name in RECORD),
    *(json.dumps([{**RECORD, name: None}]) for name in RECORD),
    *(json.dumps([{**RECORD, **changed}]) for changed in (
        dict(tau='4'), dict(tau=float('nan')), dict(weight_histogram=[]), dict(weight_histogram=[0, 0]),
        dict(weight_histogram=['a']), dict(weight_histogram=4)))])
def test_a_file_that_is_no_list_of_epochs_is_refused_by_name(tmp_path, text):
    with pytest.raises(ConfigError, match=r'soft_label_monitor/epochs\.json is damaged or empty: expected the list'):
        read_epochs(written(tmp_path, text))


def test_bytes_that_are_no_text_are_refused_by_name(tmp_path):
    folder = written(tmp_path, '')
    (folder / 'soft_label_monitor/epochs.json').write_bytes(b'\xff\xfe\x00')
    with pytest.raises(ConfigError, match=r'epochs\.json is damaged'):
        read_epochs(folder)
