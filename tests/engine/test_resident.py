"""Training configs with resident data: what is in the config, and what is learnt from them."""
from pathlib import Path

import numpy as np
import pytest
import torch
from factories import RGB, classifier, digits_classifier, distillation, run_cfg
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope
from packs import AUGMENTED, recorded
from processes import tool

from wsld_plugin.config.check import check_config
from wsld_plugin.datasets import SampleKey
from wsld_plugin.datasets.keyed import key_training_set
from wsld_plugin.datasets.packing import Source, pack
from wsld_plugin.engine.resident import use_resident_data
from wsld_plugin.engine.training import train, training_config
from wsld_plugin.errors import ConfigError

CROP_AND_FLIP = [*AUGMENTED[:2], AUGMENTED[-1]]
ROTATED = [*AUGMENTED[:2], dict(type='mmpretrain.NumpyToPIL'),
           dict(type='mmpretrain.torchvision/RandomRotation', degrees=15), dict(type='mmpretrain.PILToNumpy'),
           AUGMENTED[-1]]
CONFIGS = Path(__file__).parents[2] / 'configs'


def coloured(n, seed):
    """Images of four classes, each with its own mean colour, under noise."""
    random = np.random.default_rng(seed)
    colours = np.array([[90, 128, 128], [166, 128, 128], [128, 90, 128], [128, 166, 128]])
    labels = np.arange(n) % 4
    noise = random.normal(0, 60, (n, 8, 8, 3))
    images = np.clip(colours[labels][:, None, None] + noise, 0, 255).astype(np.uint8)
    return Source(['a', 'b', 'c', 'd'], n, zip(images, labels.tolist(), strict=True))


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    out = tmp_path_factory.mktemp('data') / 'pack'
    pack(out, dict(train=coloured(96, 0), test=coloured(200, 1)))
    return out


def packed_cfg(work_dir, root, model=None, pipeline=CROP_AND_FLIP, **overrides):
    """As configs of packed data are written, with workers, 96 images, six iterations an epoch."""
    def loader(split, pipeline, shuffle):
        return dict(batch_size=16, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=shuffle),
                    collate_fn=dict(type='default_collate'),
                    dataset=dict(type='wsld_plugin.PackedDataset', data_root=str(root), split=split,
                                 pipeline=pipeline))
    return run_cfg(work_dir, model or classifier(4, data_preprocessor=RGB),
                   **{**dict(train_dataloader=loader('train', pipeline, True),
                             val_dataloader=loader('test', pipeline[-1:], False), test_dataloader=None,
                             test_cfg=None, test_evaluator=None), **overrides})


def resident(cfg):
    key_training_set(cfg)
    use_resident_data(cfg)
    return cfg


def usual(cfg):
    key_training_set(cfg)
    return cfg


def weights(runner):
    return {name: value.clone() for name, value in runner.model.state_dict().items()}


def same(first, second):
    """To the last bit; a GPU adds in a varying order."""
    tolerance = 1e-3 if torch.cuda.is_available() else 0
    return all(torch.allclose(first[name], second[name], rtol=tolerance, atol=tolerance) for name in first)


def test_only_how_the_training_set_is_loaded_changes(tmp_path, root):
    plain = packed_cfg(tmp_path, root)
    plain.train_dataloader.update(num_workers=4, persistent_workers=True, prefetch_factor=3, pin_memory=True,
                                  drop_last=True)
    cfg = resident(Config(plain.to_dict()))
    loader, before = cfg.train_dataloader, plain.train_dataloader
    assert loader.dataset == dict(type='wsld_plugin.ResidentDataset', dataset=before.dataset)
    assert loader.sampler == dict(type='wsld_plugin.KeyedSampler', sampler=before.sampler)
    assert set(loader) == {'dataset', 'sampler', 'batch_size', 'drop_last', 'num_workers', 'collate_fn'}
    assert (loader.batch_size, loader.drop_last, loader.num_workers) == (16, True, 0)
    assert {key: cfg[key] for key in plain if key != 'train_dataloader'} == \
        {key: plain[key] for key in plain if key != 'train_dataloader'}
    check_config(cfg)


def test_doing_it_twice_or_to_a_saved_config_is_doing_it_once(tmp_path, root):
    cfg = resident(packed_cfg(tmp_path, root))
    again = resident(Config.fromstring(cfg.dump(), '.py'))
    assert again.train_dataloader == cfg.train_dataloader


def test_a_plain_config_is_keyed_first(tmp_path, root):
    cfg = packed_cfg(tmp_path, root)
    use_resident_data(cfg)
    assert cfg.train_dataloader == resident(packed_cfg(tmp_path, root)).train_dataloader


def test_a_loader_that_other_splits_share_stays_theirs(tmp_path, root):
    cfg = packed_cfg(tmp_path, root)
    cfg.val_dataloader = cfg.train_dataloader
    assert resident(cfg).val_dataloader.dataset.type == 'wsld_plugin.PackedDataset'


@pytest.mark.parametrize('name', ['RandomRotation', 'torchvision/RandomResizedCrop', 'LoadImageFromFile'])
def test_other_transforms_are_refused_before_anything_is_built(tmp_path, root, name):
    cfg = packed_cfg(tmp_path, root, pipeline=[dict(type=name), AUGMENTED[-1]])
    with pytest.raises(ConfigError, match=f'has {name}, which.*RandomCrop, RandomFlip, .*, PackInputs'):
        resident(cfg)


def test_cached_soft_labels_of_other_crops_are_refused(tmp_path, root):
    model = distillation(teacher=dict(type='wsld_plugin.CachedTeacher'))
    with pytest.raises(ConfigError, match='CachedTeacher belong to images that were augmented on the CPU'):
        use_resident_data(packed_cfg(tmp_path, root, model))


def test_cached_soft_labels_of_whole_images_are_taken(tmp_path, root):
    model = distillation(teacher=dict(type='wsld_plugin.CachedTeacher'))
    whole = [transform for transform in ROTATED if 'Random' not in transform['type']]
    cfg = packed_cfg(tmp_path, root, model, pipeline=whole)
    use_resident_data(cfg)
    assert cfg.train_dataloader.dataset.type == 'wsld_plugin.ResidentDataset'


@pytest.mark.parametrize('loader', [None, dict(batch_size=3), dict(dataset=[1, 2])])
def test_no_data_set_is_refused(loader):
    with pytest.raises(ConfigError, match=r'train_dataloader\.dataset is .*, expected the config'):
        use_resident_data(Config(dict(train_dataloader=loader)))


def test_the_same_weights_are_learnt_without_augmentation(tmp_path, root):
    runs = [train(change(packed_cfg(tmp_path / change.__name__, root, pipeline=AUGMENTED[-1:], epochs=1,
                                    model=distillation(architecture=classifier(4, data_preprocessor=RGB),
                                                       teacher=classifier(4, width=8)))))
            for change in (usual, resident)]
    assert same(weights(runs[0]), weights(runs[1]))


def test_the_digits_learn_the_same_weights(tmp_path):
    runs = [train(change(run_cfg(tmp_path / change.__name__, digits_classifier()))) for change in (usual, resident)]
    assert same(weights(runs[0]), weights(runs[1]))


@pytest.mark.parametrize('path', sorted((CONFIGS / '_base_/datasets').glob('cifar*.py')), ids=lambda path: path.stem)
def test_the_data_of_every_cifar_config_are_taken(path):
    cfg = Config.fromfile(path)
    pipeline = cfg.train_dataloader.dataset.pipeline
    use_resident_data(cfg)
    assert cfg.train_dataloader.dataset.dataset.pipeline == pipeline


def test_a_teacher_free_config_is_rotated_with_the_switch(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3), dtype=np.uint8)
    pack(tmp_path / 'pack', dict(train=Source([str(i) for i in range(100)], 24, ((img, 0) for img in images))))
    cfg = training_config(
        str(CONFIGS / 'tf_kd/lsr_resnet18_1xb128_cifar100.py'), work_dir=str(tmp_path / 'run'), validate=False,
        options={'accelerate.resident': True, 'train_dataloader.dataset.data_root': str(tmp_path / 'pack'),
                 'train_dataloader.batch_size': 8})
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        data = DATASETS.build({**cfg.train_dataloader.dataset, 'device': 'cpu'})
    for epoch in range(2):
        keys = [SampleKey(0, epoch, index) for index in range(24)]
        inputs = data.__getitems__(keys)['inputs']
        assert (inputs.shape, inputs.dtype) == ((24, 3, 32, 32), torch.uint8)
        # a crop alone fills whole rows and columns; a rotation also cuts the corners
        filled = (inputs == 0).all(1)
        corners = filled & ~filled.all(1, keepdim=True) & ~filled.all(2, keepdim=True)
        assert corners.flatten(1).any(1).sum() > 12


def test_augmented_training_is_as_accurate(tmp_path, root):
    model = classifier(4, data_preprocessor=RGB)
    model['backbone'] = dict(type='wsld_plugin.CifarResNet', depth=8, stem_channels=8, base_channels=8)

    def accuracy(change, seed):
        runner = train(change(packed_cfg(
            tmp_path / f'{change.__name__}{seed}', root, model, randomness=dict(seed=seed),
            train_cfg=dict(by_epoch=True, max_epochs=15, val_interval=15),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.02, momentum=0.9)))))
        return runner.message_hub.get_scalar('val/accuracy/top1').current()
    found = {change: [accuracy(change, seed) for seed in range(2)] for change in (usual, resident)}
    means = [np.mean(each) for each in found.values()]
    assert min(means) > 80  # 25 by chance
    assert abs(means[0] - means[1]) < 10  # one run has a standard deviation of 3
    assert found[usual] != found[resident]


@pytest.mark.parametrize('interval', [2, 4])
def test_resume_in_the_middle_of_an_epoch_is_exact(tmp_path, root, interval):
    def cfg(name, **more):
        made = packed_cfg(tmp_path / name, root, pipeline=ROTATED,
                          train_cfg=dict(by_epoch=False, max_iters=5, val_interval=5), **more)
        made.default_hooks.checkpoint = dict(type='wsld_plugin.CheckpointHook', interval=interval, by_epoch=False)
        return resident(made)
    whole = weights(train(cfg('whole')))
    resumed = train(cfg('resumed', resume=True, load_from=str(tmp_path / 'whole' / f'iter_{interval}.pth')))
    assert resumed.iter == 5
    assert same(weights(resumed), whole)


def test_resume_after_an_epoch_is_exact(tmp_path, root):
    whole = weights(train(resident(packed_cfg(tmp_path / 'run', root, epochs=3))))
    train(resident(packed_cfg(tmp_path / 'part', root, epochs=2)))
    checkpoint = tmp_path / 'part' / 'epoch_2.pth'
    resumed = train(resident(packed_cfg(tmp_path / 'part', root, epochs=3, resume=True, load_from=str(checkpoint))))
    assert same(weights(resumed), whole)


@pytest.mark.skipif(torch.cuda.is_available(), reason='would need two GPUs')
def test_two_ranks_train_on_the_pixels_of_one(tmp_path, root):
    cfg = packed_cfg(tmp_path / 'unused', root, pipeline=ROTATED,
                     custom_imports=dict(imports=['wsld_plugin', 'packs']),
                     custom_hooks=[dict(type='RecordPixels', folder=str(tmp_path / 'one'))])
    cfg.accelerate = dict(resident=True)
    path = tmp_path / 'small.py'
    cfg.dump(path)
    train(training_config(str(path), work_dir=str(tmp_path / 'alone')))
    tool('dist_train.sh', path, 2, '--work-dir', tmp_path / 'pair', '--cfg-options',
         f'custom_hooks.0.folder={tmp_path / "halves"}')
    assert len(list((tmp_path / 'halves').iterdir())) == 2
    one = recorded(tmp_path / 'one')
    assert recorded(tmp_path / 'halves') == one
    assert sorted(one) == [(epoch, index) for epoch in range(2) for index in range(96)]
    assert all(len(pixels) == 1 for pixels in one.values())
    assert any(one[0, index] != one[1, index] for index in range(96))
