from dataclasses import replace
from pathlib import Path

import pytest

from wsld_plugin.engine.launch import options_from
from wsld_plugin.errors import ConfigError
from wsld_plugin.studies.plan import load_plan
from wsld_plugin.studies.runs import with_needs

CONFIGS = Path(__file__).parents[2] / 'configs'
TEACHER = CONFIGS / 'baselines/resnet18-w32_digits.py'
KD = CONFIGS / 'kd/kd_resnet18-w32_resnet18-w8_digits.py'
SHORT = {'train_cfg.max_epochs': 2}

ONE = """
seeds = [0, 1]
rows = [dict(name='a', cells=[dict(method='KD', config='kd.py', published=70.66, source='S')])]
"""
TWO = """
seeds = [0]
rows = [dict(name=name, cells=[dict(method=method, config=f'{method.lower()}.py') for method in ('KD', 'WSLD')])
        for name in ('a', 'b')]
"""
PARTS = f"""
parts = 6
models = 4
rows = [dict(name='students', cells=[
    dict(method='hard labels', config='{CONFIGS}/baselines/resnet18-w8_digits.py'),
    dict(method='KD', tau=4., config='{KD}')])]
"""


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


def runs_of(write, work_dir, *cells, common=None, seed=0, check_files=True):
    """The runs of a plan of one seed: one for each (config, its options)."""
    rows = [dict(name='r', cells=[dict(method=str(number), config=str(config), options=own)
                                  for number, (config, own) in enumerate(cells)])]
    plan = load_plan(write(f'seeds = [{seed}]\noptions = {common or {}}\nrows = {rows}\n'))
    return [run for of_cell in plan.runs(work_dir, check_files).values() for run in of_cell]


def test_a_plan_names_its_command_cells_and_published_figures_with_a_source_and_some_can_be_chosen(write, tmp_path):
    plan = load_plan(write("_NAME = 1\ndef _row(): pass\ntitle = 'T'\noptions = {'x.y': [1, 2]}\n"
                           + ONE.replace("source='S'", "source='S', epoch='best'")))
    assert (plan.name, plan.title, plan.seeds, plan.options) == ('plan', 'T', (0, 1), (('x.y', [1, 2]), ))
    cell, = plan.cells
    assert (cell.row, cell.method, cell.published, cell.source, cell.epoch) == ('a', 'KD', 70.66, 'S', 'best')
    assert cell.config == tmp_path / 'kd.py'
    assert load_plan(write(ONE)).cells[0].epoch == 'last'
    plan = load_plan(write(TWO), rows=['b'], methods=['WSLD'], seeds=[5], options={'x.y': 1})
    assert [str(cell) for cell in plan.cells] == ['b: WSLD']
    assert (plan.seeds, plan.options) == ((5, ), (('x.y', 1), ))
    for text, chosen, message in ((TWO, dict(rows=['c']), "row='c', expected one of 'a', 'b'"),
                                  (TWO, dict(models=2), 'models=2, but the plan has no parts'),
                                  (PARTS, dict(seeds=[0]), 'no seeds. Give models')):
        with pytest.raises(ConfigError, match=message):
            load_plan(write(text), **chosen)
    with pytest.raises(ConfigError, match=r"Did you mean '.*digits\.py'"):
        load_plan(CONFIGS / 'reproduce/digit.py')

    for path in [*CONFIGS.glob('reproduce/*.py'), *CONFIGS.glob('bias_variance/*.py')]:
        tool = path.parent.name
        assert f'tools/{tool}.py configs/{tool}/{path.name}' in path.read_text().split('"""')[1]
        assert all(cell.published is None or cell.source for cell in load_plan(path).cells)
    cells = load_plan(CONFIGS / 'reproduce/imagenet_wsld.py').cells
    assert {(cell.source[:6], cell.epoch) for cell in cells if cell.source} == {
        ('Zhou e', 'best'), ('MMRazo', 'last'), ('OpenMM', 'last')}


@pytest.mark.parametrize(('text', 'message'), [
    ('seeds = [0]\n', r'plan\.py is not a plan: it has no rows\. Train a config with tools/train\.py'),
    (f'{ONE}sedes = [0]\n', "a plan has no key 'sedes'. Did you mean 'seeds'"),
    (ONE.replace('method=', 'metod='), "row 'a': a cell has no key 'metod'. Did you mean 'method'"),
    (TWO.replace("('a', 'b')", "('a', 'a')"), "row 'a' is there twice"),
    (ONE.replace('kd.py', 'kdd.py'), r"kdd\.py does not exist\. Did you mean 'kd\.py'"),
    (ONE.replace("method='KD', ", ''), "row 'a': method=None, expected a text"),
    (ONE.replace("source='S'", "epoch='lats'"), "epoch='lats', expected one of 'last', 'best'. Did you mean 'last'"),
    (ONE.replace('[0, 1]', '[]'), 'nothing to do: 1 cells, 0 seeds'),
    (ONE.replace('[0, 1]', '[-1]'), 'seed=-1, expected an integer of 0 or more'),
    (f'{ONE}size = 3\n', 'size=3, but the plan has no parts'),
    (f'{PARTS}seeds = [0]\n', 'a plan with parts has one run for each part and no seeds'),
    (PARTS.replace('models = 4', 'models = 7'), 'models=7, expected an integer from 2 to 6'),
    (PARTS.replace('tau=4.', 'tau=0'), r"'KD': tau=0, expected a finite number in \(0, inf\)"),
    (f"{ONE}rows = ['x']\n", r"rows=\['x'\], expected a list of one or more dict\(name="),
    (ONE.replace("source='S'", 'options=[1]'), r"'KD': options=\[1\], expected a dict of dotted keys"),
])
def test_an_invalid_plan_is_rejected(write, text, message):
    with pytest.raises(ConfigError, match=message):
        load_plan(write(text))


def test_given_options_replace_those_of_the_plan_and_its_cells_and_seeds_share_its_teachers(tmp_path):
    options = {'train_cfg.max_epochs': 3, 'train_cfg.dynamic_intervals': [(15, 1)],
               'train_dataloader.dataset.ambiguity': 0.25}
    plan = load_plan(CONFIGS / 'reproduce/partial_labels.py', seeds=[0], options=options, rows=['Δ = 0.3'])
    runs = [run for of_cell in plan.runs(tmp_path, check_files=False).values() for run in of_cell]
    assert {run.epochs for run in runs} == {3}
    assert {option for run in runs for option in run.options if 'dataset' in option} == {
        'train_dataloader.dataset.ambiguity=0.25', 'train_dataloader.dataset.unreliability=0.3'}
    assert options.items() <= options_from(list(runs[0].options)).items()
    plan = load_plan(CONFIGS / 'reproduce/cifar100_wsld_cpu.py', rows=['resnet56 -> resnet20'], seeds=[5, 6, 7],
                     methods=['teacher', 'student alone', 'KD'])
    assert plan.teachers == 1
    teacher, alone, kd = replace(plan, teachers=2).runs(tmp_path, check_files=False).values()
    assert [run.seed for run in teacher] == [5, 6]
    assert [run.seed for run in alone] == [run.seed for run in kd] == [5, 6, 7]
    assert [run.needs for run in kd] == [(teacher[0], ), (teacher[1], ), (teacher[0], )]
    assert [run.work_dir.name for run in kd] == ['seed5', 'seed6', 'seed7-teacher5']
    assert f'{teacher[0].work_dir}/model_last.pth' in kd[2].options[-1]


def test_a_run_needs_its_teachers_of_the_same_seed_and_only_options_of_the_plan_reach_them(write, tmp_path):
    teacher, kd = runs_of(write, tmp_path, (TEACHER, {}), (KD, {}), seed=3)
    assert (teacher.config, teacher.seed, teacher.needs, teacher.options, teacher.epochs) == (TEACHER, 3, (), (), 20)
    assert teacher.work_dir == tmp_path / 'resnet18-w32_digits/seed3'
    assert (kd.needs, kd.options) == ((teacher, ), (f'model.teacher_ckpt={teacher.work_dir}/model_last.pth', ))
    kd, cached, ensemble = runs_of(
        write, tmp_path, (KD, {'model.teacher_bn': 'train'}),
        (CONFIGS / 'wsld/wsld_cached_resnet18-w32_resnet18-w8_digits.py', {'model.teacher.top_k': 3}),
        (CONFIGS / 'kd/kd_ensemble_resnet18-w8_digits.py', {}), common=SHORT)
    assert kd.options[:2] == ('model.teacher_bn=train', 'train_cfg.max_epochs=2')
    assert (kd.needs[0].options, kd.needs[0].epochs, kd.epochs) == (('train_cfg.max_epochs=2', ), 2, 2)
    assert cached.options == ('model.teacher.top_k=3', 'train_cfg.max_epochs=2',
                              f'model.teacher.checkpoint={kd.needs[0].work_dir}/model_last.pth')
    assert [need.config.stem for need in ensemble.needs] == ['resnet18-w32_digits', 'resnet18-w16_digits']
    assert [option.split('=')[0] for option in ensemble.options[1:]] == [
        'model.teacher.members.0.checkpoint', 'model.teacher.members.1.checkpoint']


def test_equal_runs_are_one_others_have_their_own_folder_and_settings_that_follow_the_configs(write, tmp_path):
    runs = runs_of(write, tmp_path, (KD, {}), (KD, {'model.teacher_bn': 'train'}))
    other = runs_of(write, tmp_path, (KD, {}), seed=1)
    equal = runs_of(write, tmp_path, (KD, {}), (TEACHER, SHORT))
    short = runs_of(write, tmp_path, (KD, {}), (TEACHER, {}), common=SHORT)
    assert (equal[0], equal[1].work_dir) == (runs[0], short[1].work_dir)
    assert len({run.work_dir for run in [*runs, *other, short[0]]}) == 4
    assert [str(run).removeprefix(KD.stem) for run in [*runs, *other]] == [
        ', seed 0', " (teacher_bn='train'), seed 0", ', seed 1']

    for folder in ('baselines', 'kd'):
        (tmp_path / folder).mkdir()
    (tmp_path / 'baselines/t.py').write_text(f"_base_ = '{TEACHER}'\n")
    (tmp_path / 'kd/s.py').write_text(
        f"_base_ = '{KD}'\nmodel = dict(teacher=dict(_delete_=True, cfg_path='{tmp_path}/baselines/t.py'), "
        "teacher_ckpt='work_dirs/t/model_last.pth')\n")

    def settings():
        return [run.settings for run in runs_of(write, tmp_path, (tmp_path / 'kd/s.py', {}), (
            tmp_path / 'kd/s.py', {'optim_wrapper.optimizer.lr': .3}))]
    before = settings()
    assert settings() == before
    assert before[0] != before[1]
    (tmp_path / 'baselines/t.py').write_text(f"_base_ = '{TEACHER}'\ntrain_cfg = dict(max_epochs=7)\n")
    assert settings()[0] != before[0]  # the student's config is equal, its teacher's is not


@pytest.mark.slow
def test_the_table_of_weighted_soft_labels_has_41_networks_and_that_of_teacher_free_kd_38(tmp_path):
    for name, networks in (('cifar100_wsld', 41), ('cifar100_teacher_free', 38)):
        runs = load_plan(CONFIGS / f'reproduce/{name}.py', seeds=[0]).runs(tmp_path, check_files=False)
        assert len(with_needs(run for of_cell in runs.values() for run in of_cell)) == networks


def test_each_model_has_a_part_and_a_teacher_in_turn_or_one_of_its_part(write, tmp_path):
    own = "options={'model.hard_weight': 0.5, 'optim_wrapper.optimizer.betas': [.9, .99]}"
    text = PARTS.replace('tau=4.', own) + (
        "teachers = 2\noptions = {'optim_wrapper.optimizer': dict(_delete_=True, type='AdamW', lr=1e-3)}\n")
    hard, kd = load_plan(write(text)).runs(tmp_path).values()
    assert [run.seed for run in hard] == [run.seed for run in kd] == [0, 1, 2, 3]
    assert [run.needs[0].seed for run in kd] == [0, 1, 0, 1]
    assert [run.work_dir.name for run in kd] == [f'seed{part}-teacher{part % 2}' for part in range(4)]
    assert [run.work_dir.name for run in hard] == [f'seed{part}' for part in range(4)]
    assert str(kd[0]).endswith('digits (betas=[0.9, 0.99], hard_weight=0.5), seed 0')  # the parts are not named
    for run in hard + kd:
        assert 'train_dataloader.sampler.parts=6' in run.options
        assert 'train_dataloader.sampler.type=wsld_plugin.PartSampler' in run.options
        assert not any(option.startswith('train_dataloader.sampler.part=') for option in run.options)
    assert kd[2].options[-1] == f'model.teacher_ckpt={kd[2].needs[0].work_dir}/model_last.pth'
    assert not any('sampler' in option for option in kd[3].needs[0].options)
    assert {run.work_dir for run in hard + kd} < {
        run.work_dir for runs in load_plan(write(text), models=6).runs(tmp_path, False).values() for run in runs}
    own = CONFIGS / 'tf_kd/tf-kd-self_resnet18-w8_digits.py'  # its teacher has the part of the student
    plan = load_plan(write(PARTS.replace('tau=4.', "teacher='part'").replace(str(KD), str(own)) + 'every = 7\n'))
    _, taught = plan.runs(tmp_path).values()
    assert taught[3].work_dir.name == 'seed3'
    assert (taught[3].needs[0].seed, taught[3].needs[0].config.stem) == (3, 'resnet18-w8_digits')
    for run in (taught[3], taught[3].needs[0]):
        assert 'train_dataloader.sampler.type=wsld_plugin.PartSampler' in run.options
        assert 'train_cfg.val_interval=7' in run.options


def test_missing_files_too_few_images_for_the_parts_or_training_by_iteration_stop_before_anything_is_trained(
        write, tmp_path):
    cifar, out = CONFIGS / 'baselines/resnet8_1xb64_cifar100.py', tmp_path / 'runs'
    nowhere = {'train_dataloader.dataset.data_root': str(tmp_path / 'none')}
    for config, options, message in (
            (KD, {'model.teacher_ckpt': 'work_dirs/resnet18-w23_digits/model_last.pth'},
             r"the config resnet18-w23_digits\.py.*Did you mean 'resnet18-w32_digits'"),
            (cifar, nowhere, 'none does not exist'),
            (KD, {'model.teacher_ckpt': str(tmp_path / 'none.pth')}, r'model\.teacher_ckpt=.*no such file')):
        with pytest.raises(ConfigError, match=message):
            runs_of(write, out, (config, options))
    assert runs_of(write, tmp_path, (cifar, nowhere), check_files=False)
    whole = f"{PARTS}options = {{'train_dataloader.dataset.num_samples': None}}\nsize = 201"
    for text, message in (
            (whole, r'parts=6, size=201: the training set has 1200 images, 200 a part, expected 201 or more\. '
                    r'Use fewer parts or a smaller size\.'),
            (f"{PARTS}rows[0]['cells'][1]['options'] = {{'train_dataloader.dataset.num_samples': 11}}",
             r'kd_.*11 images, 1 a part, expected 2 or more\. Use fewer parts\.'),
            (f"{PARTS}options = {{'train_cfg': dict(_delete_=True, by_epoch=False, max_iters=10, val_interval=5)}}\n",
             r'resnet18-w8_digits.py: .* train_cfg trains by iteration')):
        with pytest.raises(ConfigError, match=message):
            load_plan(write(text)).runs(out)
    assert not out.exists()
    assert load_plan(write(whole.replace('201', '200'))).runs(tmp_path)
