"""Each remedy, and what importing the package does to a fresh process."""
import json
import subprocess
import sys
import textwrap
from collections import OrderedDict
from types import ModuleType, SimpleNamespace

import mmcv
import pytest
import torch
from factories import distillation
from mmengine.config import Config, config
from mmengine.registry import MODELS

from wsld_plugin import version
from wsld_plugin.compat import openmmlab

QUANTIZATION = 'mmrazor.structures.quantization'


EXTRAS = ("pip install 'wsld-plugin[openmmlab]'", "pip install 'wsld-plugin[onedl]'")
PACKAGES = ('mmengine', 'mmcv', 'mmpretrain', 'mmrazor', 'joblib')


def run(code: str) -> dict:
    """The dict that ``code`` prints last, run in a fresh interpreter."""
    done = subprocess.run([sys.executable, '-c', textwrap.dedent(code)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope='module')
def imported() -> dict:
    """The errors of an import without one package, and with an old torch; then the state after a complete import."""
    return run(f'''
        import json, os, subprocess, sys
        import torch

        def message():
            try:
                import wsld_plugin
            except ImportError as error:
                return str(error)
            finally:
                for name in [name for name in sys.modules if name.startswith('wsld_plugin')]:
                    del sys.modules[name]

        refusals = dict()
        for missing in {PACKAGES!r}:
            sys.modules[missing] = None
            refusals[missing] = message()
            del sys.modules[missing]
        version = torch.__version__
        torch.__version__ = type(version)('2.5.1')
        refusals['torch'] = message()
        torch.__version__ = version

        import mmcv
        mmcv.__version__ = '2.3.99'  # more than MMRazor accepts, on both stacks
        started = []
        sys.addaudithook(lambda event, args: started.append(event) if event in (
            'subprocess.Popen', 'os.system', 'os.exec', 'os.posix_spawn', 'os.fork') else None)

        import wsld_plugin
        from mmengine.runner import checkpoint as loaders

        def state():
            return [id(sys.modules['mmrazor.structures.quantization']), mmcv.__version__, sorted(sys.modules),
                    id(loaders.torch), id(loaders.load_url),
                    sorted(map(str, torch.serialization.get_safe_globals()))]

        before = state()
        wsld_plugin.compat.apply()
        same = state() == before

        import mmrazor.structures
        from mmrazor.models import SingleTeacherDistill
        from mmrazor.models.quantizers import TorchNativeQuantizer
        try:
            TorchNativeQuantizer(global_qconfig=dict())
        except ImportError as error:
            quantizer = str(error)
        print(json.dumps(dict(
            refusals=refusals, version=wsld_plugin.__version__, same=same, mmcv=mmcv.__version__, started=started,
            distiller=SingleTeacherDistill.__name__, quantizer=quantizer,
            half=[name for name in sys.modules if name.startswith('mmrazor.structures.quantization.')],
            bound=mmrazor.structures.quantization is sys.modules['mmrazor.structures.quantization'],
            pip='pip' in sys.modules)))
    ''')


def test_mmrazor_models_can_be_imported_with_a_newer_mmcv_which_keeps_its_version(imported):
    assert imported['distiller'] == 'SingleTeacherDistill'
    assert imported['mmcv'] == '2.3.99'


def test_the_quantization_stand_in_is_complete_and_names_the_torch_that_quantizers_need(imported):
    assert imported['half'] == []
    assert imported['bound']
    assert 'torch<2.1' in imported['quantizer']
    for name in ('BackendConfigs', 'QConfigHandler'):
        with pytest.raises(ImportError, match=r'torch<2\.1'):
            getattr(sys.modules[QUANTIZATION], name)({'any': 'argument'})


def test_applying_twice_changes_nothing_and_nothing_is_installed_or_started(imported):
    assert imported['same']
    assert imported['started'] == []
    assert not imported['pip']
    assert imported['version'] == version.__version__


def test_missing_packages_are_named_with_both_extras_and_an_old_torch_is_named(imported, monkeypatch):
    refusals = imported['refusals']
    for package in PACKAGES:
        assert f'needs {package}, not installed' in refusals[package]
        assert all(extra in refusals[package] for extra in EXTRAS)
    assert 'torch >= 2.6' in refusals['torch']
    assert '2.5.1' in refusals['torch']
    monkeypatch.setattr(openmmlab, 'find_spec', lambda name: name not in ('mmcv', 'mmrazor') or None)
    with pytest.raises(ImportError, match='needs mmcv, mmrazor, not installed'):
        openmmlab.check_requirements()


# the forks format with another library, and quickly
needs_yapf = pytest.mark.skipif(not hasattr(config, 'FormatCode'), reason='mmengine does not format with yapf')


@pytest.fixture
def calls(monkeypatch):
    """The calls of yapf, with a new cache."""
    from yapf.yapflib.yapf_api import FormatCode
    seen = []

    def format_code(code, **options):
        seen.append(code)
        return FormatCode(code, **options)
    monkeypatch.setattr(config, 'FormatCode', format_code)
    openmmlab.cache_config_text()
    return seen


@needs_yapf
def test_the_text_is_yapfs_and_made_once_until_the_config_changes(calls):
    once = config.FormatCode
    openmmlab.cache_config_text()  # a second call changes nothing
    assert config.FormatCode is once
    cfg = Config(dict(model=dict(type='A', sizes=[1, 2]), lr=.1))
    first = cfg.pretty_text
    assert cfg.pretty_text == first
    assert len(calls) == 1
    assert Config.fromstring(first, '.py').to_dict() == cfg.to_dict()
    cfg.lr = .2
    assert cfg.pretty_text == first.replace('0.1', '0.2')
    assert len(calls) == 2


def test_nothing_is_cached_where_mmengine_does_not_format(monkeypatch):
    monkeypatch.delattr(config, 'FormatCode', raising=False)
    openmmlab.cache_config_text()
    assert not hasattr(config, 'FormatCode')


@pytest.fixture
def seen(monkeypatch):
    """MMCV's version as MMRazor's first import sees it; empty if nothing is imported."""
    versions = []
    monkeypatch.delitem(sys.modules, 'mmrazor')
    monkeypatch.setattr(openmmlab, 'importlib', SimpleNamespace(
        import_module=lambda name: versions.append((name, mmcv.__version__))))
    return versions


def test_an_accepted_version_is_not_changed_and_mmrazor_is_not_imported_twice(monkeypatch, seen):
    for accepted in ('2.0.1', '2.1.0'):
        monkeypatch.setattr(mmcv, '__version__', accepted)
        openmmlab.import_mmrazor_with_newer_mmcv()
        assert seen == []
        assert mmcv.__version__ == accepted
    monkeypatch.setattr(mmcv, '__version__', '2.3.6')
    monkeypatch.setitem(sys.modules, 'mmrazor', object())
    openmmlab.import_mmrazor_with_newer_mmcv()
    assert seen == []


def test_a_newer_version_is_hidden_for_the_import_alone_and_restored_if_it_fails(monkeypatch, seen):
    monkeypatch.setattr(mmcv, '__version__', '2.3.6')
    openmmlab.import_mmrazor_with_newer_mmcv()
    assert seen == [('mmrazor', '2.1.0')]
    assert mmcv.__version__ == '2.3.6'
    monkeypatch.setattr(openmmlab.importlib, 'import_module', lambda name: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        openmmlab.import_mmrazor_with_newer_mmcv()
    assert mmcv.__version__ == '2.3.6'


def test_a_feature_before_an_in_place_operation_is_recorded_as_it_was():
    cfg = distillation(type='mmrazor.SingleTeacherDistill')
    cfg.pop('teacher_ckpt')
    source = 'backbone.layer1.0.bn1'  # followed by ReLU
    cfg['distiller']['student_recorders']['feature'] = dict(type='mmrazor.ModuleOutputs', source=source)
    model = MODELS.build(cfg)
    switches = [module.inplace for part in (model.architecture, model.teacher) for module in part.modules()
                if hasattr(module, 'inplace')]
    assert switches
    assert not any(switches)
    with model.distiller.student_recorders:
        model.student(torch.randn(2, 3, 16, 16), mode='tensor')
    assert (model.distiller.student_recorders.get_recorder('feature').get_record_data() < 0).any()


def test_mmrazors_walk_stays_where_modules_are_ordered_dicts(monkeypatch):
    from mmrazor.models.algorithms.base import BaseAlgorithm
    monkeypatch.setattr(BaseAlgorithm, 'set_module_inplace_false', 'untouched')
    monkeypatch.setattr(openmmlab.nn, 'Module', lambda: type('M', (), dict(_modules=OrderedDict())))
    openmmlab.fix_inplace_walk()
    assert BaseAlgorithm.set_module_inplace_false == 'untouched'


def test_a_quantization_package_that_can_be_imported_stays(monkeypatch):
    real = ModuleType(QUANTIZATION)
    monkeypatch.delitem(sys.modules, QUANTIZATION)
    monkeypatch.setattr(openmmlab, 'importlib', SimpleNamespace(
        import_module=lambda name: sys.modules.__setitem__(name, real)))
    openmmlab.replace_quantization()
    assert sys.modules[QUANTIZATION] is real


def test_nothing_is_imported_by_the_check():
    before = set(sys.modules)
    openmmlab.check_requirements()
    assert set(sys.modules) == before
