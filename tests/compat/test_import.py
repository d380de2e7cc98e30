"""What importing the package does to a fresh process."""
import json
import subprocess
import sys
import textwrap

import pytest

EXTRAS = ("pip install 'wsld-plugin[openmmlab]'", "pip install 'wsld-plugin[onedl]'")
PACKAGES = ('mmengine', 'mmcv', 'mmpretrain', 'mmrazor', 'joblib')


def run(code: str) -> dict:
    """The dict that ``code`` prints last, run in a fresh interpreter."""
    done = subprocess.run([sys.executable, '-c', textwrap.dedent(code)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope='module')
def imported() -> dict:
    return run('''
        import json, os, subprocess, sys
        import mmcv
        mmcv.__version__ = '2.3.99'  # more than MMRazor accepts, on both stacks
        started = []
        sys.addaudithook(lambda event, args: started.append(event) if event in (
            'subprocess.Popen', 'os.system', 'os.exec', 'os.posix_spawn', 'os.fork') else None)

        import wsld_plugin
        from mmengine.runner import checkpoint as loaders
        from mmengine.logging import HistoryBuffer
        import torch

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
            TorchNativeQuantizer(global_qconfig={})
        except ImportError as error:
            quantizer = str(error)
        print(json.dumps({
            'version': wsld_plugin.__version__,
            'same': same,
            'mmcv': mmcv.__version__,
            'started': started,
            'distiller': SingleTeacherDistill.__name__,
            'quantizer': quantizer,
            'half': [name for name in sys.modules if name.startswith('mmrazor.structures.quantization.')],
            'bound': mmrazor.structures.quantization is sys.modules['mmrazor.structures.quantization'],
            'pip': 'pip' in sys.modules}))
    ''')


def test_mmrazor_models_can_be_imported_with_a_newer_mmcv(imported):
    assert imported['distiller'] == 'SingleTeacherDistill'


def test_mmcv_keeps_its_version(imported):
    assert imported['mmcv'] == '2.3.99'


def test_quantizers_say_which_torch_they_need(imported):
    assert 'torch<2.1' in imported['quantizer']


def test_the_quantization_stand_in_is_whole(imported):
    assert imported['half'] == []
    assert imported['bound']


def test_applying_twice_changes_nothing(imported):
    assert imported['same']


def test_nothing_is_installed_or_started(imported):
    assert imported['started'] == []
    assert not imported['pip']


def test_the_version_is_the_package_s(imported):
    from wsld_plugin.version import __version__
    assert imported['version'] == __version__


@pytest.fixture(scope='module')
def refusals() -> dict:
    """What importing says with one package, or a recent torch, missing."""
    return run(f'''
        import json, sys
        import torch

        class Missing:
            def find_spec(self, name, path=None, target=None):
                if name.partition('.')[0] == missing:
                    raise ModuleNotFoundError(f'No module named {{missing!r}}')

        def message():
            try:
                import wsld_plugin
            except ImportError as error:
                return str(error)
            finally:
                for name in [name for name in sys.modules if name.startswith('wsld_plugin')]:
                    del sys.modules[name]

        said = {{}}
        sys.meta_path.insert(0, Missing())
        for missing in {PACKAGES!r}:
            said[missing] = message()
        missing, torch.__version__ = None, type(torch.__version__)('2.5.1')
        said['torch'] = message()
        print(json.dumps(said))
    ''')


@pytest.mark.parametrize('package', PACKAGES)
def test_a_missing_package_is_named_with_both_extras(refusals, package):
    assert f'needs {package}, not installed' in refusals[package]
    assert all(extra in refusals[package] for extra in EXTRAS)


def test_an_old_torch_is_named(refusals):
    assert 'torch >= 2.6' in refusals['torch']
    assert '2.5.1' in refusals['torch']
