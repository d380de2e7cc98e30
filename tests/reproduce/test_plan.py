from dataclasses import replace
from pathlib import Path

import pytest

from wsld_plugin.errors import ConfigError
from wsld_plugin.reproduce.plan import load_plan

CONFIGS = Path(__file__).parents[2] / 'configs'
PLANS = sorted(path.name for path in (CONFIGS / 'reproduce').glob('*.py'))


@pytest.fixture
def write(tmp_path):
    """Writes a plan beside two configs."""
    for name in ('kd', 'wsld'):
        (tmp_path / f'{name}.py').write_text('model = dict()\n')

    def write(text):
        path = tmp_path / 'plan.py'
        path.write_text(text)
        return path
    return write


ONE = """
seeds = [0, 1]
rows = [dict(name='a', cells=[dict(method='KD', config='kd.py', published=70.66, source='S')])]
"""
TWO = """
seeds = [0]
rows = [dict(name=name, cells=[dict(method=method, config=f'{method.lower()}.py') for method in ('KD', 'WSLD')])
        for name in ('a', 'b')]
"""


def test_a_plan_names_cells_seeds_and_the_published_figures(write, tmp_path):
    plan = load_plan(write(f"title = 'T'\nreport = 'best'\noptions = {{'x.y': [1, 2]}}\n{ONE}"))
    assert (plan.name, plan.title, plan.report, plan.seeds) == ('plan', 'T', 'best', (0, 1))
    assert plan.options == (('x.y', [1, 2]), )
    cell, = plan.cells
    assert (cell.row, cell.method, cell.published, cell.source) == ('a', 'KD', 70.66, 'S')
    assert cell.config == tmp_path / 'kd.py'


def test_rows_methods_and_seeds_can_be_chosen(write):
    plan = load_plan(write(TWO), rows=['b'], methods=['WSLD'], seeds=[5], options={'x.y': 1})
    assert [str(cell) for cell in plan.cells] == ['b: WSLD']
    assert (plan.seeds, plan.options) == ((5, ), (('x.y', 1), ))


def test_a_plan_may_have_variables_and_functions_of_its_own(write):
    assert load_plan(write(f'_NAME = 1\ndef _row(): pass\n{ONE}'))


@pytest.mark.parametrize(('text', 'message'), [
    ('seeds = [0]\n', 'plan.py is no plan of a table: it has no rows'),
    (f'{ONE}sedes = [0]\n', "a plan takes no 'sedes'. Did you mean 'seeds'"),
    (ONE.replace('method=', 'metod='), "row 'a': a cell takes no 'metod'. Did you mean 'method'"),
    (ONE.replace('[0, 1]', '[0, 1, 0]'), 'seed 0 is there twice'),
    (TWO.replace("('a', 'b')", "('a', 'a')"), "row 'a' is there twice"),
    (TWO.replace("('KD', 'WSLD')", "('KD', 'KD')"), "row 'a': method 'KD' is there twice"),
    (ONE.replace('kd.py', 'kt.py'), r"kt\.py does not exist\. Did you mean 'kd\.py'"),
    (ONE.replace("method='KD', ", ''), "row 'a': a cell needs a method and a config"),
    (ONE.replace("name='a', ", ''), 'row 0 needs a name and cells'),
    (f"{ONE}report = 'lats'\n", "report='lats', expected one of 'last', 'best'"),
    (ONE.replace('[0, 1]', '[]'), 'nothing is to be done: 1 cells, 0 seeds'),
    (ONE.replace('[0, 1]', '[-1]'), 'seed -1, expected a whole number from 0 up'),
    (ONE.replace('[0, 1]', "['0']"), "seed '0', expected a whole number"),
    (f'{ONE}teachers = 0\n', 'teachers=0, expected a whole number from 1 up'),
])
def test_a_plan_that_cannot_be_meant_is_refused(write, text, message):
    with pytest.raises(ConfigError, match=message):
        load_plan(write(text))


@pytest.mark.parametrize(('chosen', 'message'), [
    (dict(rows=['c']), "row 'c' is not there; it has 'a', 'b'"),
    (dict(methods=['WSDL']), "method 'WSDL' is not there; it has 'KD', 'WSLD'. Did you mean 'WSLD'"),
    (dict(seeds=[1, 1]), 'seed 1 is there twice'),
])
def test_what_a_plan_does_not_have_cannot_be_chosen(write, chosen, message):
    with pytest.raises(ConfigError, match=message):
        load_plan(write(TWO), **chosen)


def test_a_missing_plan_names_the_nearest():
    with pytest.raises(ConfigError, match=r"Did you mean '.*digits\.py'"):
        load_plan(CONFIGS / 'reproduce/digit.py')


@pytest.mark.parametrize('name', PLANS)
def test_every_plan_opens_with_its_command_and_gives_each_figure_a_source(name):
    path = CONFIGS / 'reproduce' / name
    assert f'tools/reproduce.py configs/reproduce/{name}' in path.read_text().split('"""')[1]
    for cell in load_plan(path).cells:
        assert cell.published is None or cell.source


def test_given_options_take_the_place_of_those_of_the_plan_and_of_its_cells(tmp_path):
    options = {'train_cfg.max_epochs': 3, 'train_dataloader.dataset.ambiguity': 0.25}
    plan = load_plan(CONFIGS / 'reproduce/partial_labels.py', seeds=[0], options=options, rows=['Δ = 0.3'])
    runs = [run for of_cell in plan.runs(tmp_path, check_files=False).values() for run in of_cell]
    assert {run.epochs for run in runs} == {3}
    assert {option for run in runs for option in run.options if 'dataset' in option} == {
        'train_dataloader.dataset.ambiguity=0.25', 'train_dataloader.dataset.unreliability=0.3'}


def test_seeds_share_the_teachers_of_the_plan_and_a_teacher_is_trained_once(tmp_path):
    plan = load_plan(CONFIGS / 'reproduce/cifar100_wsld_cpu.py', rows=['resnet56 -> resnet20'], seeds=[5, 6, 7],
                     methods=['teacher', 'student alone', 'KD'])
    assert plan.teachers == 1
    runs = replace(plan, teachers=2).runs(tmp_path, check_files=False)
    teacher, alone, kd = runs.values()
    assert [run.seed for run in teacher] == [5, 6]
    assert [run.seed for run in alone] == [run.seed for run in kd] == [5, 6, 7]
    assert [run.needs for run in kd] == [(teacher[0], ), (teacher[1], ), (teacher[0], )]
    assert [run.work_dir.name for run in kd] == ['seed5', 'seed6', 'seed7-teacher5']
    assert f'{teacher[0].work_dir}/model_last.pth' in kd[2].options[-1]
