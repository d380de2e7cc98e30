import re
from pathlib import Path

import mmpretrain
import pytest
from mmengine.config import Config

from wsld_plugin.config.load import load_config
from wsld_plugin.errors import ConfigError

SHIPPED = Path(mmpretrain.__file__).parent / '.mim' / 'configs'
RESNET = 'mmpretrain::resnet/resnet18_8xb32_in1k.py'
WSLD = 'configs/wsld/wsld_resnet34_resnet18_8xb32_in1k.py'
KD = 'configs/kd/kd_resnet34_resnet18_8xb32_in1k.py'
DISTILL = f"""
_base_ = 'mmpretrain::_base_/default_runtime.py'
model = dict(
    type='wsld_plugin.SoftLabelDistill',
    architecture=dict(cfg_path={RESNET!r}),
    teacher=dict(cfg_path='mmpretrain::resnet/resnet34_8xb32_in1k.py'),
    teacher_ckpt=False,
    distiller=dict(type='mmrazor.ConfigurableDistiller'))
train_cfg = dict(by_epoch=True, max_epochs=2)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=.1))
param_scheduler = [dict(type='MultiStepLR', milestones=[1])]
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    files = {WSLD: DISTILL, KD: DISTILL,
             'configs/_base_/schedules/digits.py': 'train_cfg = dict(by_epoch=True, max_epochs=2)\n',
             'notes.txt': ''}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def config(folder, text, name='mine.py'):
    path = folder / name
    path.write_text(text)
    return path


def refusal(path, options=None):
    with pytest.raises(ConfigError) as caught:
        load_config(path, options)
    return str(caught.value)


def test_without_options_the_config_is_mmengines_own():
    assert load_config(RESNET).to_dict() == Config.fromfile(SHIPPED / RESNET.split('::')[1]).to_dict()


@pytest.mark.parametrize(('given', 'nearest'), [
    ('configs/wsld/wsld_resnet34_resnet18_8xb23_in1k.py', WSLD),
    ('configs/wsld/wsld_resnet34_resnet18_8xb32_in1k', WSLD),
    ('configs/wsdl/wsld_resnet34_resnet18_8xb32_in1k.py', WSLD),
    ('config/kd/kd_resnet34_resnet18_8xb32_in1k.py', KD),
    ('kd_resnet34_resnet18_8xb32_in1k.py', KD),
    ('configs/digits.py', 'configs/_base_/schedules/digits.py'),
    ('mmpretrain::resnet/resnet-18_8xb32_in1k.py', RESNET),
    ('mmpretrain::resent/resnet18_8xb32_in1k.py', RESNET),
])
def test_a_misspelt_path_is_refused_with_the_nearest(project, given, nearest):
    assert refusal(given) == f'{given} does not exist. Did you mean {nearest!r}?'


def test_an_absolute_path_is_corrected_absolutely(project):
    wanted = project / KD
    assert repr(str(wanted)) in refusal(str(wanted).replace('/kd/', '/dk/'))


@pytest.mark.parametrize('given', ['configs/zzz.py', '/no/such/place.py', 'notes.txt/below.py'])
def test_where_nothing_is_near_nothing_is_guessed(project, given):
    assert refusal(given).startswith(f'{given} does not exist, and no config near it')


def test_a_folder_is_no_config(project):
    assert 'is a folder' in refusal('configs/wsld')


@pytest.mark.parametrize(('base', 'nearest'), [
    ("_base_ = ['../configs/_base_/schedules/digts.py']", '_base_/schedules/digits.py'),
    ("_base_ = 'mmpretrain::_base_/schedules/imagenet_bs265.py'",
     'mmpretrain::_base_/schedules/imagenet_bs256.py'),
    ("_base_ = ['./_base_/schedule/digits.py']", '_base_/schedules/digits.py'),
])
def test_a_missing_base_names_who_asks_and_the_nearest(project, base, nearest):
    path = config(project / 'configs', f'\n{base}\n')
    message = refusal(path)
    assert message.startswith(f'{path}, line 2: the base ')
    assert message.endswith(f'Did you mean {nearest!r}?')


@pytest.mark.parametrize(('given', 'order'), [('epoch_9.pth', True), ('notes.txt', False), ('configs/none', False)])
def test_a_file_that_is_no_config_is_refused_and_a_checkpoint_told_its_place(project, given, order):
    (project / given).write_bytes(b'\x80')
    message = refusal(given)
    assert message.startswith(f'{given} is no config: a Python file is expected')
    assert ('the config comes first, then the checkpoint' in message) == order


def test_a_missing_base_of_a_base_names_the_base(project):
    lower = config(project, "_base_ = 'nowhere_at_all.py'\n", 'lower.py')
    assert refusal(config(project, "_base_ = 'lower.py'\n")).startswith(f'{lower}, line 1: ')


def test_a_missing_base_of_a_new_style_config_is_named(project):
    path = config(project / 'configs/kd', 'from mmengine.config import read_base\n'
                                          'with read_base():\n    from .._base_.schedules.digts import *\n')
    assert re.search(r'line 3: the base .*digts.py does not exist.*digits.py', refusal(path))


def test_a_circle_of_bases_is_refused(project):
    config(project, "_base_ = 'mine.py'\n", 'other.py')
    assert 'is its own base' in refusal(config(project, "_base_ = 'other.py'\n"))


def test_an_error_of_syntax_names_file_and_line(project):
    path = config(project, 'a = 1\nb = dict(c=1\n')
    assert refusal(path).startswith(f'{path}, line 2: ')


def test_an_error_while_reading_names_the_file_and_line_that_caused_it(project):
    lower = config(project, 'a = 1\nb = undefined_name\n', 'lower.py')
    message = refusal(config(project, "_base_ = 'lower.py'\n"))
    assert message == f"{lower}, line 2: NameError: name 'undefined_name' is not defined"


def test_a_custom_import_that_fails_is_named(project):
    assert 'no_such_module_anywhere' in refusal(
        config(project, "custom_imports = dict(imports=['no_such_module_anywhere'])\n"))


@pytest.mark.parametrize(('option', 'value'), [
    ('train_cfg.max_epochs', 7),
    ('param_scheduler.0.milestones', [5, 6]),
    ('optim_wrapper.optimizer.lr', .5),
    ('randomness.seed', 3),
    ('work_dir', 'elsewhere'),                         # new, and read by the Runner
    ('optim_wrapper.accumulative_counts', 4),          # new, and read by OptimWrapper
    ('optim_wrapper.clip_grad.max_norm', 2.),
    ('optim_wrapper.optimizer.momentum', .9),
    ('default_hooks.checkpoint.save_best', 'auto'),
    ('model.hard_weight', .5),
    ('model.architecture.head.num_classes', 10),       # new, merged into the named model
    ('model.architecture.backbone.frozen_stages', 1),
])
def test_an_option_is_merged(project, option, value):
    cfg = load_config(config(project, DISTILL), {option: value})
    for key in option.split('.'):
        cfg = cfg[int(key)] if key.isdigit() else cfg[key]
    assert cfg == value


@pytest.mark.parametrize(('option', 'nearest'), [
    ('train_cfg.max_epoch', 'max_epochs'),
    ('trian_cfg.max_epochs', 'train_cfg'),
    ('optim_wraper', 'optim_wrapper'),
    ('optim_wrapper.optimizer.momentun', 'momentum'),
    ('optim_wrapper.acumulative_counts', 'accumulative_counts'),
    ('param_scheduler.0.milestone', 'milestones'),
    ('randomness.sed', 'seed'),
    ('env_cfg.cudnn_benchmrk', 'cudnn_benchmark'),
    ('default_hooks.checkpoint.intervall', 'interval'),
    ('default_hooks.chekpoint.interval', 'checkpoint'),
    ('model.hardweight', 'hard_weight'),
    ('model.architecture.haed.num_classes', 'head'),
    ('model.architecture.head.num_clases', 'num_classes'),
    ('model.teacher.backbone.dept', 'depth'),
])
def test_an_option_that_does_not_exist_is_refused_with_the_nearest(project, option, nearest):
    message = refusal(config(project, DISTILL), {'train_cfg.max_epochs': 3, option: 1})
    assert option.split('.')[0] in message
    assert f'Did you mean {nearest!r}?' in message


def test_an_option_that_nothing_reads_is_refused(project):
    assert "'zzz'" in refusal(config(project, DISTILL), {'zzz': 1})


def test_a_wholly_new_key_of_a_free_dict_is_meant(project):
    path = config(project, DISTILL + "env_cfg = dict(dist_cfg=dict(backend='gloo'))\n")
    assert load_config(path, {'env_cfg.dist_cfg.timeout': 60}).env_cfg.dist_cfg.timeout == 60


@pytest.mark.parametrize(('option', 'reason'), [
    ('resume.x', 'resume is False, which has no keys'),
    ('param_scheduler.5.gamma', 'param_scheduler is a list of 1'),
    ('param_scheduler.gamma', 'param_scheduler is a list of 1'),
])
def test_an_option_below_what_has_no_such_place_is_refused(project, option, reason):
    assert reason in refusal(config(project, DISTILL), {option: 1})
