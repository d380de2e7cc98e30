"""OpenMMLab, the originals or the maintained forks, on current PyTorch and numpy.

One remedy a file; each names the cause it cures and when it does nothing. They act on the running process
only: no installed file is edited and nothing is ever installed.
"""
from importlib import import_module

# In this order: the later ones import what the earlier ones make importable.
_REMEDIES = ('requirements', 'mmcv_lite', 'mmcv_version', 'mmrazor_quantization', 'mmrazor_inplace',
             'safe_checkpoints', 'config_text', 'fsdp_optimizer_state', 'deepspeed_optimizers')


def apply() -> None:
    """Apply every remedy that this environment needs; a second call changes nothing.

    Raises:
        ImportError: a package that only the user can install is missing or too old.
    """
    for remedy in _REMEDIES:
        import_module(f'{__name__}.{remedy}').apply()
