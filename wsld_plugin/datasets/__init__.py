"""Data sets."""
from . import transforms, weak
from .digits import Digits, Mixture, PartSampler
from .keyed import KeyedDataset, KeyedSampler, SampleKey
from .packed import PackedDataset
from .resident import ResidentDataset

__all__ = ['transforms', 'weak', 'Digits', 'Mixture', 'PackedDataset', 'KeyedDataset', 'KeyedSampler', 'SampleKey',
           'PartSampler', 'ResidentDataset']
