from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
import torch
from caches import cached_cfg, live_cfg, prepared, teacher_file
from factories import build, classifier, digits_classifier, digits_distillation, distiller, run_cfg
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import DATASETS, DefaultScope

from wsld_plugin.datasets import Digits, KeyedDataset, SampleKey
from wsld_plugin.datasets.weak import Companions, FewLabels, PartialLabels
from wsld_plugin.errors import CheckpointError, ConfigError, RunError
from wsld_plugin.models.checkpoint import load_classifier
from wsld_plugin.studies.teacher_report import images
from wsld_plugin.studies.teacher_report.images import build_dataset, find_loader, find_subject
from wsld_plugin.teachers.from_labels import GivenTeacher

PACK = [dict(type='mmpretrain.PackInputs')]
DIGITS = dict(type='wsld_plugin.Digits', split='test', num_samples=20, pipeline=PACK)
NO_TEST = dict.fromkeys(f'{split}_{part}' for split in ('test', 'val') for part in ('dataloader', 'evaluator', 'cfg'))
NO_TRAIN = dict(train_dataloader=None, train_cfg=None, optim_wrapper=None)


@pytest.fixture(autouse=True)
def _one_scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def dumped(cfg, path):
    cfg.dump(path)
    return str(path)


def everything(subject):
    logits, targets, places = zip(*subject.batches(), strict=True)
    return torch.cat(logits), torch.cat(targets), [*chain.from_iterable(places)]


@pytest.fixture(scope='module')
def plain(tmp_path_factory):
    """The config of a classifier, and its weights."""
    folder = tmp_path_factory.mktemp('plain')
    return (dumped(run_cfg(folder / 'run', digits_classifier(8)), folder / 'plain.py'),
            str(teacher_file(folder / 'teacher.pth')))


def network_logits(path, split, n):
    """The same without the data loaders and configs."""
    model = build(digits_classifier(8)).eval()
    load_classifier(model, str(path))
    digits = Digits(split=split, num_samples=n)
    pixels = np.stack([digits.get_data_info(i)['img'][..., 0] for i in range(n)])
    with torch.no_grad():
        return model((torch.from_numpy(pixels)[:, None].float() - 77.8) / 95.9, mode='tensor')


def test_a_classifier_gives_its_own_logits_and_images_of_all_samples_or_of_a_few(plain, monkeypatch):
    subject = find_subject(*plain)
    logits, target, places = everything(subject)
    torch.testing.assert_close(logits, network_logits(plain[1], 'test', 20), rtol=1e-4, atol=1e-4)
    assert target.tolist() == list(Digits(split='test', num_samples=20).get_gt_labels())
    assert (places, subject.classes) == (list(range(20)), list('0123456789'))
    assert (subject.made_from_labels, subject.notes) == (False, [])
    few = find_subject(*plain, max_samples=5)  # spread over all
    assert everything(few)[2] == [0, 5, 10, 14, 19]
    assert '5 of 20 images were measured; 15 were left out' in few.notes[0]
    assert [key.index for key in find_subject(*plain, max_samples=50).keys] == list(range(20))
    np.testing.assert_array_equal(subject.image(7), Digits(split='test').get_data_info(7)['img'][..., 0])
    pixels = torch.arange(12, dtype=torch.uint8).view(3, 2, 2)
    monkeypatch.setattr(type(subject.dataset), '__getitem__', lambda *_: dict(inputs=pixels))
    for rgb, shown in ((True, [0, 4, 8]), (False, [8, 4, 0])):
        assert replace(subject, rgb=rgb).image(0)[0, 0].tolist() == shown


def test_a_distillation_gives_the_logits_of_its_teacher_in_the_students_classes_or_those_of_its_cache(tmp_path):
    cfg = live_cfg(tmp_path)
    subject = find_subject(dumped(cfg, tmp_path / 'live.py'), split='train')
    expected = network_logits(tmp_path / 'teacher.pth', 'train', 40)
    torch.testing.assert_close(everything(subject)[0], expected, rtol=1e-4, atol=1e-4)
    assert 'training images' in subject.notes[0]
    other, order = str(teacher_file(tmp_path / 'other.pth', seed=3)), [*range(9, -1, -1)]
    cfg.model.distiller.connectors.teacher_logits.class_map = order
    cfg.model.teacher_ckpt = 'missing.pth'
    mapped = everything(find_subject(dumped(cfg, tmp_path / 'mapped.py'), other))[0]
    torch.testing.assert_close(mapped, network_logits(other, 'test', 20)[:, order], rtol=1e-4, atol=1e-4)

    cfg = cached_cfg(tmp_path)
    prepared(cfg.copy())
    network = everything(find_subject(dumped(cfg, tmp_path / 'cached.py'), split='train'))[0]
    cfg.model.teacher.update(model=None, checkpoint=None)
    alone = dumped(cfg, tmp_path / 'alone.py')
    subject = find_subject(alone, split='train')
    assert not subject.made_from_labels
    torch.testing.assert_close(everything(subject)[0].softmax(1), network.softmax(1), rtol=0, atol=2e-3)
    for more, message in (({}, '--split train'), (dict(checkpoint='a.pth', split='train'), 'leave it out'),
                          (dict(split='train', options={'train_dataloader.dataset.dataset.num_samples': 30}),
                           '40 images and the training set has 30')):
        with pytest.raises(ConfigError, match=message):
            find_subject(alone, **more)


def test_a_teacher_or_a_part_of_it_that_makes_its_soft_labels_from_the_labels_is_noted(tmp_path):
    virtual = dict(type='wsld_plugin.VirtualTeacher', num_classes=10, correct_prob=0.9)
    config = dumped(run_cfg(tmp_path / 'run', digits_distillation(teacher=virtual)), tmp_path / 'virtual.py')
    subject = find_subject(config)
    logits, target, _ = everything(subject)
    assert subject.made_from_labels
    torch.testing.assert_close(logits.softmax(1).gather(1, target[:, None]), torch.full((20, 1), 0.9))
    with pytest.raises(ConfigError, match='leave it out'):
        find_subject(config, 'a.pth')
    members = [dict(model=digits_classifier(8), checkpoint=str(teacher_file(tmp_path / 'one.pth'))),
               dict(model=virtual, checkpoint=False)]
    cfg = run_cfg(tmp_path / 'run', digits_distillation(
        teacher=dict(type='wsld_plugin.EnsembleTeacher', members=members)))
    subject = find_subject(dumped(cfg, tmp_path / 'ensemble.py'))
    assert not subject.made_from_labels
    assert subject.notes[0].startswith('A part of this teacher computes its soft labels from the labels')


@DATASETS.register_module(force=True)
class LabelledSets(PartialLabels):
    """Candidate sets beside the labels."""

    def relabel(self, sample, index):
        label = sample.gt_label
        super().relabel(sample, index)
        sample.set_gt_label(label)


def test_given_soft_labels_are_measured_and_hidden_labels_are_rejected_before_the_teacher_runs(tmp_path, monkeypatch):
    settings, configs = dict(unreliability=0.2, ambiguity=0.3), []
    for kind in ('LabelledSets', 'wsld_plugin.PartialLabels'):
        cfg = run_cfg(tmp_path / 'run', digits_distillation(
            teacher=dict(type='wsld_plugin.GivenTeacher', num_classes=10), hard_weight=0.0,
            distiller=distiller(dict(type='wsld_plugin.KD'))))
        cfg.train_dataloader.dataset = dict(type=kind, dataset=cfg.train_dataloader.dataset, **settings)
        configs.append(dumped(cfg, tmp_path / f'{len(configs)}.py'))
    subject = find_subject(configs[0], split='train')
    logits, target, _ = everything(subject)
    assert not subject.made_from_labels
    sets = PartialLabels(Digits(num_samples=40), **settings)
    assert ((logits > -5).numpy() == sets.candidates).all()
    assert target.tolist() == sets.given_labels.tolist()
    with pytest.raises(ConfigError, match=r"the first image of Digits: .* without 'soft_label'"):
        find_subject(configs[0])
    monkeypatch.setattr(GivenTeacher, 'forward', lambda *_, **__: pytest.fail('ran'))
    with pytest.raises(ConfigError, match=r'of PartialLabels: 20 of 20 labels are hidden or missing \(-100\), '
                                          'expected labelled images'):
        find_subject(configs[1], split='train')


def test_other_classes_or_another_order_settings_and_weights_that_do_not_fit_are_rejected(plain, tmp_path):
    (tmp_path / 'bare.py').write_text('a = 1\n')
    for given, settings, message in (
            (plain, dict(split='tests'), "Did you mean 'test'"),
            (plain, dict(max_samples=0), 'max_samples=0, expected an integer of 1'),
            (plain, dict(options={'modle.type': 'x'}), 'modle'), (plain[:1], {}, 'names no trained weights'),
            ([str(tmp_path / 'bare.py')], {}, r'bare\.py has no model.*config of a classifier, or of a distil')):
        with pytest.raises(ConfigError, match=message):
            find_subject(*given, **settings)
    with pytest.raises(FileNotFoundError, match=r'not\.pth'):
        find_subject(plain[0], str(tmp_path / 'not.pth'))
    model = digits_classifier(8)
    model['head']['num_classes'] = 7
    torch.save(build(model).state_dict(), tmp_path / 'seven.pth')
    with pytest.raises(CheckpointError, match='another number of classes'):
        find_subject(plain[0], str(tmp_path / 'seven.pth'))
    with pytest.raises(ConfigError, match='gives 7 classes and the data set has 10'):
        find_subject(dumped(run_cfg(tmp_path / 'run', model), tmp_path / 'seven.py'), str(tmp_path / 'seven.pth'))
    torch.save(dict(state_dict=torch.load(plain[1]), meta=dict(dataset_meta=dict(classes=tuple('0213456789')))),
               tmp_path / 'other.pth')
    with pytest.raises(ConfigError, match=r"in another order.*from class 1 on \(\['2'\] and \['1'\]\).*class_map"):
        find_subject(plain[0], str(tmp_path / 'other.pth'))


def test_other_targets_than_one_known_class_are_rejected_with_their_place_and_what_to_do(plain, monkeypatch):
    def check(dataset, n=4):
        images.check_labels(KeyedDataset(dataset), [SampleKey(0, 0, place) for place in range(n)])

    def digits(**label):
        data = Digits(num_samples=40, pipeline=PACK)
        if label:
            data.get_data_info = lambda index: {**label, 'img': np.zeros((8, 8, 1), np.uint8)}
        return data

    check(digits())
    check(FewLabels(digits(), num_labels=10, rest=False))
    for dataset, n, message in (
            (FewLabels(digits(), num_labels=10), 40, 'images of FewLabels: 30 of 40 labels are hidden'),
            (Companions(digits()), 4, r'Companions gives probabilities .*Use another split, or .*'
                                      r'configs/baselines/resnet18-w16_digits\.py CHECKPOINT'),
            (digits(gt_label=[1, 2]), 4, 'Digits gives probabilities or several classes'),
            (digits(other=1), 4, 'Digits has no labels to compare soft labels with')):
        with pytest.raises(ConfigError, match=message):
            check(dataset, n)

    subject = find_subject(*plain, options={'test_dataloader.batch_size': 8})
    whole = type(subject.dataset).__getitem__
    for places, label, message in ((range(17, 20), -100, 'images from 16 on: 3 of 4 labels are hidden'),
                                   ([3], [3, 4], 'images from 0 on: a sample has another target than one class')):
        def changed(self, key, places=places, label=label):
            data = whole(self, key)
            if key.index in places:
                data['data_samples'].set_gt_label(label)
            return data
        monkeypatch.setattr(type(subject.dataset), '__getitem__', changed)
        with pytest.raises(RunError, match=message):
            list(subject.batches())


def test_the_loader_of_a_split_is_found_with_the_files_of_it_alone_else_another_that_exists_is_suggested(tmp_path):
    for without, split, other in ((NO_TEST, 'test', 'train'), (NO_TRAIN, 'train', 'test')):
        cfg = run_cfg(tmp_path / 'run', digits_classifier(8), **without)
        with pytest.raises(ConfigError, match=f'no {split}_dataloader with a .*Use --split {other}, or add one'):
            find_loader(cfg, split)
        cfg.update({**NO_TEST, **NO_TRAIN})
        with pytest.raises(ConfigError, match=r'no images\. Add one\.$'):
            find_loader(cfg, split)
    cfg = run_cfg(tmp_path / 'run', classifier(num_classes=2))
    for split in ('train', 'val', 'test'):
        cfg[f'{split}_dataloader'].dataset = dict(type='CustomDataset', data_root=str(tmp_path / split))
    (tmp_path / 'test').mkdir()
    assert find_loader(cfg, 'test').dataset.data_root == str(tmp_path / 'test')
    with pytest.raises(ConfigError, match=r'train_dataloader.*train does not exist'):
        find_loader(cfg, 'train')
    cfg.test_dataloader = None
    with pytest.raises(ConfigError, match=r'val_dataloader.*val does not exist'):
        find_loader(cfg, 'test')
    for split, name, value, least in (('val', 'batch_size', -1, 1), ('train', 'num_workers', -1, 0)):
        (tmp_path / split).mkdir()
        assert find_loader(cfg, 'test' if split == 'val' else split).dataset.data_root == str(tmp_path / split)
        cfg[f'{split}_dataloader'][name] = value
        with pytest.raises(ConfigError, match=rf'{split}_dataloader\.{name}={value}, expected an integer of {least}'):
            find_loader(cfg, 'test' if split == 'val' else split)


def test_a_data_set_has_images_and_keys_once_and_a_device_that_does_not_work_is_rejected():
    assert (images.find_device('cpu'), images.find_device(None)) == ('cpu', get_device())
    for name in ('cudaa', f'cuda:{torch.cuda.device_count()}'):
        with pytest.raises(ConfigError, match=rf'device={name!r} cannot be used here .*expected one of cpu\b'):
            images.find_device(name)
    for cfg in (DIGITS, dict(type='wsld_plugin.KeyedDataset', dataset=DIGITS)):
        dataset = build_dataset(cfg)
        assert isinstance(dataset, KeyedDataset)
        assert not isinstance(dataset.dataset, KeyedDataset)
        assert len(dataset) == 20
    empty = {**DIGITS, 'indices': []}
    for cfg in (empty, dict(type='wsld_plugin.KeyedDataset', dataset=empty)):
        with pytest.raises(ConfigError, match=f"data set {cfg['type']} has no images: check its indices"):
            build_dataset(Config(cfg)._cfg_dict)

    class Broken:
        def __init__(self):
            raise ValueError('its own')
    with pytest.raises(ValueError, match='its own'):
        build_dataset(dict(type=Broken))
