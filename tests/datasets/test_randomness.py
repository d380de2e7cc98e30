import random

import numpy as np
import pytest
import torch

from wsld_plugin.datasets.randomness import derive_seeds, seed_everything, seeded


def draw():
    return random.random(), np.random.random_sample(), np.random.standard_normal(), torch.rand(()).item()  # noqa: NPY002


def test_seeds_are_those_that_were_published():
    """Runs and soft labels of earlier versions can be replayed only while these hold."""
    from hashlib import blake2b
    digest = blake2b(b'3 1 4 0', digest_size=20, person=b'sample').digest()
    python, numpy, torch_ = derive_seeds('sample', 3, 1, 4, 0)
    assert python.to_bytes(8, 'little') + numpy.to_bytes(4, 'little') + torch_.to_bytes(8, 'little') == digest


def test_every_number_and_the_purpose_count():
    keys = [('sample', 1, 2, 3, 0), ('sample', 2, 1, 3, 0), ('sample', 12, 3, 0), ('sample', 1, 2, 3, 1),
            ('iteration', 1, 2, 3, 0)]
    assert all(len(set(column)) == len(keys) for column in zip(*(derive_seeds(*key) for key in keys), strict=True))


def test_seeded_draws_are_a_function_of_the_numbers():
    def inside(*numbers):
        with seeded('sample', *numbers):
            return draw()
    first = inside(0, 1)
    draw()
    assert inside(0, 1) == first
    assert all(a != b for a, b in zip(inside(0, 2), first, strict=True))


@pytest.mark.parametrize('error', [None, ZeroDivisionError])
def test_the_process_goes_on_as_if_nothing_had_been_drawn(error):
    seed_everything('iteration', 0)
    expected = [draw(), draw(), draw()]
    seed_everything('iteration', 0)
    found = [draw()]
    for _ in range(2):
        np.random.standard_normal()  # noqa: NPY002  (the second of the pair; the next call begins a new one)
        try:
            with seeded('sample', 5):
                draw()
                np.random.seed(3)  # noqa: NPY002
                torch.rand(7)
                if error:
                    raise error
        except ZeroDivisionError:
            pass
        found.append(draw())
    seed_everything('iteration', 0)
    same = [draw()]
    for _ in range(2):
        np.random.standard_normal()  # noqa: NPY002
        same.append(draw())
    assert found == same
    assert found[0] == expected[0]


def test_draws_are_uniform_over_keys():
    """Neighbouring keys give unrelated numbers: mean 1/2 and no correlation from one key to the next."""
    values = []
    for index in range(2000):
        with seeded('sample', 0, 0, index):
            values.append((random.random(), np.random.random_sample(), torch.rand(()).item()))  # noqa: NPY002
    values = np.array(values) - 0.5
    error = 5 / np.sqrt(len(values))
    assert abs(values.mean(0)).max() < error * np.sqrt(1 / 12)
    assert abs((values[1:] * values[:-1]).mean(0)).max() < error / 12
    assert abs(np.corrcoef(values.T) - np.eye(3)).max() < error
