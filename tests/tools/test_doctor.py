import runpy
import sys
from types import SimpleNamespace

import pytest
from processes import ROOT

doctor = SimpleNamespace(**runpy.run_path(str(ROOT / 'tools/doctor.py')))


def test_a_sound_environment_is_described_with_status_0(capsys, tmp_path):
    assert doctor.main([str(tmp_path / 'runs')]) == 0
    out = capsys.readouterr().out
    for expected in ('torch 2.', 'mmrazor 1.0.0', 'wsld_plugin 0.', "MMRazor's quantization", f'free in {tmp_path}',
                     'No problem was found.'):
        assert expected in out


@pytest.mark.parametrize(('versions', 'expected'), [
    ({'mmengine': '0.10.7', 'onedl-mmengine': '0.10.12'}, 'pip uninstall -y mmengine onedl-mmengine'),
    ({'setuptools': '82.0.1'}, "pip install 'setuptools<82'"), ({'mmengine': '0.10.7', 'setuptools': '81.0'}, None)])
def test_versions_that_do_not_fit_are_problems_with_their_remedy(versions, expected):
    problems = doctor.conflicts(versions)
    assert len(problems) == (expected is not None)
    assert all(expected in problem for problem in problems)


def test_problems_give_status_1(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv('OMP_NUM_THREADS', '1000')
    monkeypatch.setattr(doctor.shutil, 'disk_usage', lambda path: type('Usage', (), dict(free=2**20)))
    monkeypatch.setitem(sys.modules, 'torchvision', None)
    assert doctor.main([str(tmp_path)]) == 1
    problems = [line for line in capsys.readouterr().out.splitlines() if line.startswith('PROBLEM: ')]
    for expected, problem in zip(('OMP_NUM_THREADS=1000 exceeds', '1 MiB free', 'cannot be imported'), problems,
                                 strict=True):
        assert expected in problem
