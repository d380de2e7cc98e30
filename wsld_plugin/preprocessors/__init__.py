"""Batches on the device: what a model is to see of them."""
from .renormalize import Renormalize, renormalize

__all__ = ['Renormalize', 'renormalize']
