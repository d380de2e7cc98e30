import pytest

from wsld_plugin.errors import ConfigError, check_choice


@pytest.mark.parametrize(('value', 'choices', 'end'), [
    (9, (8, 11), r'8, 11\. The nearest is 8\.'), ('9', (8, 11), r'8, 11\.'), (None, (8, 11), r'8, 11\.'),
    ('Dog', ('dog', 'cat'), r"'dog', 'cat'\. Did you mean 'dog'\?"), (1, ('dog', 'cat'), r"'dog', 'cat'\.")])
def test_a_refused_choice_names_all_and_the_nearest(value, choices, end):
    check_choice('pet', choices[0], choices)
    with pytest.raises(ConfigError, match=f'pet={value!r}, expected one of {end}$'):
        check_choice('pet', value, choices)
