#!/usr/bin/env python
"""Describe this environment and what is wrong with it: text for a bug report, and an exit status for scripts.

Exit status 0: no problem was found. 1: at least one, each listed with what to do.
"""
# Nothing of the package is imported at the top: the import itself may be what fails.
import argparse
import os
import platform
import shutil
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ('torch', 'torchvision', 'numpy', 'mmengine', 'onedl-mmengine', 'mmcv', 'mmcv-lite', 'onedl-mmcv',
            'mmpretrain', 'onedl-mmpretrain', 'mmrazor', 'opencv-python', 'opencv-python-headless', 'safetensors',
            'setuptools', 'timm', 'transformers')
# Distributions of one module: the files of the second overwrite those of the first.
SAME_MODULE = (('mmengine', 'onedl-mmengine'), ('mmcv', 'mmcv-lite', 'onedl-mmcv'),
               ('mmpretrain', 'onedl-mmpretrain'), ('opencv-python', 'opencv-python-headless'))
LAUNCHERS = {'torchrun': 'LOCAL_RANK', 'Slurm': 'SLURM_PROCID', 'MPI': 'OMPI_COMM_WORLD_RANK'}
LEAST_DISK = 2**30  # bytes; a run of a large student keeps two checkpoints and writes a third


def main(argv=None):
    """Print the report; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', nargs='?', default='work_dirs', help='where runs are written [work_dirs]')
    folder = parser.parse_args(argv).folder
    versions = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    problems = conflicts(versions)
    print(f'Python {platform.python_version()}, {platform.platform()}')
    print('  '.join(f'{name} {number}' for name, number in versions.items()))
    if 'torch' in versions:
        print(devices())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    threads = os.environ.get('OMP_NUM_THREADS')
    print(f'cores {cores}  OMP_NUM_THREADS {threads or "not set"}')
    if threads and threads.isdigit() and int(threads) > cores:
        problems.append(f'OMP_NUM_THREADS={threads} exceeds the {cores} usable cores, which slows every step down. '
                        f'Set it to {cores} or less.')
    inside = [f'{name} ({variable}={os.environ[variable]})' for name, variable in LAUNCHERS.items()
              if variable in os.environ]
    print('started by ' + (', '.join(inside) or 'no launcher') + ('; srun found' if shutil.which('srun') else ''))
    existing = next(path for path in (Path(folder), *Path(folder).absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    print(f'{free / 2**30:.1f} GiB free in {existing}')
    if free < LEAST_DISK:
        problems.append(f'{existing} has {free / 2**20:.0f} MiB free, and a run needs three times the size of its '
                        'checkpoint. Remove old runs, or choose another --work-dir.')
    if not os.access(existing, os.W_OK):
        problems.append(f'{existing} cannot be written to. Choose another --work-dir.')
    print(package(problems))
    print('\n'.join(f'PROBLEM: {problem}' for problem in problems) or 'No problem was found.')
    return 1 if problems else 0


def conflicts(versions):
    """Problems that the installed versions have with each other."""
    problems = []
    for group in SAME_MODULE:
        both = [name for name in group if name in versions]
        if len(both) > 1:
            problems.append(f'{" and ".join(both)} install the same module, so its files are a mixture. Run: pip '
                            f'uninstall -y {" ".join(both)}, then install one of them.')
    if int(versions.get('setuptools', '0').split('.')[0]) >= 82:
        problems.append('setuptools 82 has no pkg_resources, with which mmengine reads `mmpretrain::…` paths. Run: '
                        "pip install 'setuptools<82'")
    return problems


def devices():
    """The devices that PyTorch sees."""
    import torch
    if torch.cuda.is_available():
        names = ', '.join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
        return f'CUDA {torch.version.cuda}: {names}'
    return f'no GPU; CPU capability {torch.backends.cpu.get_cpu_capability()}'


def package(problems):
    """Import the package; describe it and what it works around, or append the reason why it cannot be imported."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    try:
        import torchvision  # noqa: F401  fails where it was built for another torch

        import wsld_plugin
    except Exception as error:
        problems.append(f'wsld_plugin cannot be imported. {type(error).__name__}: {error}')
        return 'wsld_plugin: not imported'
    return (f'wsld_plugin {wsld_plugin.__version__} in {Path(wsld_plugin.__file__).parent}; worked around: '
            + (', '.join(wsld_plugin.compat.applied()) or 'nothing'))


if __name__ == '__main__':
    sys.exit(main())
