"""Each remedy, and what importing the package does to a fresh process."""
import json
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
from processes import run

from wsld_plugin import version
from wsld_plugin.compat import openmmlab
from wsld_plugin.errors import RunError

QUANTIZATION = 'mmrazor.structures.quantization'


EXTRAS = ("pip install 'wsld-plugin[openmmlab]'", "pip install 'wsld-plugin[onedl]'")
PACKAGES = ('mmengine', 'mmcv', 'mmpretrain', 'mmrazor', 'joblib')


@pytest.fixture(scope='module')
def imported() -> dict:
    """The errors of an import without one package, and with an old torch; then the state after a complete import."""
    done = run(sys.executable, '-c', textwrap.dedent(f'''
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
    '''))
    return json.loads(done.stdout.splitlines()[-1])


def test_mmrazor_can_be_imported_with_a_newer_mmcv_and_nothing_is_installed_started_or_applied_twice(imported):
    assert imported['distiller'] == 'SingleTeacherDistill'
    assert imported['mmcv'] == '2.3.99'  # it keeps its version
    assert imported['same']
    assert imported['started'] == []
    assert not imported['pip']
    assert imported['version'] == version.__version__


def test_the_quantization_stand_in_is_complete_and_names_the_torch_that_quantizers_need(imported):
    assert imported['half'] == []
    assert imported['bound']
    assert 'torch<2.1' in imported['quantizer']
    for name in ('BackendConfigs', 'QConfigHandler'):
        with pytest.raises(ImportError, match=r'torch<2\.1'):
            getattr(sys.modules[QUANTIZATION], name)({'any': 'argument'})


def test_missing_packages_are_named_with_both_extras_and_an_old_torch_is_named(imported, monkeypatch):
    refusals = imported['refusals']
    for package in PACKAGES:
        assert f'needs {package}, not installed' in refusals[package]
        assert all(extra in refusals[package] for extra in EXTRAS)
    assert 'torch >= 2.6' in refusals['torch']
    assert '2.5.1' in refusals['torch']
    before = set(sys.modules)
    openmmlab.check_requirements()
    assert set(sys.modules) == before  # nothing is imported by the check
    monkeypatch.setattr(openmmlab, 'find_spec', lambda name: name not in ('mmcv', 'mmrazor') or None)
    with pytest.raises(ImportError, match='needs mmcv, mmrazor, not installed'):
        openmmlab.check_requirements()


def test_the_text_of_a_config_gives_the_config():
    cfg = Config(dict(model=dict(type='A', sizes=[1, 2], nothing=dict(), pair=(1, 'a"b')), lr=.1, classes={'a b': 0}))
    assert Config.fromstring(cfg.pretty_text, '.py').to_dict() == cfg.to_dict()
    with pytest.raises(SyntaxError, match='syntax'):
        Config(dict(model=dict(type=print))).pretty_text  # noqa: B018


def test_a_newer_version_is_hidden_for_one_import_of_mmrazor_and_restored_if_it_fails(monkeypatch):
    seen, newer = [], '2.3.6'
    monkeypatch.delitem(sys.modules, 'mmrazor')
    monkeypatch.setattr(openmmlab, 'importlib', SimpleNamespace(
        import_module=lambda name: seen.append((name, mmcv.__version__))))
    for installed, expected in (('2.0.1', []), ('2.1.0', []), (newer, [('mmrazor', '2.1.0')])):
        monkeypatch.setattr(mmcv, '__version__', installed)
        openmmlab.import_mmrazor_with_newer_mmcv()
        assert seen == expected
        assert mmcv.__version__ == installed
    monkeypatch.setattr(openmmlab.importlib, 'import_module', lambda name: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        openmmlab.import_mmrazor_with_newer_mmcv()
    assert mmcv.__version__ == newer
    monkeypatch.setitem(sys.modules, 'mmrazor', object())
    openmmlab.import_mmrazor_with_newer_mmcv()  # it is not imported twice


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


def test_a_remedy_changes_nothing_where_its_cause_is_absent(monkeypatch):
    from mmrazor.models.algorithms.base import BaseAlgorithm
    monkeypatch.setattr(BaseAlgorithm, 'set_module_inplace_false', 'untouched')
    monkeypatch.setattr(openmmlab.nn, 'Module', lambda: type('M', (), dict(_modules=OrderedDict())))
    openmmlab.fix_inplace_walk()  # the modules are ordered dicts
    assert BaseAlgorithm.set_module_inplace_false == 'untouched'

    real = ModuleType(QUANTIZATION)
    monkeypatch.delitem(sys.modules, QUANTIZATION)
    monkeypatch.setattr(openmmlab, 'importlib', SimpleNamespace(
        import_module=lambda name: sys.modules.__setitem__(name, real)))
    openmmlab.replace_quantization()  # the package can be imported
    assert sys.modules[QUANTIZATION] is real

    monkeypatch.delattr(config, 'FormatCode', raising=False)
    openmmlab.leave_config_text()  # mmengine does not format
    assert not hasattr(config, 'FormatCode')


def test_an_image_that_cannot_be_read_is_named(tmp_path):
    from mmcv.transforms import LoadImageFromFile
    for content in (b'', b'no image'):
        (tmp_path / 'a.png').write_bytes(content)
        with pytest.raises(RunError, match=r'/a\.png cannot be read as an image'):
            LoadImageFromFile()(dict(img_path=str(tmp_path / 'a.png')))
