"""Whether a teacher and a data set have the same classes."""
from __future__ import annotations

from mmengine.runner.checkpoint import CheckpointLoader

from wsld_plugin.datasets import KeyedDataset, SampleKey
from wsld_plugin.errors import ConfigError
from wsld_plugin.soft_labels.prepare import Source


def check_classes(dataset: KeyedDataset, source: Source, key: SampleKey) -> list[str]:
    """The names of the classes, from the data set; the teacher runs on one image.

    Args:
        dataset, source: the images, and what gives their soft labels.
        key: of the image.

    Raises:
        ConfigError: a teacher that cannot use these images, or one with other classes.
    """
    try:
        logits, target = next(source([key]))
    except ValueError as error:
        raise ConfigError(f'the first image of {type(dataset.dataset).__name__}: {error}') from error
    count = logits.shape[1]
    names = list(map(str, (getattr(dataset, 'metainfo', None) or {}).get('classes') or range(count)))
    if len(names) != count or int(target) >= count:
        raise ConfigError(f'the teacher gives {count} classes and the data set has {len(names)}: take the data '
                          'that it was trained for, or give a distillation config with a class_map.')
    return names


def check_trained_on(checkpoint: str, classes: list[str]) -> None:
    """Compare the classes that a checkpoint names with those of the data set.

    A label is a place in the list of classes: another list makes every number meaningless.

    Raises:
        ConfigError: they differ.
    """
    meta = CheckpointLoader.load_checkpoint(checkpoint, map_location='cpu').get('meta') or {}
    trained = list(map(str, (meta.get('dataset_meta') or {}).get('classes') or classes))
    if trained != classes:
        place = next((i for i, (a, b) in enumerate(zip(trained, classes, strict=False)) if a != b), len(classes))
        raise ConfigError(f'{checkpoint} was trained on {len(trained)} other classes, or in another order, than the '
                          f'{len(classes)} of the data set; they differ from class {place} on '
                          f'({trained[place:place + 1]} and {classes[place:place + 1]}). Take the data that it was '
                          'trained on, or give a distillation config with a class_map.')
