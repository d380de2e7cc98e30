from pathlib import Path

import pytest

from wsld_plugin.engine.launch import options_from
from wsld_plugin.errors import ConfigError
from wsld_plugin.reproduce.expand import Expansion
from wsld_plugin.reproduce.plan import load_plan
from wsld_plugin.reproduce.pool import with_needs

CONFIGS = Path(__file__).parents[2] / 'configs'
TEACHER = CONFIGS / 'baselines/resnet18-w32_digits.py'
KD = CONFIGS / 'kd/kd_resnet18-w32_resnet18-w8_digits.py'
CACHED = CONFIGS / 'wsld/wsld_cached_resnet18-w32_resnet18-w8_digits.py'
ENSEMBLE = CONFIGS / 'kd/kd_ensemble_resnet18-w8_digits.py'


def test_a_plain_run_needs_nothing(tmp_path):
    run = Expansion(tmp_path, {}).run(TEACHER, {}, seed=3)
    assert (run.config, run.seed, run.needs, run.options, run.epochs) == (TEACHER, 3, (), (), 20)
    assert run.work_dir == tmp_path / 'resnet18-w32_digits/seed3'


def test_a_distillation_needs_its_teacher_of_the_same_seed_and_reads_its_checkpoint(tmp_path):
    run = Expansion(tmp_path, {}).run(KD, {}, seed=3)
    teacher, = run.needs
    assert (teacher.config, teacher.seed) == (TEACHER, 3)
    assert run.options == (f'model.teacher_ckpt={teacher.work_dir}/model_last.pth', )


def test_a_distillation_from_cached_soft_labels_needs_its_teacher_too(tmp_path):
    run = Expansion(tmp_path, {}).run(CACHED, {'model.teacher.top_k': 3}, seed=3)
    teacher, = run.needs
    assert (teacher.config, teacher.seed) == (TEACHER, 3)
    assert run.options == ('model.teacher.top_k=3', f'model.teacher.checkpoint={teacher.work_dir}/model_last.pth')


def test_an_ensemble_needs_each_of_its_members(tmp_path):
    run = Expansion(tmp_path, {}).run(ENSEMBLE, {}, seed=0)
    assert [need.config.stem for need in run.needs] == ['resnet18-w32_digits', 'resnet18-w16_digits']
    assert [option.split('=')[0] for option in run.options] == [
        'model.teacher.members.0.checkpoint', 'model.teacher.members.1.checkpoint']


def test_common_options_reach_the_teachers_and_own_options_do_not(tmp_path):
    expand = Expansion(tmp_path, {'train_cfg.max_epochs': 2})
    run = expand.run(KD, {'model.teacher_bn': 'train'}, seed=0)
    assert run.options[:2] == ('model.teacher_bn=train', 'train_cfg.max_epochs=2')
    assert run.needs[0].options == ('train_cfg.max_epochs=2', )
    assert (run.epochs, run.needs[0].epochs) == (2, 2)


def test_equal_runs_are_one_and_others_have_folders_of_their_own(tmp_path):
    expand = Expansion(tmp_path, {})
    assert expand.run(KD, {}, 0) == Expansion(tmp_path, {}).run(KD, {}, 0)
    runs = [expand.run(KD, {}, 0), expand.run(KD, {}, 1), expand.run(KD, {'model.teacher_bn': 'train'}, 0),
            expand.run(KD, {'model.hard_weight': .5}, 0),
            Expansion(tmp_path, {'train_cfg.max_epochs': 2}).run(KD, {}, 0)]
    assert len({run.work_dir for run in runs}) == len(runs)
    short = Expansion(tmp_path, {'train_cfg.max_epochs': 2})
    assert short.run(TEACHER, {'train_cfg.max_epochs': 2}, 0) == short.run(TEACHER, {}, 0)
    assert [str(run).removeprefix(KD.stem) for run in runs[:3]] == [
        ', seed 0', ', seed 1', " (teacher_bn='train'), seed 0"]


def test_settings_follow_the_content_of_the_config_and_of_its_teachers(tmp_path):
    for folder in ('baselines', 'kd'):
        (tmp_path / folder).mkdir()
    (tmp_path / 'baselines/t.py').write_text(f"_base_ = '{TEACHER}'\n")
    (tmp_path / 'kd/s.py').write_text(
        f"_base_ = '{KD}'\nmodel = dict(teacher=dict(_delete_=True, cfg_path='{tmp_path}/baselines/t.py'), "
        "teacher_ckpt='work_dirs/t/model_last.pth')\n")

    def settings(**options):
        return Expansion(tmp_path, {}).run(tmp_path / 'kd/s.py', options, 0).settings
    before = settings()
    assert settings() == before
    assert settings(**{'optim_wrapper.optimizer.lr': .3}) != before
    (tmp_path / 'baselines/t.py').write_text(f"_base_ = '{TEACHER}'\ntrain_cfg = dict(max_epochs=7)\n")
    assert settings() != before  # the student is the same, but what taught it is not


def test_a_teacher_that_no_config_trains_is_refused_with_the_nearest_name(tmp_path):
    with pytest.raises(ConfigError, match=r"resnet18-w23_digits\.py trains.*Did you mean 'resnet18-w32_digits'"):
        Expansion(tmp_path, {}).run(KD, {'model.teacher_ckpt': 'work_dirs/resnet18-w23_digits/model_last.pth'}, 0)


def test_missing_data_and_checkpoints_stop_before_anything_is_trained(tmp_path):
    cifar = CONFIGS / 'baselines/resnet8_1xb64_cifar100.py'
    nowhere = {'train_dataloader.dataset.data_root': str(tmp_path / 'none')}
    with pytest.raises(ConfigError, match='none does not exist'):
        Expansion(tmp_path, nowhere).run(cifar, {}, 0)
    assert Expansion(tmp_path, nowhere, check_files=False).run(cifar, {}, 0)
    with pytest.raises(ConfigError, match=r'model\.teacher_ckpt=.*no such file'):
        Expansion(tmp_path, {}).run(KD, {'model.teacher_ckpt': str(tmp_path / 'none.pth')}, 0)


def test_the_table_of_weighted_soft_labels_has_41_networks_and_that_of_teacher_free_kd_38(tmp_path):
    for name, networks in (('cifar100_wsld', 41), ('cifar100_teacher_free', 38)):
        runs = load_plan(CONFIGS / f'reproduce/{name}.py', seeds=[0]).runs(tmp_path, check_files=False)
        assert len(with_needs(run for of_cell in runs.values() for run in of_cell)) == networks


def test_the_command_line_gives_an_option_back_as_it_was(tmp_path):
    options = {'train_cfg.dynamic_intervals': [(15, 1)], 'param_scheduler.milestones': [6, 8]}
    run = Expansion(tmp_path, options, check_files=False).run(CONFIGS / 'baselines/resnet8_1xb64_cifar100.py', {}, 0)
    assert options_from(list(run.options)) == options
