"""Loading executes nothing, keeps everything in a good file, and reports what is wrong with a bad one."""
import copyreg
import io
import os
import pickle
import sys
import zipfile
from argparse import Namespace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from factories import digits_classifier, run_cfg
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.runner import CheckpointLoader, Runner, load_checkpoint, save_checkpoint
from mmengine.runner import checkpoint as loaders

from wsld_plugin.compat.safe_checkpoints import safe_load
from wsld_plugin.errors import CheckpointError

KINDS = ('?', 'i1', 'i2', 'i4', 'i8', 'u1', 'u2', 'u4', 'u8', 'f2', 'f4', 'f8', 'c8', 'c16')


class Call:
    """Pickles as the call ``function(*args)``; ``items`` are then set on what it returned."""

    def __init__(self, function, *args, state=None, items=None):
        self.reduced = (function, args, state, None, None if items is None else iter(items.items()))

    def __reduce__(self):
        return self.reduced


def save_raw(pickled: bytes, path) -> None:
    """Write any pickle in the format of torch.save."""
    with zipfile.ZipFile(path, 'w') as archive:
        for name, content in (('data.pkl', pickled), ('byteorder', b'little'), ('version', b'3\n')):
            archive.writestr(f'archive/{name}', content)


def save_call(content, path) -> None:
    save_raw(pickle.dumps(content, protocol=2), path)


@pytest.fixture
def flag(tmp_path):
    """A file that the crafted checkpoints try to create."""
    return tmp_path / 'executed'


@pytest.fixture
def evil(tmp_path, flag):
    path = tmp_path / 'evil.pth'
    torch.save({'state_dict': Call(os.system, f'touch {flag}')}, path)
    return path


@pytest.fixture
def hub():
    hub = MessageHub('test_safe_checkpoints')
    for step, value in enumerate((1.5, -2.0, float('nan'), 1e300)):
        hub.update_scalar('train/loss', value, count=step + 1)
    for kind in KINDS:
        values = np.arange(6).astype(kind).reshape(2, 3)
        hub.update_info(f'array/{kind}', values)
        hub.update_info(f'fortran/{kind}', np.asfortranarray(values))
        hub.update_info(f'scalar/{kind}', values[1, 2])
    hub.update_info('random_state', np.random.RandomState(0).get_state())
    hub.update_info('classes', ('a', 'b'))
    return hub


@pytest.fixture
def good(tmp_path, hub):
    path = tmp_path / 'good.pth'
    save_checkpoint({'meta': {'epoch': 3, 'cfg': 'a = 1'}, 'state_dict': torch.nn.Linear(2, 2).state_dict(),
                     'message_hub': hub.state_dict()}, str(path))
    return path


def assert_same(loaded, expected):
    assert type(loaded) is type(expected)
    if isinstance(expected, HistoryBuffer):
        loaded, expected = ((buffer.data, buffer.max_length) for buffer in (loaded, expected))
    if isinstance(expected, dict):
        assert list(loaded) == list(expected)
        loaded, expected = list(loaded.values()), list(expected.values())
    if isinstance(expected, (np.ndarray, np.generic)):
        assert loaded.dtype == expected.dtype
        np.testing.assert_array_equal(loaded, expected)
    elif isinstance(expected, torch.Tensor):
        assert torch.equal(loaded, expected)
    elif isinstance(expected, (tuple, list)):
        for one, other in zip(loaded, expected, strict=True):
            assert_same(one, other)
    else:
        assert loaded == expected


WAYS = {
    'safe_load': safe_load,
    'safe_load of an open file': lambda path: safe_load(io.BytesIO(path.read_bytes())),
    'load_checkpoint': lambda path: load_checkpoint(torch.nn.Linear(2, 2), str(path)),
    'torch.load': lambda path: torch.load(path, weights_only=True),
}


@pytest.mark.parametrize('load', WAYS.values(), ids=WAYS)
def test_a_good_checkpoint_comes_back_equal(good, hub, load):
    loaded = load(good)
    assert_same(loaded['message_hub'], hub.state_dict())
    assert_same(loaded, torch.load(good, weights_only=False))


def test_a_command_line_is_data(tmp_path):
    torch.save(dict(args=Namespace(lr=.1, name='a'), weight=torch.ones(2)), tmp_path / 'a.pth')
    assert safe_load(tmp_path / 'a.pth')['args'] == Namespace(lr=.1, name='a')
    assert CheckpointLoader.load_checkpoint(str(tmp_path / 'a.pth'))['args'].lr == .1


def test_a_loaded_history_can_be_continued_in_this_process_and_in_a_new_one(good, monkeypatch):
    resumed = MessageHub('test_a_loaded_history_can_be_continued')
    resumed.load_state_dict(safe_load(good)['message_hub'])
    resumed.update_scalar('train/loss', 4.0)
    history = resumed.get_scalar('train/loss')
    assert history.current() == 4.0
    assert history.statistics('max', 1) == 4.0
    monkeypatch.setattr(HistoryBuffer, '_statistics_methods', {})
    buffer = safe_load(good)['message_hub']['log_scalars']['train/loss']
    assert buffer.statistics('current') == 1e300


@pytest.mark.parametrize('core', [b'numpy.core.multiarray', b'numpy._core.multiarray'])
def test_numbers_written_by_either_numpy_are_read(tmp_path, core):
    content = {'array': np.array([1.5, 2.5]), 'scalar': np.int64(7)}
    here = np.core if np.lib.NumpyVersion(np.__version__) < '2.0.0' else np._core
    name = here.multiarray.__name__.encode()
    save_raw(pickle.dumps(content, protocol=2).replace(b'c' + name, b'c' + core), tmp_path / 'n.pth')
    assert_same(safe_load(tmp_path / 'n.pth'), content)


def through_globals(flag):
    """Writes into the module of an allowed type through a method; the builtins can be reached alike."""
    method = Call(getattr, HistoryBuffer, '__init__')
    return Call(getattr, method, '__globals__', items={'__file__': str(flag)})


CRAFTED = {
    'os.system': lambda flag: Call(os.system, f'touch {flag}'),
    'eval': lambda flag: Call(eval, f'open({str(flag)!r}, "w")'),
    'getattr __globals__': through_globals,
    'getattr __init__': lambda flag: Call(getattr, HistoryBuffer, '__init__'),
    'getattr with a default': lambda flag: Call(getattr, HistoryBuffer, '__dict__', None),
    'getattr register_statistics': lambda flag: Call(getattr, HistoryBuffer, 'register_statistics'),
    'getattr of numpy': lambda flag: Call(getattr, np.ndarray, 'tofile'),
    'getattr of an instance': lambda flag: Call(getattr, HistoryBuffer(), 'mean'),
    'getattr of a list': lambda flag: Call(getattr, HistoryBuffer, ['mean']),
    'a call of a statistics method': lambda flag: Call(HistoryBuffer.mean, 1),
    'addresses in an array': lambda flag: Call(np.ndarray, (1,), 'O', b'\x08' * 8),
    'an object dtype': lambda flag: Call(np.dtype, 'O', state=(3, '|', None, None, None, -1, -1, 0)),
    'a record dtype': lambda flag: Call(np.dtype, [('a', 'O')]),
    'an array of objects': lambda flag: np.array([None, {}], dtype=object),
    'a class of the user': lambda flag: SimpleNamespace(),
    'a function': lambda flag: copyreg.add_extension,
    **{f'a call of {module}.{attribute}, which takes a state':
       lambda flag, name=f'{module}\n{attribute}': f'\x80\x02c{name}\n)R.'.encode('latin1')
       for module, attribute in (('', 'ndarray'), ('numpy', 'ndarray'), ('numpy.dtypes', 'Float64DType'),
                                 ('', 'Float64DType'))},
}


@pytest.mark.parametrize('crafted', CRAFTED.values(), ids=CRAFTED)
def test_a_crafted_checkpoint_is_refused_and_nothing_runs(tmp_path, flag, crafted):
    content = crafted(flag)
    save_raw(content if isinstance(content, bytes) else pickle.dumps({'meta': content}, protocol=2),
             tmp_path / 'crafted.pth')
    module_file = sys.modules[HistoryBuffer.__module__].__file__
    with pytest.raises(CheckpointError, match=r'crafted\.pth .*was refused; nothing in it was executed'):
        safe_load(tmp_path / 'crafted.pth')
    assert not flag.exists()
    assert sys.modules[HistoryBuffer.__module__].__file__ == module_file


def test_the_crafted_getattr_works_where_getattr_itself_is_allowed(tmp_path, flag, monkeypatch):
    save_call(through_globals(flag), tmp_path / 'crafted.pth')
    module = sys.modules[HistoryBuffer.__module__]
    monkeypatch.setattr(module, '__file__', module.__file__)
    allowed = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        with torch.serialization.safe_globals([getattr, HistoryBuffer]):
            torch.load(tmp_path / 'crafted.pth', weights_only=True)
    finally:
        torch.serialization.add_safe_globals(allowed)
    assert module.__file__ == str(flag)


def test_getattr_stays_refused_where_another_library_allowed_it(tmp_path, flag):
    save_call(through_globals(flag), tmp_path / 'crafted.pth')
    with torch.serialization.safe_globals([getattr, np.ndarray, np.dtype, SimpleNamespace]):
        before = set(torch.serialization.get_safe_globals())
        with pytest.raises(CheckpointError, match="getattr of '__init__' on HistoryBuffer"):
            safe_load(tmp_path / 'crafted.pth')
        save_call(SimpleNamespace(a=1), tmp_path / 'own.pth')
        assert safe_load(tmp_path / 'own.pth') == SimpleNamespace(a=1)
        assert set(torch.serialization.get_safe_globals()) == before


def test_a_dtype_and_a_history_ignore_the_state_in_the_file(tmp_path):
    fields = {'a': (np.dtype('i8'), 8)}
    hostile = Call(np.dtype, 'f8', False, True, state=(3, '|', None, ('a',), fields, 99, -1, 63))
    before = repr(np.dtype('f8').__reduce__()), np.dtype('f8').flags
    save_call(hostile, tmp_path / 'dtype.pth')
    assert safe_load(tmp_path / 'dtype.pth') is np.dtype('f8')
    assert (repr(np.dtype('f8').__reduce__()), np.dtype('f8').flags) == before

    state = {'statistics_methods': {'mean': HistoryBuffer.max}}
    save_call(Call(HistoryBuffer, state=state), tmp_path / 'mean.pth')
    safe_load(tmp_path / 'mean.pth')
    assert HistoryBuffer([1, 3], [1, 1]).statistics('mean') == 2


@pytest.mark.parametrize('write', [
    lambda content, path: torch.save(content, path, _use_new_zipfile_serialization=False),
    lambda content, path: path.write_bytes(pickle.dumps(content, protocol=0)),
    lambda content, path: path.write_bytes(pickle.dumps(content))], ids=['legacy', 'pickle 0', 'pickle'])
def test_other_formats_run_nothing_either(tmp_path, flag, write):
    path = tmp_path / 'evil.pth'
    write({'a': Call(os.system, f'touch {flag}')}, path)
    with pytest.raises(CheckpointError, match=r'evil\.pth'):
        safe_load(path)
    assert not flag.exists()


def test_the_refused_name_is_given_and_the_environment_cannot_turn_it_off(evil, flag, good, monkeypatch):
    with pytest.raises(CheckpointError, match=rf'{os.system.__module__}\.system') as refusal:
        safe_load(evil)
    assert 'weights_only=False' not in str(refusal.value)
    assert refusal.value.__suppress_context__
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
    for load in (safe_load, lambda path: CheckpointLoader.load_checkpoint(str(path))):
        with pytest.raises(CheckpointError, match='refused'):
            load(evil)
        load(good)
    assert not flag.exists()


SCHEMES = {
    '': '{folder}/{name}',
    'http://': 'http://nowhere.invalid/{name}',
    'https://': 'https://nowhere.invalid/a/{name}?b=c',
    r'(\S+\:)?s3://': 's3://{name}',
    r'(\S+\:)?petrel://': 'petrel://{name}',
    'open-mmlab://': 'open-mmlab://home/{name}',
    **{scheme: scheme + '{name}' for scheme in ('pavi://', 'modelzoo://', 'torchvision://', 'openmmlab://', 'mmcls://')},
}


@pytest.fixture
def downloads(tmp_path, good, evil, monkeypatch):
    """The addresses downloaded; every scheme finds the two checkpoints."""
    asked = []

    def download(url, target, progress=True):
        asked.append(url)
        os.link(tmp_path / os.path.basename(target), target)

    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    monkeypatch.setenv('MMENGINE_HOME', str(tmp_path))
    monkeypatch.setattr(torch.hub, 'download_url_to_file', download)
    known = {**{name: f'http://nowhere.invalid/{name}' for name in ('good.pth', 'evil.pth')},
             **{f'home/{name}': name for name in ('good.pth', 'evil.pth')}}
    for table in ('get_torchvision_models', 'get_external_models', 'get_mmcls_models'):
        monkeypatch.setattr(loaders, table, lambda: known)
    monkeypatch.setattr(loaders, 'get_file_backend', lambda *_, **__: SimpleNamespace(
        get=lambda address: (tmp_path / address.rpartition('/')[2]).read_bytes()))
    monkeypatch.setitem(sys.modules, 'pavi', SimpleNamespace(modelcloud=SimpleNamespace(
        get=lambda name: SimpleNamespace(name=name, download=lambda target: os.link(tmp_path / name, target)))))
    return asked


@pytest.mark.usefixtures('downloads')
@pytest.mark.parametrize('scheme', sorted({*SCHEMES, *CheckpointLoader._schemes}))
def test_every_scheme_refuses_code_and_loads_a_log_history(scheme, evil, flag, good, hub):
    def load(path):
        return CheckpointLoader.load_checkpoint(SCHEMES[scheme].format(folder=path.parent, name=path.name))
    with pytest.raises(CheckpointError, match='refused'):
        load(evil)
    assert not flag.exists()
    loaded = load(good)
    if scheme != 'mmcls://':  # keeps a backbone's weights only
        assert_same(loaded['message_hub'], hub.state_dict())


def test_a_download_is_made_once_and_read_by_the_other_ranks(good, downloads, monkeypatch):
    order = []
    load_url = loaders.load_url
    monkeypatch.setattr(loaders, 'load_url', lambda *a, **kw: order.append('load') or load_url(*a, **kw))
    monkeypatch.setattr(torch.distributed, 'barrier', lambda: order.append('barrier'))
    for rank, expected in ((0, ['load', 'barrier']), (1, ['barrier', 'load'])):
        order.clear()
        monkeypatch.setattr(loaders, 'get_dist_info', lambda rank=rank: (rank, 2))
        CheckpointLoader.load_checkpoint(f'https://nowhere.invalid/{good.name}')
        assert order == expected
    assert len(downloads) == 1


@pytest.mark.parametrize('legacy', [False, True], ids=['zip', 'legacy'])
def test_a_truncated_file_is_reported_with_name_and_size(tmp_path, good, legacy):
    cut = tmp_path / 'cut.pth'
    torch.save(torch.load(good, weights_only=False), cut, _use_new_zipfile_serialization=not legacy)
    content = cut.read_bytes()
    for size in (0, 1, 3, 10, 100, 1000, len(content) // 2, len(content) - 100, len(content) - 1):
        cut.write_bytes(content[:size])
        with pytest.raises(CheckpointError, match=rf'cut\.pth \({size:,} bytes\) cannot be read'):
            safe_load(cut)


@pytest.mark.parametrize('content', [
    b'<html><body>404 Not Found</body></html>',
    b'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n',
    b'\x89PNG\r\n\x1a\n' + bytes(100), bytes(1000)], ids=['html', 'git-lfs', 'png', 'zeros'])
def test_a_file_that_is_not_a_checkpoint_is_reported(tmp_path, content):
    (tmp_path / 'other.pth').write_bytes(content)
    with pytest.raises(CheckpointError, match=r'other\.pth .* is not a checkpoint'):
        safe_load(tmp_path / 'other.pth')


def test_a_damaged_file_loads_or_is_reported(tmp_path, good):
    content = bytearray(good.read_bytes())
    with zipfile.ZipFile(good) as archive:
        where = next(entry for entry in archive.infolist() if entry.filename.endswith('data.pkl'))
    damaged = tmp_path / 'damaged.pth'
    reported = 0
    for position in range(where.header_offset, where.header_offset + where.file_size, 101):
        one = content.copy()
        one[position] ^= 0x55
        damaged.write_bytes(one)
        try:
            safe_load(damaged)
        except CheckpointError:
            reported += 1
    assert reported


def test_a_missing_file_is_reported_with_the_nearest_name(good):
    missing = good.with_name('goood.pth')
    with pytest.raises(FileNotFoundError, match=r"goood\.pth\. Did you mean 'good\.pth'"):
        safe_load(missing)
    with pytest.raises(FileNotFoundError, match='folder'):
        safe_load(good.parent)
    with pytest.raises(FileNotFoundError, match=r'goood\.pth'):
        CheckpointLoader.load_checkpoint(str(missing))


@pytest.mark.skipif(torch.cuda.is_available(), reason='needs a device that is absent')
def test_an_absent_device_is_not_blamed_on_the_file(good):
    with pytest.raises(RuntimeError, match='map_location') as error:
        safe_load(good, map_location='cuda')
    assert not isinstance(error.value, CheckpointError)


def test_resume_does_not_execute_the_config_text(tmp_path, flag):
    runner = Runner.from_cfg(run_cfg(tmp_path / 'work', digits_classifier()))
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.message_hub.update_scalar('train/loss', 2.5)
    runner.save_checkpoint(str(tmp_path), 'last.pth', meta={
        'epoch': 1, 'iter': 1, 'config': f'open({str(flag)!r}, "w")'})
    assert 'config' in torch.load(tmp_path / 'last.pth', weights_only=True)['meta']

    runner.message_hub.log_scalars.clear()
    runner.resume(str(tmp_path / 'last.pth'))
    assert runner.epoch == 1
    assert runner.message_hub.get_scalar('train/loss').current() == 2.5
    assert not flag.exists()
