import re
from collections import Counter
from functools import reduce
from pathlib import Path

import mmpretrain
import pytest
from mmengine.config import Config
from mmengine.registry import RUNNERS

from wsld_plugin.config import load
from wsld_plugin.config.check import check_config
from wsld_plugin.config.load import load_config
from wsld_plugin.engine.training import training_config
from wsld_plugin.errors import ConfigError

CONFIGS = Path(__file__).parents[2] / 'configs'

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
    files = {WSLD: DISTILL, KD: DISTILL, 'notes.txt': '', 'epoch_9.pth': '\x80', 'configs/none': '',
             'configs/_base_/schedules/digits.py': 'train_cfg = dict(by_epoch=True, max_epochs=2)\n'}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding='latin1')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def config(folder, text, name='mine.py'):
    path = folder / name
    path.write_text(text)
    return path


def rejected(path, options=None):
    with pytest.raises(ConfigError) as caught:
        load_config(path, options)
    return str(caught.value)


@pytest.mark.parametrize(('given', 'said'), [
    *((given, f'does not exist. Did you mean {nearest!r}?') for given, nearest in (
        ('configs/wsld/wsld_resnet34_resnet18_8xb23_in1k.py', WSLD),
        ('configs/wsdl/wsld_resnet34_resnet18_8xb32_in1k', WSLD),
        ('config/kd/kd_resnet34_resnet18_8xb32_in1k.py', KD),
        ('configs/digits.py', 'configs/_base_/schedules/digits.py'),
        ('mmpretrain::resnet/resnet-18_8xb32_in1k.py', RESNET),
        ('mmpretrain::resent/resnet18_8xb32_in1k.py', RESNET))),
    *((nowhere, 'does not exist, and no config near it')
      for nowhere in ('configs/zzz.py', '/no/such/place.py', 'notes.txt/below.py')),
    ('configs/wsld', 'is a folder'),
    *((file, 'is not a config: expected a Python or JSON') for file in ('epoch_9.pth', 'notes.txt', 'configs/none')),
])
def test_a_path_that_leads_to_no_config_is_rejected_with_the_nearest(project, given, said):
    message = rejected(given)
    assert message.startswith(f'{given} {said}')
    assert ('the config comes first, then the checkpoint' in message) == (given == 'epoch_9.pth')
    wanted = str(project / KD)
    assert repr(wanted) in rejected(wanted.replace('/kd/', '/dk/'))


@pytest.mark.parametrize(('text', 'lower', 'said'), [
    ("\n_base_ = ['../configs/_base_/schedules/digts.py']\n", '',
     r"mine\.py, line 2: the base .*Did you mean '_base_/schedules/digits\.py'\?$"),
    ("\n_base_ = 'mmpretrain::_base_/schedules/imagenet_bs265.py'\n", '',
     r"mine\.py, line 2: the base .*Did you mean 'mmpretrain::_base_/schedules/imagenet_bs256\.py'\?$"),
    ("\n_base_ = ['./_base_/schedule/digits.py']\n", '',
     r"mine\.py, line 2: the base .*Did you mean '_base_/schedules/digits\.py'\?$"),
    ('from mmengine.config import read_base\nwith read_base():\n    from .._base_.schedules.digts import *\n', '',
     r'mine\.py, line 3: the base .*digts\.py does not exist.*digits\.py'),
    ("_base_ = 'lower.py'\n", "_base_ = 'nowhere_at_all.py'\n", r'lower\.py, line 1: '),
    ("_base_ = 'lower.py'\n", "_base_ = 'mine.py'\n", r'.*is its own base'),
    ("_base_ = 'lower.py'\n", 'a = 1\nb = undefined_name\n',
     r"lower\.py, line 2: NameError: name 'undefined_name' is not defined$"),
    ('a = 1\nb = dict(c=1\n', '', r'mine\.py, line 2: '),
    ("custom_imports = dict(imports=['no_such_module_anywhere'])\n", '', '.*no_such_module_anywhere'),
])
def test_an_error_in_a_config_or_its_bases_names_file_line_and_the_nearest(project, text, lower, said):
    config(project / 'configs', lower, 'lower.py')
    message = rejected(config(project / 'configs', text))
    assert re.match(said, message.replace(f'{project}/configs/', '')), message


def test_yaml_is_refused_unread_as_a_config_and_as_a_base(project):
    """PyYAML's loaders that mmengine uses call what a file names."""
    (project / 'evil.yaml').write_text('a: !!python/object/apply:os.mkdir [ran]\n')
    (project / 'lower.json').write_text('{"_base_": "evil.yaml", "b": 1}')
    for given in ('evil.yaml', config(project, "_base_ = 'evil.yaml'\n"), 'lower.json',
                  config(project, "_base_ = './lower.json'\n")):
        assert re.search(r'evil\.yaml is not a config: .* YAML is not read', rejected(given))
    assert not (project / 'ran').exists()
    (project / 'lower.json').write_text('{"b": 1')
    assert 'lower.json cannot be read: ' in rejected('lower.json')
    (project / 'lower.json').write_text('[' * 100_000)  # Python's own scanner would crash
    assert 'lower.json cannot be read: ' in rejected('lower.json')
    (project / 'lower.json').write_text('{"b": 1}')
    assert load_config(config(project, "_base_ = './lower.json'\na = 2\n")).to_dict() == dict(a=2, b=1)


def test_options_are_merged_into_mmengines_own_config_and_do_not_change_with_it(project):
    assert load_config(RESNET).to_dict() == Config.fromfile(SHIPPED / RESNET.split('::')[1]).to_dict()
    options = {'train_cfg': dict(by_epoch=True, max_epochs=7),
               'param_scheduler.0.milestones': [5, 6],
               'work_dir': 'elsewhere',                         # new, and read by the Runner
               'default_hooks.checkpoint.save_best': 'auto',
               'model.architecture.head.num_classes': 10,       # merged into the named model
               'model.teacher.backbone.depth': 50}
    cfg = load_config(config(project, DISTILL), options)
    for option, value in options.items():
        assert reduce(lambda part, key: part[int(key) if key.isdigit() else key], option.split('.'), cfg) == value
    cfg.train_cfg.max_epochs = 1
    assert options['train_cfg'] == dict(by_epoch=True, max_epochs=7)


@pytest.mark.parametrize(('option', 'nearest'), [
    ('trian_cfg.max_epochs', 'train_cfg'),
    ('default_hooks.chekpoint.interval', 'checkpoint'),
    ('model.architecture.head.num_clases', 'num_classes'),
])
def test_an_option_that_nothing_reads_is_rejected_when_the_config_is_checked(project, option, nearest):
    with pytest.raises(ConfigError, match=rf"{option.split('.')[0]}.*Did you mean '{nearest}'\?"):
        check_config(load_config(config(project, DISTILL), {'train_cfg.max_epochs': 3, option: 1}))


@pytest.mark.parametrize(('option', 'reason'), [
    ('max_epochs', "option 'max_epochs'"),
    ('resume.x', 'resume is a dict in the child config'),
    ('param_scheduler.5.gamma', 'Index 5 exceeds the length of list'),
    ('param_scheduler.gamma', 'named by its index'),
])
def test_an_option_that_a_run_does_not_read_or_that_cannot_be_merged_is_rejected(project, option, reason):
    message = rejected(config(project, DISTILL), {option: 1})
    assert option in message
    assert reason in message


def test_every_named_model_of_a_config_is_resolved(project):
    lower = config(project, f"model = dict(cfg_path={RESNET!r}, head=dict(num_classes=7))\n", 'lower.py')
    text = DISTILL + f"""
model['teacher'] = dict(type='wsld_plugin.EnsembleTeacher', members=[
    dict(model=dict(cfg_path={str(lower)!r}, head=dict(topk=(1,))), checkpoint=False),
    dict(model=dict(type='wsld_plugin.CachedTeacher', model=dict(cfg_path={RESNET!r})), checkpoint=False)])
"""
    model = load_config(config(project, text)).model
    first, second = (member.model for member in model.teacher.members)
    assert (first.type, first.head.num_classes, first.head.topk) == ('ImageClassifier', 7, (1, ))
    assert second.model.backbone.depth == model.architecture.backbone.depth == 18
    assert 'cfg_path' not in str(model)


def test_the_teacher_can_be_left_out_unread(project):
    path = config(project, DISTILL.replace('resnet34_8xb32_in1k', 'no_such_config'))
    assert 'teacher.cfg_path' in rejected(path)
    cfg = load_config(path, teacher=False)
    assert 'teacher' not in cfg.model
    assert cfg.model.architecture.type == 'ImageClassifier'


def test_a_dump_is_the_same_config_and_imports_what_the_named_configs_import(project):
    lower = config(project, "custom_imports = dict(imports='colorsys')\n"
                            f"model = dict(cfg_path={RESNET!r})\n", 'lower.py')
    cfg = load_config(config(project, DISTILL.replace(RESNET, str(lower))))
    assert cfg.custom_imports.imports == ['colorsys']
    cfg.dump(project / 'dump.py')
    lower.unlink()
    assert load_config(project / 'dump.py').to_dict() == cfg.to_dict()


@pytest.mark.parametrize(('name', 'weights'), [
    ('wsld_ensemble_resnet18-w8_digits', ['teacher.members.0.checkpoint', 'teacher.members.1.checkpoint']),
    ('wsld_cached_resnet18-w32_resnet18-w8_digits', ['teacher.checkpoint'])])
def test_a_run_reads_each_config_and_resolves_each_model_once(tmp_path, monkeypatch, name, weights):
    files, models = Counter(), Counter()
    from_file, merged_model = Config.fromfile, load._merged_model

    def counted_file(path, *args, **kwargs):
        files[Path(path).resolve()] += 1
        return from_file(path, *args, **kwargs)

    def counted_model(cfg, where, named):
        models[where] += 1
        return merged_model(cfg, where, named)
    monkeypatch.setattr(Config, 'fromfile', staticmethod(counted_file))
    monkeypatch.setattr(load, '_merged_model', counted_model)
    RUNNERS.build(training_config(str(CONFIGS / f'wsld/{name}.py'), work_dir=str(tmp_path),
                                  options={f'model.{key}': False for key in weights}))
    assert files[CONFIGS / f'wsld/{name}.py'] == files[CONFIGS / 'baselines/resnet18-w8_digits.py'] == 1
    assert len(files) == len(models) + 1 == len(weights) + 2
    assert set(files.values()) == set(models.values()) == {1}
