import gc
import itertools

import numpy as np
import pytest

from wsld_plugin.benchmarks.timing import Variant, compare, order, time_in_turns


class Machine:
    """A clock that work moves on, each unit of work slower by ``drift`` than the one before."""

    def __init__(self, drift=0.0):
        self.now = 0.0
        self.queued = 0.0
        self.calls = []
        self.drift = drift

    def clock(self):
        return self.now

    def synchronise(self):
        self.now += self.queued
        self.queued = 0.0

    def variant(self, name, cost, launch=0.0, preparation=0.0):
        def prepare():
            self.now += preparation
            return name

        def step(argument):
            assert argument == name
            self.calls.append(name)
            self.now += launch
            self.queued += cost * (1 + self.drift * len(self.calls))
        return Variant(name, step, prepare)

    def time(self, variants, rounds, warmup=0):
        return time_in_turns(variants, rounds, warmup, self.synchronise, self.clock)


@pytest.mark.parametrize('rounds', [2, 3, 8, 41])
def test_medians_and_quartiles_are_those_of_the_paired_ratios(rounds):
    rng = np.random.default_rng(rounds)
    seconds = {name: rng.lognormal(size=rounds) for name in 'abc'}
    found = compare({name: tuple(values.tolist()) for name, values in seconds.items()})
    assert [row.name for row in found] == ['a', 'b', 'c']
    for row in found:
        assert row.median == pytest.approx(np.median(seconds[row.name]))
        assert row.ratio == pytest.approx(np.quantile(seconds[row.name] / seconds['a'], [.25, .5, .75]))
    assert found[0].ratio == (1, 1, 1)


def test_the_ratio_is_paired_so_that_a_disturbance_of_whole_rounds_does_not_show():
    slow = np.array([1, 9, 1, 1, 30, 2])
    base, other = compare(dict(a=tuple(slow * .5), b=tuple(slow * .75)))
    assert other.ratio == pytest.approx((1.5, 1.5, 1.5))
    assert base.median == .5 * 1.5


@pytest.mark.parametrize('count', range(1, 6))
@pytest.mark.parametrize('start', [0, 7])
def test_every_variant_takes_every_place_equally_often(count, start):
    rounds = [order(count, number) for number in range(start * count, (start + 1) * count)]
    for place in range(count):
        assert sorted(each[place] for each in rounds) == list(range(count))


@pytest.mark.parametrize('count', [3, 4, 5])
def test_no_variant_always_follows_the_same_one(count):
    before = {index: set() for index in range(count)}
    for number in range(2 * count):
        for first, second in itertools.pairwise(order(count, number)):
            before[second].add(first)
    assert all(len(others) > 1 for others in before.values())


def test_all_of_a_step_is_timed_also_what_the_device_does_later_and_nothing_of_its_preparation():
    machine = Machine()
    variants = [machine.variant('a', 2.0, launch=.25), machine.variant('b', 3.0, preparation=100.0)]
    assert machine.time(variants, 4) == dict(a=(2.25,) * 4, b=(3.0,) * 4)


def test_warmup_rounds_run_and_do_not_count():
    machine = Machine()
    names = 'abc'
    seconds = machine.time([machine.variant(name, 1.0) for name in names], rounds=4, warmup=2)
    assert machine.calls == [names[index] for number in range(-2, 4) for index in order(3, number)]
    assert {len(values) for values in seconds.values()} == {4}


def test_equal_variants_stay_equal_on_a_machine_that_gets_slower():
    machine = Machine(drift=.01)
    _, other = compare(machine.time([machine.variant('a', 1.0), machine.variant('b', 1.0)], 40))
    assert other.seconds[-1] > 1.7 * other.seconds[0]
    assert other.ratio[1] == pytest.approx(1, abs=.005)


def test_garbage_is_not_collected_meanwhile_and_again_afterwards_whatever_happens():
    def step(_):
        states.append(gc.isenabled())
        if len(states) > 2:
            raise RuntimeError('failed')

    states = []
    assert gc.isenabled()
    with pytest.raises(RuntimeError, match='failed'):
        time_in_turns([Variant('a', step)], 3)
    assert states == [False] * 3
    assert gc.isenabled()
