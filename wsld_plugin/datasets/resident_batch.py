"""A batch that is a few numbers until someone looks at it."""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmpretrain.structures import DataSample
from torch import Tensor

from wsld_plugin.registry import FUNCTIONS

from .keyed import SampleKey

_FIELDS = ('inputs', 'data_samples')


class ResidentBatch(Mapping):
    """What a loader of a `ResidentDataset` yields, to be read as ``dict(inputs=…, data_samples=…)``.

    ``inputs`` (N, C, H, W) uint8 and ``data_samples``, N of mmpretrain's with ``gt_label`` and ``sample_key``, are
    computed on the device whenever they are asked for, the same each time.

    Args:
        source: the data set: its ``images_of`` and ``labels_of`` read the device's arrays.
        numbers: (N, 1 + k) int64 on the device: the place of each image, then what was drawn for it.
        keys: of the N samples; None where the numbers may change after the samples were made, which then have no
            ``sample_key``.
    """

    def __init__(self, source: Any, numbers: Tensor, keys: Sequence[SampleKey] | None) -> None:
        self.source = source
        self.numbers = numbers
        self.keys_of_samples = keys

    def __getitem__(self, field: str) -> Any:
        if field == 'inputs':
            return self.source.images_of(self.numbers)
        if field == 'data_samples':
            return _data_samples(self.source.labels_of(self.numbers), self.keys_of_samples)
        raise KeyError(field)

    def __iter__(self) -> Iterator[str]:
        return iter(_FIELDS)

    def __len__(self) -> int:
        return len(_FIELDS)


@FUNCTIONS.register_module()
def whole_batch(batch: ResidentBatch) -> ResidentBatch:
    """The ``collate_fn`` of a resident data set, which makes whole batches itself."""
    return batch


def _data_samples(labels: Tensor, keys: Sequence[SampleKey] | None) -> list[DataSample]:
    if keys is None:
        return [_data_sample(label) for label in labels.split(1)]
    return [_data_sample(label, sample_key=key, sample_idx=key.index)
            for label, key in zip(labels.split(1), keys, strict=True)]


def _data_sample(label: Tensor, **metainfo: Any) -> DataSample:
    # set_field would check each field, at several times the cost
    sample = DataSample.__new__(DataSample)
    vars(sample).update(_metainfo_fields=set(metainfo), _data_fields={'gt_label'}, gt_label=label, **metainfo)
    return sample
