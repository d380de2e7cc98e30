"""Data sets."""
from .digits import Digits
from .keyed import KeyedDataset, KeyedSampler, SampleKey
from .packed import PackedDataset

__all__ = ['Digits', 'PackedDataset', 'KeyedDataset', 'KeyedSampler', 'SampleKey']
