import json

import pytest
import torch
from caches import teacher_file
from factories import digits_classifier, run_cfg
from soft_label_pages import Page

from wsld_plugin.analysis.report.command import soft_labels_report
from wsld_plugin.errors import ConfigError, RunError


@pytest.fixture
def classifier_of_digits(tmp_path):
    config = tmp_path / 'digits.py'
    run_cfg(tmp_path / 'run', digits_classifier(8)).dump(config)
    return str(config), str(teacher_file(tmp_path / 'teacher.pth'))


def test_page_and_numbers_tell_the_same(classifier_of_digits, tmp_path):
    folder, findings, sentence, notes = soft_labels_report(*classifier_of_digits, out=str(tmp_path / 'out'),
                                                            device='cpu')
    report = json.loads((folder / 'report.json').read_text())
    seen = Page((folder / 'index.html').read_text())
    assert (report['verdict'], report['accuracy']) == (sentence, findings.calibration.accuracy)
    assert all(said in seen.text() for said in (sentence, *notes))
    assert report['settings']['config'] == classifier_of_digits[0]
    assert set(report['settings']) >= {'checkpoint', 'split', 'machine', 'versions', 'date', 'largest_k', 'device'}
    assert sorted(path.name for path in folder.iterdir()) == ['index.html', 'report.json']
    assert len(report['k']) == 10


def test_nothing_is_written_where_something_does_not_fit(classifier_of_digits, tmp_path):
    with pytest.raises(ConfigError, match='max_k=11'):
        soft_labels_report(*classifier_of_digits, out=str(tmp_path / 'out'), max_k=11, device='cpu')
    state = torch.load(classifier_of_digits[1])
    state['head.fc.weight'][3] = 3e38  # finite, and no logit of it is
    torch.save(state, tmp_path / 'broken.pth')
    with pytest.raises(RunError, match='20 of 20 samples have no usable logits'):
        soft_labels_report(classifier_of_digits[0], str(tmp_path / 'broken.pth'), out=str(tmp_path / 'out'),
                           device='cpu')
    assert not (tmp_path / 'out').exists()


def test_a_folder_that_cannot_be_used_and_a_device_that_there_is_not_are_refused_before_anything_is_read(tmp_path):
    (tmp_path / 'index.html').write_text('mine')
    for out, message in ((tmp_path, 'nothing is replaced'), (tmp_path / 'index.html', 'is a file')):
        with pytest.raises(ConfigError, match=message):
            soft_labels_report('not there.py', out=str(out))
    with pytest.raises(ConfigError, match="device='cudaa'"):
        soft_labels_report('not there.py', out=str(tmp_path / 'new'), device='cudaa')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['index.html']


def test_an_earlier_report_is_replaced(classifier_of_digits, tmp_path):
    arguments = dict(out=str(tmp_path / 'out'), device='cpu')
    soft_labels_report(*classifier_of_digits, **arguments)
    folder, *_ = soft_labels_report(*classifier_of_digits, **arguments, max_samples=12)
    assert json.loads((folder / 'report.json').read_text())['num_samples'] == 12
