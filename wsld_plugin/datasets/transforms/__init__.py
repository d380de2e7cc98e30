"""Transforms that do what mmpretrain's do in less time."""
from .load_random_resized_crop import LoadRandomResizedCrop
from .pack_planes import PackPlanes

__all__ = ['LoadRandomResizedCrop', 'PackPlanes']
