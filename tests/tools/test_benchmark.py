import json
import runpy

import numpy as np
import pytest
from processes import ROOT

PLAIN = 'configs/baselines/resnet18-w8_digits.py'
WSLD = 'configs/wsld/wsld_resnet18-w32_resnet18-w8_digits.py'


@pytest.fixture
def main(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / 'tools')
    monkeypatch.chdir(ROOT)
    return runpy.run_path('tools/benchmark.py')['main']


def test_a_step_gives_tables_and_every_figure_as_json(main, tmp_path, capfd):
    chosen = ['channels-last', 'hand-written, fp32', 'cached, fp32', 'student alone, bf16']
    main(['step', WSLD, '--pairs', '2', '--warmup', '1', '--batch-size', '4', '--image-size', '8', '--rungs', *chosen,
          '--out', str(tmp_path / 'report.json'), '--cfg-options', 'optim_wrapper.optimizer.momentum=0.5'])
    report, printed = json.loads((tmp_path / 'report.json').read_text()), capfd.readouterr()
    assert (report['benchmark'], report['batch_size'], report['image_size']) == ('step', 4, 8)
    rows = {row['name']: row for row in report['rows']}
    assert list(rows) == ['MMRazor', *chosen]
    for row in rows.values():
        assert len(row['seconds']) == 2
        ratios = np.divide(rows['MMRazor']['seconds'], row['seconds'])
        np.testing.assert_allclose(row['speedup'], np.quantile(ratios, [.25, .5, .75]))
        np.testing.assert_allclose(row['items_per_second'], 4 / np.median(row['seconds']))
        assert f'| {row["name"]} ' in printed.out
    assert rows['hand-written, fp32']['loss_difference'] < 1e-5
    assert rows['cached, fp32']['loss_difference'] < 1e-3
    assert rows['student alone, bf16']['loss_difference'] is None
    assert [row['what'] for row in report['goals']] == ['ours / hand-written, float32', 'MMRazor / ours, float32']
    np.testing.assert_allclose(report['goals'][0]['ratio'], np.quantile(np.divide(
        rows['channels-last']['seconds'], rows['hand-written, fp32']['seconds']), [.25, .5, .75]))
    for value in (report['goals'][0]['what'], report['date'], report['machine'], report['command'],
                  *report['versions'].values()):
        assert value in printed.out
    assert 'mmengine - INFO' not in printed.out + printed.err


def test_a_run_gives_a_table_of_its_parts(main, tmp_path, capsys):
    out = tmp_path / 'report.json'
    main(['train', PLAIN, '--pairs', '2', '--warmup', '1', '--iterations', '3', '--out', str(out)])
    row, = json.loads(out.read_text())['rows']
    assert min(row['step'], row['loading'], row['rest'], row['share_outside']) > 0
    assert max(row['step'], row['loading'], row['rest']) < row['iteration']
    printed = capsys.readouterr().out
    assert '| resnet18-w8_digits | ' in printed
    assert '2 runs of each through the Runner, 3 iterations after 1 to warm up.' in printed


def test_one_round_is_rejected_because_it_has_no_quartiles(main, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(['train', PLAIN, '--pairs', '1'])
    assert exit_.value.code == 2
    assert '--pairs must be at least 2' in capsys.readouterr().err
