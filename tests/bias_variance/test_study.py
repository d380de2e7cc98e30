from pathlib import Path

import pytest

from wsld_plugin.bias_variance.plan import load_plan
from wsld_plugin.bias_variance.study import study
from wsld_plugin.errors import RunError

CONFIG = Path(__file__).parents[2] / 'configs/baselines/resnet18-w8_digits.py'


def test_where_no_method_is_finished_a_report_of_before_stays(tmp_path):
    path = tmp_path / 'plan.py'
    path.write_text(f"parts = 2\nmethods = [dict(name='hard labels', config='{CONFIG}')]\n")
    before = {tmp_path / f'plan_bias_variance{suffix}': f'good {suffix}' for suffix in ('.md', '.json', '.png')}
    for report, text in before.items():
        report.write_text(text)
    with pytest.raises(RunError, match=r'(?s)No method can be reported.*hard labels: left out, 0 of 2 runs'):
        study(load_plan(path), tmp_path, jobs=1, train=False)
    assert {report: report.read_text() for report in before} == before
