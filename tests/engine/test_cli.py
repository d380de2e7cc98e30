import pytest

from wsld_plugin import errors
from wsld_plugin.engine.cli import options_from, stop_with_reason


def test_options_are_read_as_openmmlab_reads_them():
    assert options_from(['a.b=1', 'c=[2,x]', 'd=(1,)', 'e=1e-4', 'f=None', 'g=a=b']) == {
        'a.b': 1, 'c': [2, 'x'], 'd': (1, ), 'e': 1e-4, 'f': None, 'g': 'a=b'}
    assert options_from(None) is None


def test_an_option_without_a_value_is_refused():
    with pytest.raises(errors.ConfigError, match='KEY=VALUE'):
        options_from(['a.b'])


@pytest.mark.parametrize('error', [errors.ConfigError, errors.CheckpointError, errors.NonFiniteLossError,
                                   errors.RunError, FileNotFoundError])
def test_a_users_error_is_printed_and_exits_with_1(error, capsys):
    with pytest.raises(SystemExit) as exit_, stop_with_reason():
        raise error('the reason')
    assert exit_.value.code == 1
    assert capsys.readouterr().err == f'{error.__name__}: the reason\n'


def test_an_error_of_ours_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError), stop_with_reason():
        1 / 0  # noqa: B018


def test_an_interruption_says_how_to_go_on_and_exits_with_130(capsys):
    with pytest.raises(SystemExit) as exit_, stop_with_reason('Go on.'):
        raise KeyboardInterrupt
    assert exit_.value.code == 130
    assert capsys.readouterr().err == '\nGo on.\n'
