import math

import pytest

from wsld_plugin.benchmarks.gate import RefusedVariant, check_repeats


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
def test_a_result_that_is_not_finite_is_refused_by_name(value):
    with pytest.raises(RefusedVariant, match=f'wsld_a is not timed: .* loss_b is {value}'):
        check_repeats('wsld_a', dict(loss_a=1.0, loss_b=value), dict(loss_a=1.0, loss_b=value))


@pytest.mark.parametrize('again', [2.0 * (1 + 3e-5), 2.0 * (1 - 3e-5), -2.0, math.nan])
def test_a_result_that_does_not_repeat_is_refused_by_name(again):
    with pytest.raises(RefusedVariant, match=r'wsld_a is not timed: loss .* is 2\.0 and then'):
        check_repeats('wsld_a', dict(loss=2.0), dict(loss=again))


def test_a_result_that_is_gone_the_second_time_or_never_there_is_refused():
    with pytest.raises(RefusedVariant, match='and then nan'):
        check_repeats('a', dict(loss=2.0), {})
    with pytest.raises(RefusedVariant, match='nothing that could be compared'):
        check_repeats('a', {}, {})


@pytest.mark.parametrize('value', [2.0, 1e-30, 0.0, -5.0])
def test_rounding_passes(value):
    check_repeats('a', dict(loss=value), dict(loss=value * (1 + 3e-6)))
