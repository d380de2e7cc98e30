import json
from pathlib import Path

import pytest

from wsld_plugin.bias_variance.measure import Finding
from wsld_plugin.bias_variance.plan import Method, Plan
from wsld_plugin.bias_variance.report import tables, write_findings

INTERVALS = dict(error=(.9, 1.1), bias=(.5, .7), variance=(.3, .5))
TOTALS = dict(error=1.0, bias=.6, variance=.4, bias_found=.68, variance_found=.32)
HARD = Finding('hard labels', 'hard labels', None, 5, 597, (88.0, 1.5), {20: TOTALS, 40: TOTALS}, INTERVALS,
               INTERVALS, machines=('a machine', ))
KD = Finding('KD, τ = 4', 'KD', 4.0, 5, 597, (93.0, 1.0), {20: TOTALS, 40: TOTALS}, INTERVALS, INTERVALS,
             dict(error=-.2, bias=.1, variance=-.3, over_samples=INTERVALS, over_models=INTERVALS), .25, .15,
             notes=('A note.', ), teachers=2)
PLAN = Plan('p', 'The title', 12, 100, 5, 2, 20, (), (Method('hard labels', Path('c.py')), ))


def test_each_method_has_a_line_and_another_for_its_difference_from_the_first():
    text = '\n'.join(tables(PLAN, [HARD, KD]))
    assert 'hard labels | 1.000 [0.900, 1.100] | 0.600 [0.500, 0.700] | 0.400 [0.300, 0.500] | 88.00 ± 1.50' in text
    assert 'less those of hard labels' in text
    assert '-0.300 [0.300, 0.500] [0.300, 0.500]' in text
    assert 'M = 5 models on disjoint parts, N = 597 test samples' in text
    assert 'Variance times M/(M−1); bias is error less variance.' in text
    assert '| KD, τ = 4 | 0.250             | 0.150            | 0.400 |' in text
    assert '2 teachers of 3 and 2 students; ' in text
    assert 'KD, τ = 4: A note.' in text
    assert text.endswith('a machine')


def test_what_is_not_there_is_not_told():
    few = Finding(**{**vars(KD), 'over_models': None, 'within': None, 'between': None, 'notes': (),
                     'difference': {**KD.difference, 'over_models': None}})
    one = Finding(**{**vars(HARD), 'over_models': None})
    text = '\n'.join(tables(PLAN, [one, few]))
    assert 'fewer than 5 models are not resampled' in text
    assert '-0.300 [0.300, 0.500] |' in text
    for absent in ('entropy', 'between teachers', 'several teachers', 'note'):
        assert absent not in text


def test_a_note_of_several_methods_is_told_once():
    other = Finding(**{**vars(KD), 'method': 'KD, τ = 8'})
    assert 'KD, τ = 4; KD, τ = 8: A note.' in tables(PLAN, [HARD, KD, other])


def test_an_irreducible_part_is_told_where_it_is_known():
    text = '\n'.join(tables(PLAN, [Finding(**{**vars(HARD), 'irreducible': .3916})]))
    assert 'its entropy, 0.3916' in text


def test_markdown_json_and_picture_are_written(tmp_path, capsys):
    write_findings(PLAN, tmp_path, [HARD, KD], ['WSLD: left out, 3 of 5 runs are finished.'])
    text = (tmp_path / 'p_bias_variance.md').read_text()
    assert text.startswith('The title\n\n| ')
    assert text.endswith('left out, 3 of 5 runs are finished.\n')
    assert text.strip() in capsys.readouterr().out
    found = json.loads((tmp_path / 'p_bias_variance.json').read_text())
    assert found['findings'][1]['epochs']['40'] == TOTALS
    assert found['findings'][0]['over_models']['bias'] == pytest.approx([.5, .7])
    assert (tmp_path / 'p_bias_variance.png').read_bytes().startswith(b'\x89PNG')
