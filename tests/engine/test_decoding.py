import copy
from types import ModuleType

import pytest
import torch
from jpegs import jpeg, picture
from mmcv.transforms import LoadImageFromFile
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import TRANSFORMS, DefaultScope
from mmpretrain.datasets import PackInputs, RandomResizedCrop

from wsld_plugin.config.check import check_config
from wsld_plugin.config.load import load_config
from wsld_plugin.datasets.keyed import key_training_set, seeded
from wsld_plugin.datasets.transforms import partial_decode
from wsld_plugin.engine.decoding import use_scaled_decoding

RESNET18 = 'mmpretrain::resnet/resnet18_8xb32_in1k.py'
LOAD, CROP = dict(type='LoadImageFromFile'), dict(type='RandomResizedCrop', scale=224)
FLIP, PACK = dict(type='RandomFlip', prob=0.5, direction='horizontal'), dict(type='PackInputs')


@pytest.fixture(params=['with simplejpeg', 'without'])
def library(request, monkeypatch):
    found = ModuleType('simplejpeg') if request.param == 'with simplejpeg' else None
    monkeypatch.setattr(partial_decode, 'SIMPLEJPEG', found)
    return found


def config(*pipeline, **dataset):
    return Config(dict(default_scope='mmpretrain', train_dataloader=dict(
        batch_size=2, dataset=dict(type='CustomDataset', data_root='none', pipeline=list(pipeline), **dataset))))


def kinds(pipeline):
    return [transform['type'] for transform in pipeline]


def test_mmpretrains_resnet18_decodes_what_the_crop_needs_and_is_a_config_as_before(library):
    cfg = load_config(RESNET18)
    before = copy.deepcopy(cfg)
    lines = use_scaled_decoding(cfg)
    assert cfg.train_dataloader.dataset.pipeline == [
        dict(type='wsld_plugin.LoadRandomResizedCrop', scale=224, scaled=True), FLIP,
        dict(type='wsld_plugin.PackPlanes')]
    assert len(lines) == 1
    assert lines[0].startswith('train_dataloader.dataset: JPEGs are decoded ')
    assert 'at 1/2 or 1/4 where' in lines[0]
    assert ('pip install simplejpeg' in lines[0]) == (library is None)
    check_config(cfg)
    assert (cfg.val_dataloader, cfg.test_dataloader) == (before.val_dataloader, before.test_dataloader)
    again = use_scaled_decoding(cfg)
    assert again == ['train_dataloader.dataset: left as it is: it has no LoadImageFromFile.']


@pytest.mark.parametrize('exact', [True, False])
def test_a_rewritten_pipeline_gives_what_it_gave(tmp_path, exact):
    if exact:
        pytest.importorskip('simplejpeg')
    path = tmp_path / 'a.jpg'
    path.write_bytes(jpeg(picture(375, 500)))  # no side for 1/2
    cfg = load_config(RESNET18)
    before = cfg.train_dataloader.dataset.pipeline
    use_scaled_decoding(cfg, exact)
    found, expected = [], []
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        for samples, pipeline in ((expected, before), (found, cfg.train_dataloader.dataset.pipeline)):
            compose = Compose([TRANSFORMS.build(transform) for transform in pipeline])
            for epoch in range(6):
                with seeded('sample', 0, epoch, 0):
                    samples.append(compose(dict(img_path=str(path), gt_label=2)))
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one['inputs'], other['inputs'])
        assert one['data_samples'].metainfo == other['data_samples'].metainfo


def test_what_the_two_transforms_were_told_is_kept(library):
    backend = dict(backend='local')
    crop = dict(CROP, type='mmpretrain.RandomResizedCrop', interpolation='bicubic', backend='pillow')
    cfg = config(dict(LOAD, backend_args=backend, color_type='color'), crop, FLIP, dict(PACK, meta_keys=('flip',)))
    use_scaled_decoding(cfg)
    first, _, last = cfg.train_dataloader.dataset.pipeline
    assert first == dict(type='wsld_plugin.LoadRandomResizedCrop', scaled=True, scale=224, interpolation='bicubic',
                         backend='pillow', backend_args=backend)
    assert last == dict(type='wsld_plugin.PackPlanes', meta_keys=('flip',))


def test_classes_may_stand_for_names(library):
    cfg = config(dict(type=LoadImageFromFile), dict(CROP, type=RandomResizedCrop), dict(type=PackInputs))
    use_scaled_decoding(cfg)
    assert kinds(cfg.train_dataloader.dataset.pipeline) == ['wsld_plugin.LoadRandomResizedCrop',
                                                            'wsld_plugin.PackPlanes']


@pytest.mark.parametrize(('pipeline', 'reason'), [
    ([LOAD, dict(type='ResizeEdge', scale=256), CROP, PACK],
     'between LoadImageFromFile and RandomResizedCrop stands ResizeEdge'),
    ([FLIP, PACK], 'it has no LoadImageFromFile'),
    ([LOAD, dict(CROP, type='EfficientNetRandomCrop')], "it has no RandomResizedCrop of mmpretrain's"),
    ([LOAD, dict(type='torchvision/RandomResizedCrop', size=224)], "it has no RandomResizedCrop of mmpretrain's"),
    ([CROP, LOAD, PACK], 'RandomResizedCrop stands before LoadImageFromFile'),
    ([dict(LOAD, color_type='grayscale', to_float32=False), CROP, PACK],
     "LoadImageFromFile has color_type='grayscale'"),
    ([dict(LOAD, imdecode_backend='pillow', ignore_empty=True), CROP],
     "LoadImageFromFile has imdecode_backend='pillow', ignore_empty=True")])
def test_other_pipelines_are_left_as_they_are_with_the_reason(library, pipeline, reason):
    cfg = config(*pipeline)
    before = copy.deepcopy(cfg)
    assert use_scaled_decoding(cfg) == [f'train_dataloader.dataset: left as it is: {reason}.']
    assert cfg.to_dict() == before.to_dict()


def test_a_config_without_a_pipeline_is_told_so():
    for cfg in (Config(dict(model=dict())), Config(dict(train_dataloader=dict(dataset=dict(type='Digits'))))):
        assert use_scaled_decoding(cfg) == ['train_dataloader: no data set in it has a pipeline, so nothing is '
                                            'decoded.']


def test_data_sets_inside_others_are_found(library):
    cfg = config(LOAD, CROP, PACK)
    inner = cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=2, dataset=dict(
        type='ConcatDataset', datasets=[inner, dict(inner, pipeline=[LOAD, PACK])]))
    key_training_set(cfg)
    first, second = use_scaled_decoding(cfg)
    where = 'train_dataloader.dataset.dataset.dataset.datasets'
    assert first.startswith(f'{where}.0: JPEGs')
    assert second.startswith(f"{where}.1: left as it is: it has no RandomResizedCrop of mmpretrain's")
    one, other = cfg.train_dataloader.dataset.dataset.dataset.datasets
    assert kinds(one.pipeline) == ['wsld_plugin.LoadRandomResizedCrop', 'wsld_plugin.PackPlanes']
    assert kinds(other.pipeline) == ['LoadImageFromFile', 'PackInputs']


def test_a_validation_loader_that_is_the_same_dict_stays():
    cfg = config(LOAD, CROP, PACK)
    loader = cfg.train_dataloader
    cfg._cfg_dict.__setitem__('val_dataloader', loader)
    assert cfg.val_dataloader is cfg.train_dataloader
    use_scaled_decoding(cfg)
    assert kinds(cfg.val_dataloader.dataset.pipeline) == ['LoadImageFromFile', 'RandomResizedCrop', 'PackInputs']
    assert kinds(cfg.train_dataloader.dataset.pipeline)[0] == 'wsld_plugin.LoadRandomResizedCrop'


def test_the_same_pixels_are_only_asked_for_where_they_save_time(library):
    cfg = config(LOAD, CROP, PACK)
    line, = use_scaled_decoding(cfg, exact=True)
    if library is None:
        assert line.endswith('left as it is: without simplejpeg (pip install simplejpeg) the same pixels take the '
                             'same time.')
        assert cfg.to_dict() == config(LOAD, CROP, PACK).to_dict()
    else:
        assert line == 'train_dataloader.dataset: JPEGs are decoded no further down than the crop.'
        assert cfg.train_dataloader.dataset.pipeline[0].scaled is False
