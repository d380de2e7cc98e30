"""Installation. The OpenMMLab packages are extras, so that nothing installed is ever overwritten."""
import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r"__version__ = '(.+)'", (HERE / 'wsld_plugin/version.py').read_text())[1]
# MMRazor 1.0.0 imports joblib without declaring it; mmengine reads `mmpretrain::…` paths with
# pkg_resources, which setuptools 82 dropped.
SHARED = ['mmrazor>=1.0.0', 'joblib', 'setuptools<82']

setup(
    name='wsld-plugin',
    version=VERSION,
    description='Distillation from soft labels for OpenMMLab: WSLD and its relatives, driven by configs',
    long_description=(HERE / 'README.md').read_text(),
    long_description_content_type='text/markdown',
    license='MIT',
    license_files=['LICENSE'],
    packages=find_packages(include=['wsld_plugin', 'wsld_plugin.*']),
    python_requires='>=3.10',
    install_requires=['torch>=2.6', 'torchvision', 'numpy>=1.24', 'pillow', 'scipy', 'scikit-learn', 'matplotlib',
                      'safetensors'],
    extras_require={
        'openmmlab': ['mmengine>=0.10.7', 'mmcv-lite>=2.0.0,<=2.1.0', 'mmpretrain>=1.2.0', *SHARED],
        'onedl': ['onedl-mmengine>=0.10.12', 'onedl-mmcv>=2.3.6', 'onedl-mmpretrain>=1.3.6', *SHARED],
        'dev': ['pytest', 'pytest-timeout', 'pytest-xdist', 'timm', 'hypothesis', 'ruff', 'mypy', 'import-linter'],
    },
)
