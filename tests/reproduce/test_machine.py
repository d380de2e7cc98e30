import torch

from wsld_plugin.reproduce.machine import machine


def test_the_machine_names_its_versions():
    assert f'torch {torch.__version__}' in machine()
