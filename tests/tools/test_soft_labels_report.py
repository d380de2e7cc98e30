"""The report as a user makes it."""
import json

from caches import teacher_file
from factories import digits_classifier, run_cfg
from processes import tool


def test_the_command_says_what_the_page_says_and_refuses_without_a_traceback(tmp_path):
    config, weights, out = tmp_path / 'digits.py', teacher_file(tmp_path / 'teacher.pth'), tmp_path / 'out'
    run_cfg(tmp_path / 'run', digits_classifier(8)).dump(config)
    told = tool('soft_labels_report.py', config, weights, '--out', out, '--max-samples', 12, '--max-k', 3, '--device',
                'cpu', '--cfg-options', 'test_dataloader.batch_size=5').stdout.splitlines()
    report = json.loads((out / 'report.json').read_text())
    assert told[-2 - len(report['notes']):] == [report['verdict'], *report['notes'], str(out / 'index.html')]
    assert any('8 were left out' in line for line in told)
    assert (report['num_samples'], len(report['k']), report['settings']['batch_size']) == (12, 3, 5)

    refused = tool('soft_labels_report.py', config, tmp_path / 'teacher.pht', check=False)
    assert refused.returncode == 1
    assert 'Traceback' not in refused.stderr
    assert 'teacher.pht' in refused.stderr
