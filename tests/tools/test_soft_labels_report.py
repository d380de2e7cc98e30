"""The command of the report, in this process."""
import json
import runpy

import pytest
from caches import teacher_file
from factories import digits_classifier, run_cfg
from processes import ROOT


def test_the_command_prints_the_sentences_of_the_page_and_an_error_as_a_message(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(ROOT / 'tools')
    main = runpy.run_path(str(ROOT / 'tools/soft_labels_report.py'))['main']
    config, weights, out = tmp_path / 'digits.py', teacher_file(tmp_path / 'teacher.pth'), tmp_path / 'out'
    run_cfg(tmp_path / 'run', digits_classifier(8)).dump(config)
    main([str(each) for each in (config, weights, '--out', out, '--max-samples', 12, '--max-k', 3, '--device', 'cpu',
                                 '--cfg-options', 'test_dataloader.batch_size=5')])
    printed, report = capsys.readouterr().out.splitlines(), json.loads((out / 'report.json').read_text())
    assert printed[-2 - len(report['notes']):] == [report['verdict'], *report['notes'], str(out / 'index.html')]
    assert any('8 were left out' in line for line in printed)
    assert (report['num_samples'], len(report['k']), report['settings']['batch_size']) == (12, 3, 5)

    with pytest.raises(SystemExit) as end:
        main([str(config), str(tmp_path / 'teacher.pht'), '--out', str(tmp_path / 'none')])
    message = capsys.readouterr().err
    assert end.value.code == 1
    assert 'Traceback' not in message
    assert 'teacher.pht' in message
