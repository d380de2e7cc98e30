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
    plan = load_plan(write(f'{ONE}teachers = 2\n'))
    hard, kd = plan.runs(tmp_path).values()
    assert [run.seed for run in hard] == [run.seed for run in kd] == [0, 1, 2, 3]
    assert [run.needs[0].seed for run in kd] == [0, 1, 0, 1]
    assert len({run.work_dir for run in hard + kd}) == 8
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
    assert not folders(ONE) & folders(f'{ONE}size = 50\n')


def test_a_plan_with_fewer_models_has_no_more_teachers_than_models(write):
    assert load_plan(write(f'{ONE}teachers = 4\n'), models=3).teachers == 3


@pytest.mark.parametrize(('text', 'message'), [
    ('parts = 3\n', 'is no plan of bias and variance'),
    (ONE.replace('models = 4', 'models = 7'), '7 models on 6 disjoint parts, expected 2 … 6'),
    (ONE.replace('models = 4', 'models = 1'), '1 models'),
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


def test_training_by_iteration_is_refused_before_anything_is_trained(write, tmp_path):
    by_iteration = "options = {'train_cfg': dict(_delete_=True, by_epoch=False, max_iters=10, val_interval=5)}\n"
    with pytest.raises(ConfigError, match=r'resnet18-w8_digits.py: .* train_cfg trains by iteration'):
        load_plan(write(ONE + by_iteration)).runs(tmp_path)


@pytest.mark.parametrize('path', sorted((CONFIGS / 'bias_variance').glob('*.py')), ids=lambda path: path.stem)
def test_every_plan_opens_with_its_command_and_can_be_run(path, tmp_path):
    assert f'tools/bias_variance.py configs/bias_variance/{path.name}' in path.read_text().split('"""')[1]
    plan = load_plan(path, models=2)
    assert {len(runs) for runs in plan.runs(tmp_path).values()} == {2}
