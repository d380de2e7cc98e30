"""Making the soft-label cache of a run, and opening one: checked against the run and against the teacher."""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import worker_init_fn
from mmengine.device import get_device
from mmengine.dist import barrier, is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.registry import DATASETS, FUNCTIONS, MODELS, DefaultScope
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.data import DataLoader

from wsld_plugin.config.check import check_config, check_data, check_teacher
from wsld_plugin.config.load import load_config
from wsld_plugin.datasets import KeyedDataset, KeyedSampler, ResidentDataset, SampleKey
from wsld_plugin.datasets.keyed import key_training_set
from wsld_plugin.errors import ConfigError
from wsld_plugin.registry import HOOKS
from wsld_plugin.teachers.network import TeacherNetwork

from .config import cache_folder, cached_teacher, check_cached, needed_by, preprocessor_config, use_cached_labels
from .store import HEADER, NEW, SMALLEST, Header, SoftLabels, encode, log_tail, writing
from .teacher import CachedTeacher

TrainingSet = KeyedDataset | ResidentDataset

_REPORTS = 20
_HASHED_IMAGES = 16
# Rounding to float16, other batches and TF32 change a log-probability by less; another crop changes many by more.
_ABSOLUTE, _RELATIVE = 0.02, 0.01


class Source:
    """Run the teacher on samples of a training set, augmented as their keys say.

    Args:
        dataset: the training set.
        loader: config of its loader, for batch size, workers and collate function.
        preprocessor: the student's, without batch augmentation.
        teacher: images and samples to logits (N, C).
        device: where the teacher runs.
    """

    def __init__(self, dataset: TrainingSet, loader: Mapping[str, Any], preprocessor: nn.Module,
                 teacher: nn.Module, device: str | torch.device) -> None:
        self.dataset = dataset
        self.preprocessor = preprocessor.to(device)
        self.teacher = teacher.to(device)
        self._loader = loader

    @torch.no_grad()
    def __call__(self, keys: Iterable[SampleKey]) -> Iterator[tuple[Tensor, Tensor]]:
        """Logits (n, C) and labels (n,) of the samples, batch after batch.

        Raises:
            ValueError: a sample whose target is not one class.
        """
        workers = int(self._loader.get('num_workers', 0))
        # each sample has its own seed; the loader draws one for its workers
        with torch.random.fork_rng(devices=[]):
            batches = iter(DataLoader(
                cast(Any, self.dataset), int(self._loader['batch_size']), sampler=cast(Any, keys),
                num_workers=workers, collate_fn=_collate(self._loader), worker_init_fn=partial(
                    worker_init_fn, num_workers=workers, rank=0, seed=0, disable_subprocess_warning=True)))
        for batch in batches:
            data = self.preprocessor(batch, False)
            samples = data['data_samples']
            if any('gt_score' in sample or sample.gt_label.numel() != 1 for sample in samples):
                raise ValueError('a sample has another target than one class: its cross entropy cannot be cached.')
            yield self.teacher(data['inputs'], samples), torch.cat([sample.gt_label for sample in samples])


def prepare(cfg: Config, folder: Path, dataset: TrainingSet, preprocessor: nn.Module, *, make: bool, verify: int,
            device: str | torch.device = 'cpu') -> SoftLabels:
    """Open the soft labels of a run.

    Args:
        cfg: its config, with a `CachedTeacher`.
        folder: of the cache.
        dataset: the training set.
        preprocessor: the student's; it is moved to ``device``.
        make: make a missing cache, or continue an interrupted one.
        verify: number of entries that are computed again, see :func:`replay`.
        device: where the teacher runs.

    Raises:
        ConfigError: there is no cache, or it is another run's; the field is named.
    """
    teacher, needed = cached_teacher(cfg), {**needed_by(cfg), **_identity(dataset)}
    assert teacher is not None
    complete = (folder / HEADER).is_file()
    if complete or not make:
        SoftLabels(folder).header.check(needed, folder)
    if not teacher.get('model'):
        if not complete:
            raise ConfigError(f'{folder} holds no soft labels, and the config names no model.teacher.model to make '
                              'them with.')
        print_log(f'{folder}: the teacher of these soft labels is not checked, the config names none.', 'current')
        return SoftLabels(folder)
    network = TeacherNetwork(teacher['model'], teacher['checkpoint'], teacher.get('class_map'), preprocessor,
                             preprocessor_config(cfg))
    needed['teacher_weights'] = weights_hash(network.model)
    source = Source(dataset, cfg.train_dataloader, preprocessor, network, device)
    if not complete:
        classes = next(source([SampleKey(needed['seed'], 0, 0)]))[0].shape[1]
        if needed.setdefault('num_classes', classes) != classes:
            raise ConfigError(f'the teacher has {classes} classes and the student has {needed["num_classes"]}: write '
                              "the teacher's index of each student class as model.teacher.class_map.")
        if needed['top_k'] and needed['top_k'] >= classes:
            raise ConfigError(f'CachedTeacher: top_k={needed["top_k"]} of {classes} classes: remove it to keep all.')
        _write(folder, Header(**needed), source)
    labels = SoftLabels(folder)
    labels.header.check(needed, folder)
    if verify:
        worst = replay(labels, source, verify)
        print_log(f'{folder}: {verify} soft labels computed again, largest difference {worst:.1e} nats.', 'current')
    return labels


def _write(folder: Path, header: Header, source: Source) -> None:
    with writing(folder, header) as writer:
        place, every = writer.done, max(writer.total // _REPORTS, 1)
        print_log(f'{folder}: writing {writer.total:,} soft labels' + (f', {place:,} exist' if place else '') + '.',
                  'current')
        for logits, target in source(_key(header, number) for number in range(place, writer.total)):
            writer.append(encode(logits, target, header.top_k, header.tau))
            place += len(logits)
            if place // every > (place - len(logits)) // every:
                print_log(f'{folder}: {place / writer.total:.0%}', 'current')
        writer.finish()


def _key(header: Header, number: int) -> SampleKey:
    """The sample and view of a record."""
    return SampleKey(header.seed, *divmod(number, header.num_samples))


def replay(labels: SoftLabels, source: Source, count: int) -> float:
    """Compute ``count`` random entries again, each with the augmentation of its view.

    Returns:
        The largest difference of a log-probability or cross entropy, in nats.

    Raises:
        ConfigError: one differs by more than 0.02 + 1 % of its value.
    """
    header = labels.header
    entries = np.random.default_rng().integers(header.views * header.num_samples, size=count)
    keys = [_key(header, int(entry)) for entry in entries]
    cached, largest, start = labels.rows(keys), 0.0, 0
    for logits, target in source(keys):
        rows = cached[start:start + len(logits)]
        log_probs = logits.cpu().double().log_softmax(1)
        new = [log_probs, -log_probs.gather(1, target.cpu()[:, None])]
        old = [rows['log_probs'], rows['teacher_ce'][:, None]]
        if header.tau is not None:
            classes = torch.from_numpy(rows['classes'].astype(np.int64))
            new = [log_probs.gather(1, classes), new[1], log_tail(log_probs, classes, header.tau)[:, None]]
            old.append(rows['lse_tail'][:, None])
        new[0] = new[0].clamp(min=SMALLEST)
        have, live = torch.from_numpy(np.concatenate(old, axis=1, dtype=np.float64)), torch.cat(new, 1)
        difference = (have - live).abs()
        for row in (difference > _ABSOLUTE + _RELATIVE * live.abs()).any(1).nonzero()[:1, 0].tolist():
            key, column = keys[start + row], int(difference[row].argmax())
            raise ConfigError(f'{labels.folder}: the soft label of sample {key.index} in view {key.epoch} is not '
                              f'what the teacher computes: {have[row, column]:.4f} in the cache, '
                              f'{live[row, column]:.4f} now. The images, their augmentation or the libraries have '
                              f'changed: {NEW}.')
        largest = max(largest, float(difference.max()))
        start += len(logits)
    return largest


def weights_hash(model: nn.Module) -> str:
    """SHA-256 of the names, types, shapes and values of a model's weights."""
    found = sha256()
    for name, value in sorted(model.state_dict().items()):
        value = value.detach().cpu().contiguous()
        found.update(f'{name} {value.dtype} {tuple(value.shape)}\n'.encode())
        found.update(value.reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()


@HOOKS.register_module()
class SoftLabelsHook(Hook):
    """Open the cache of a `CachedTeacher`; without effect for any other teacher.

    The main process compares the cache with the run, makes it if ``make='missing'``, and computes ``verify`` entries
    again with the network, if the config names it; then the network is freed. ``tools/train.py`` adds this hook to a
    config. The random state is left unchanged.

    Raises:
        ConfigError: there is no cache, it is another run's, or its soft labels are not the network's.
    """

    def __init__(self, verify: int = 8) -> None:
        self.verify = verify

    def before_train(self, runner: Runner) -> None:
        """Check and open the cache."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        teacher = getattr(model, 'teacher', None)
        if not isinstance(teacher, CachedTeacher):
            return
        check_cached(runner.cfg)
        settings, folder = cached_teacher(runner.cfg) or {}, cache_folder(runner.cfg, runner.work_dir)
        views, loader = settings.get('views', 1), runner.train_dataloader
        dataset = getattr(loader, 'dataset', None)
        dataset = getattr(dataset, '_dataset', dataset)  # mmengine's, for num_batch_per_epoch
        sampler = getattr(getattr(loader, 'batch_sampler', None), 'sampler', None)
        if type(loader) is not DataLoader or not isinstance(dataset, (KeyedDataset, ResidentDataset)) \
                or not isinstance(sampler, KeyedSampler) or sampler.views != views:
            raise ConfigError("a CachedTeacher needs a training set of wsld_plugin.KeyedDataset, in PyTorch's own "
                              f"loader, with sampler=dict(type='wsld_plugin.KeyedSampler', views={views}, …), as "
                              'tools/train.py writes them.')
        if is_main_process():
            with torch.random.fork_rng(devices=[]):
                prepare(runner.cfg, folder, dataset, model.data_preprocessor, device=get_device(),
                        make=settings.get('make') == 'missing', verify=self.verify)
        barrier()
        teacher.open(SoftLabels(folder))


def caching_config(config: str, *, views: int | None = None, top_k: int | None = None, out: str | None = None,
                   work_dir: str | None = None, options: dict[str, Any] | None = None) -> Config:
    """Load and check a training config that reads cached soft labels.

    Args:
        config: path of a config, with a `CachedTeacher` or with the teacher itself.
        views, top_k: as for `CachedTeacher`; None: the config's own.
        out: folder of the cache; None: the config's own, else ``soft_labels`` in the run's folder.
        work_dir: folder of the run; None: the config's own, else ``work_dirs/<name of the config>``.
        options: dotted keys and values that replace the config's.

    Raises:
        ConfigError: an invalid config, or one whose soft labels cannot be cached.
    """
    cfg = load_config(config, options)
    cfg.work_dir = work_dir or cfg.get('work_dir') or str(Path('work_dirs') / Path(config).stem)
    use_cached_labels(cfg, views=views, top_k=top_k)
    cfg.model.teacher.cache = str(out or cache_folder(cfg, cfg.work_dir))
    check_cached(cfg)
    key_training_set(cfg, views=cfg.model.teacher.get('views', 1))
    check_config(cfg)
    return cfg


def cache_soft_labels(cfg: Config, verify: int = 0) -> SoftLabels:
    """Write the soft labels of a :func:`caching_config`, unless the cache exists.

    ``verify`` entries are computed again; if there are any, the SHA-256 of the file is checked too.

    Raises:
        ConfigError: the folder holds those of another run; a soft label is not what the teacher computes.
    """
    check_data(cfg)
    check_teacher(cfg)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'mmengine'):
        dataset = DATASETS.build(cfg.train_dataloader.dataset)
        preprocessor = MODELS.build({'_scope_': 'mmpretrain', **preprocessor_config(cfg)})
        labels = prepare(cfg, Path(cfg.model.teacher.cache), dataset, preprocessor, make=True, verify=verify,
                         device=get_device())
    if verify:
        labels.check_hash()
    return labels


def _identity(dataset: Any) -> dict[str, Any]:
    """The fields of a `Header` that follow from the contents of a data set."""
    plain = dataset.dataset
    found = sha256(repr([type(plain).__name__, len(plain), getattr(plain, 'channel_order', None)]).encode())
    if hasattr(plain, 'get_gt_labels'):
        found.update(np.asarray(plain.get_gt_labels(), dtype=np.int64).tobytes())
    if hasattr(plain, 'get_data_info'):
        for index in range(0, len(plain), max(len(plain) // _HASHED_IMAGES, 1)):
            info = plain.get_data_info(index)
            found.update(info['img'].tobytes() if isinstance(info.get('img'), np.ndarray)
                         else Path(str(info.get('img_path'))).name.encode())
    if hasattr(plain, 'pack'):
        found.update(repr(sorted(plain.pack.meta['sha256'].items())).encode())
    return dict(dataset=found.hexdigest(), num_samples=len(plain))


def _collate(loader: Mapping[str, Any]) -> Any:
    """The collate function that mmengine's Runner would use."""
    chosen = loader.get('collate_fn', dict(type='pseudo_collate'))
    if not isinstance(chosen, Mapping):
        return chosen
    kind, arguments = chosen['type'], {key: value for key, value in chosen.items() if key != 'type'}
    return partial(FUNCTIONS.get(kind) if isinstance(kind, str) else kind, **arguments)
