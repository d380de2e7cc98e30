import gc
import itertools

import numpy as np
import pytest

from wsld_plugin.benchmark.timing import order, paired_ratio, time_in_turns


class Machine:
    """A clock that advances with the work, each unit of work slower by ``drift`` than the one before."""

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
        return name, (prepare, step)

    def time(self, variants, rounds, warmup=0):
        return time_in_turns(dict(variants), rounds, warmup, self.synchronise, self.clock)


@pytest.mark.parametrize('rounds', [2, 41])
def test_median_and_quartiles_are_those_of_the_paired_ratios(rounds):
    own, other = np.random.default_rng(rounds).lognormal(size=(2, rounds))
    assert paired_ratio(own.tolist(), other.tolist()) == pytest.approx(np.quantile(own / other, [.25, .5, .75]))
    slow = np.array([1, 9, 1, 1, 30, 2])  # whole rounds that are disturbed do not show
    assert paired_ratio(slow * .75, slow * .5) == pytest.approx((1.5, 1.5, 1.5))


@pytest.mark.parametrize(('count', 'start'), [(1, 0), (2, 7), (5, 0)])
def test_every_variant_takes_every_place_equally_often(count, start):
    rounds = [order(count, number) for number in range(start * count, (start + 1) * count)]
    for place in range(count):
        assert sorted(each[place] for each in rounds) == list(range(count))


@pytest.mark.parametrize('count', [3, 5])
def test_no_variant_always_follows_the_same_one(count):
    before = {index: set() for index in range(count)}
    for number in range(2 * count):
        for first, second in itertools.pairwise(order(count, number)):
            before[second].add(first)
    assert all(len(others) > 1 for others in before.values())


def test_a_step_is_timed_with_its_queued_work_and_without_its_preparation():
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
    one, other = machine.time([machine.variant('a', 1.0), machine.variant('b', 1.0)], 40).values()
    assert other[-1] > 1.7 * other[0]
    assert paired_ratio(other, one)[1] == pytest.approx(1, abs=.005)


def test_garbage_collection_is_off_while_timing_and_on_again_after_an_error():
    def step(_):
        states.append(gc.isenabled())
        if len(states) > 2:
            raise RuntimeError('failed')

    states = []
    assert gc.isenabled()
    with pytest.raises(RuntimeError, match='failed'):
        time_in_turns(dict(a=(lambda: None, step)), 3, 0)
    assert states == [False] * 3
    assert gc.isenabled()
