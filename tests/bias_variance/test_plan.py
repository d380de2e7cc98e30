from pathlib import Path

import pytest

from wsld_plugin.bias_variance.plan import load_plan
from wsld_plugin.errors import ConfigError

CONFIGS = Path(__file__).parents[2] / 'configs'
ONE = f"""
parts = 6
models = 4
methods = [
    dict(name='hard labels', config='{CONFIGS}/baselines/resnet18-w8_digits.py'),
    dict(name='KD', tau=4., config='{CONFIGS}/kd/kd_resnet18-w32_resnet18-w8_digits.py')]
"""
OWN = "dict(name='self', config='{}', teacher='part')]".format(CONFIGS / 'tf_kd/tf-kd-self_resnet18-w8_digits.py')


@pytest.fixture
def write(tmp_path):
    def write(text):
        (tmp_path / 'plan.py').write_text(text)
        return tmp_path / 'plan.py'
    return write


def test_each_model_has_a_part_and_a_teacher_in_turn(write, tmp_path):
    plan = load_plan(write(ONE.replace('tau=4.', "options={'model.hard_weight': 0.5}") + 'teachers = 2\n'))
    hard, kd = plan.runs(tmp_path).values()
    assert [run.seed for run in hard] == [run.seed for run in kd] == [0, 1, 2, 3]
    assert [run.needs[0].seed for run in kd] == [0, 1, 0, 1]
    assert len({run.work_dir for run in hard + kd}) == 8
    assert str(kd[0]).endswith('digits (hard_weight=0.5), seed 0')  # parts, which all have, tell none from another
    for run in hard + kd:
        assert 'train_dataloader.sampler.parts=6' in run.options
        assert 'train_dataloader.sampler.type=wsld_plugin.PartSampler' in run.options
        assert not any(option.startswith('train_dataloader.sampler.part=') for option in run.options)
    assert kd[2].options[-1] == f'model.teacher_ckpt={kd[2].needs[0].work_dir}/model_last.pth'


def test_a_teacher_sees_the_whole_set_or_the_students_part(write, tmp_path):
    plan = load_plan(write(ONE.rstrip().removesuffix(']') + f', {OWN}'))
    _, kd, own = plan.runs(tmp_path).values()
    assert kd[3].needs[0].options == ()
    assert (own[3].needs[0].seed, own[3].needs[0].config.stem) == (3, 'resnet18-w8_digits')
    assert 'train_dataloader.sampler.type=wsld_plugin.PartSampler' in own[3].needs[0].options


def test_runs_are_those_of_a_plan_with_more_models_but_not_with_other_parts(write, tmp_path):
    def folders(text, **options):
        return {run.work_dir for runs in load_plan(write(text), **options).runs(tmp_path).values() for run in runs}
    assert folders(ONE) < folders(ONE, models=6)
    assert not folders(ONE) & folders(ONE.replace('parts = 6', 'parts = 7'))
    assert not folders(ONE) & folders(f'{ONE}size = 10\n')


def test_a_plan_with_fewer_models_has_no_more_teachers_than_models(write):
    assert load_plan(write(f'{ONE}teachers = 4\n'), models=3).teachers == 3


@pytest.mark.parametrize(('text', 'message'), [
    ('parts = 3\n', 'a plan of bias and variance needs methods'),
    ('methods = []\n', 'a plan of bias and variance needs parts'),
    ('part = 3\nmethods = []\n', "takes no 'part'. Did you mean 'parts'"),
    ('rows = [1]\n', r'is no plan of bias and variance: it has no methods and no parts\. A config trains with '
     r'tools/train\.py, a plan of a table with tools/reproduce\.py'),
    (ONE.replace('models = 4', 'models = 7'), '7 models on 6 disjoint parts, expected 2 … 6'),
    (ONE.replace('models = 4', 'models = 1'), 'models=1, expected a whole number from 2 up'),
    (f'{ONE}teachers = 5\n', '5 teachers of 4 models'),
    (f'{ONE}modles = 5\n', "a plan takes no 'modles'. Did you mean 'models'"),
    (ONE.replace('tau', 'taau'), "method 'KD' takes no 'taau'. Did you mean 'tau'"),
    (ONE.replace("name='KD', ", ''), 'method None needs a name and a config'),
    (ONE.replace("name='KD', tau=4.", "name='hard labels'"), "the method 'hard labels' is there twice"),
    (ONE.replace('tau=4.', "teacher='prat'"), "teacher='prat', expected one of 'all', 'part'"),
    (ONE.replace('kd_resnet18-w32', 'kt_resnet18-w32'), r"'KD'.*Did you mean '.*kd_resnet18-w32_resnet18-w8_digits"),
])
def test_a_plan_that_cannot_be_meant_is_refused(write, text, message):
    with pytest.raises(ConfigError, match=message):
        load_plan(write(text))


@pytest.mark.parametrize(('key', 'values'), [
    ('parts', ("'x'", 3.5, -3, 0, 1, True, None)),
    ('models', ("'x'", 2.5, 0, None)),
    ('teachers', ("'x'", 1.5, 0, -1, None)),
    ('size', ("'abc'", 2.5, 0, 1, -3)),
    ('every', ("'x'", .5, 0, -1, True)),
])
def test_a_number_of_another_type_or_range_is_refused(write, key, values):
    for value in values:
        with pytest.raises(ConfigError, match=rf'plan\.py: {key}={value}, expected a whole number from [12] up'):
            load_plan(write(f'{ONE}{key} = {value}\n'))


@pytest.mark.parametrize('path', ['baselines/resnet18-w8_digits.py', 'reproduce/digits.py'])
def test_what_is_no_plan_of_bias_and_variance_is_told_what_runs_it(path):
    with pytest.raises(ConfigError, match=r'(?s)no plan of bias.*tools/train\.py.*tools/reproduce\.py'):
        load_plan(CONFIGS / path)


@pytest.mark.parametrize(('change', 'message'), [
    ("methods = ['x']", r"methods=\['x'\], expected a list of"),
    ("methods = 'x'", "methods='x', expected a list of"),
    ('methods = dict(name=1)', r"methods=\{'name': 1\}, expected a list of"),
    ('methods = []', r'methods=\[\], expected a list of one or more'),
    ("methods[1]['tau'] = 'x'", "method 'KD': tau='x', expected a temperature"),
    ("methods[1]['tau'] = 0", "method 'KD': tau=0, expected a temperature"),
    ("methods[1]['tau'] = float('nan')", "method 'KD': tau=nan, expected a temperature"),
    ("methods[1]['options'] = ['a']", r"method 'KD': options=\['a'\], expected a dict"),
    ("methods[1]['options'] = 'a=1'", "method 'KD': options='a=1', expected a dict"),
    ("methods[1]['name'] = 3", 'method 3: name=3, expected a text'),
    ("methods[1]['config'] = 3", "method 'KD': config=3, expected a text"),
    ("methods[1]['config'] = ''", "method 'KD' needs a name and a config"),
    ("methods[1]['teacher'] = ['all']", r"method 'KD': teacher=\['all'\], expected one of"),
    ('options = [1]', r'options=\[1\], expected a dict of dotted keys'),
    ('options = {1: 2}', r'options=\{1: 2\}, expected a dict of dotted keys'),
    ('title = 3', 'title=3, expected a text'),
])
def test_a_value_of_another_type_is_refused(write, change, message):
    with pytest.raises(ConfigError, match=message):
        load_plan(write(f'{ONE}{change}\n'))


def test_an_option_may_be_a_list(write, tmp_path):
    text = ONE.replace('tau=4.', "options={'optim_wrapper.optimizer.betas': [.9, .99]}") + (
        "options = {'optim_wrapper.optimizer': dict(_delete_=True, type='AdamW', lr=1e-3)}\n")
    _, kd = load_plan(write(text)).runs(tmp_path).values()
    assert 'optim_wrapper.optimizer.betas=[0.9,0.99]' in kd[0].options


ALL = "options = {'train_dataloader.dataset.num_samples': None}\n"  # 1,200 images


@pytest.mark.parametrize(('parts', 'more', 'message'), [
    (6, f'{ALL}size = 201', r'parts=6, size=201: the training set has 1200 images, 200 a part, expected 201 or '
     r'more\. Take 5 parts or fewer, or a size of 2 … 200\.'),
    (601, ALL, r'parts=601, size=None: .* 1200 images, 1 a part, expected 2 or more\. Take 600 parts or fewer\.'),
    (6, "methods[1]['options'] = {'train_dataloader.dataset.num_samples': 11}", r'kd_.*has 11 images, 1 a part'),
])
def test_parts_with_too_few_images_are_refused_before_anything_is_trained(write, tmp_path, parts, more, message):
    plan = load_plan(write(ONE.replace('parts = 6', f'parts = {parts}') + more))
    with pytest.raises(ConfigError, match=message):
        plan.runs(tmp_path / 'runs')
    assert not (tmp_path / 'runs').exists()


def test_parts_that_have_just_enough_images_are_taken(write, tmp_path):
    for parts, more in ((600, ALL), (6, f'{ALL}size = 200')):
        load_plan(write(ONE.replace('parts = 6', f'parts = {parts}') + more)).runs(tmp_path)


def test_training_by_iteration_is_refused_before_anything_is_trained(write, tmp_path):
    by_iteration = "options = {'train_cfg': dict(_delete_=True, by_epoch=False, max_iters=10, val_interval=5)}\n"
    with pytest.raises(ConfigError, match=r'resnet18-w8_digits.py: .* train_cfg trains by iteration'):
        load_plan(write(ONE + by_iteration)).runs(tmp_path)


@pytest.mark.parametrize('path', sorted((CONFIGS / 'bias_variance').glob('*.py')), ids=lambda path: path.stem)
def test_every_plan_opens_with_its_command_and_can_be_run(path, tmp_path):
    assert f'tools/bias_variance.py configs/bias_variance/{path.name}' in path.read_text().split('"""')[1]
    plan = load_plan(path, models=2)
    assert {len(runs) for runs in plan.runs(tmp_path).values()} == {2}


def test_given_options_take_the_place_of_those_of_the_methods_and_of_every(tmp_path):
    plan = load_plan(CONFIGS / 'bias_variance/digits.py', models=2,
                     options={'train_cfg.max_epochs': 2, 'train_cfg.val_interval': 1})
    runs = [run for of_method in plan.runs(tmp_path).values() for run in of_method]
    assert {run.epochs for run in runs} == {2}
    assert all('train_cfg.val_interval=1' in run.options for run in runs)
