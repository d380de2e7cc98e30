import numpy as np
import pytest

from wsld_plugin.errors import ConfigError, check_choice, check_integer, check_number


@pytest.mark.parametrize(('value', 'choices', 'end'), [
    (9, (8, 11), r'8, 11\. The nearest is 8\.'), ('9', (8, 11), r'8, 11\.'), (None, (8, 11), r'8, 11\.'),
    ('Dog', ('dog', 'cat'), r"'dog', 'cat'\. Did you mean 'dog'\?"), (1, ('dog', 'cat'), r"'dog', 'cat'\.")])
def test_a_refused_choice_names_all_and_the_nearest(value, choices, end):
    check_choice('pet', choices[0], choices)
    with pytest.raises(ConfigError, match=f'pet={value!r}, expected one of {end}$'):
        check_choice('pet', value, choices)


@pytest.mark.parametrize('value', [True, 1.0, '2', None, 0, 6])
def test_an_integer_of_another_type_or_range_is_rejected(value):
    for good in (1, np.int64(5)):
        check_integer('k', good, 1, 5)
    with pytest.raises(ConfigError, match=f'k={value!r}, expected an integer from 1 to 5'):
        check_integer('k', value, 1, 5)


@pytest.mark.parametrize('value', [True, '2', None, 0, 1, float('nan'), float('inf')])
def test_a_number_of_another_type_or_range_is_rejected(value):
    check_number('p', .5, 0, 1, inclusive=False)
    check_number('p', np.float32(-3))
    with pytest.raises(ConfigError, match=r'expected a finite number in \(0, 1\)'):
        check_number('p', value, 0, 1, inclusive=False)
