import json
import math
import pickle
import re
from collections import OrderedDict

import pytest
import torch
from factories import build, classifier, distillation
from mmengine.model import ExponentialMovingAverage
from safetensors.torch import save_file
from torch.nn.parallel import DataParallel
from torchvision.models import resnet18

from wsld_plugin.config.models import build_model
from wsld_plugin.errors import CheckpointError
from wsld_plugin.models.checkpoint import classifier_state, load_classifier


@pytest.fixture(scope='module')
def trained():
    return build(classifier())


def saved(tmp_path, content):
    path = tmp_path / 'weights.pth'
    torch.save(content, path)
    return str(path)


def distilled(student):
    model = build(distillation(architecture=classifier()))
    model.student.load_state_dict(student.state_dict())
    state = model.state_dict()
    state.update({f'teacher.{name}': value for name, value in model.teacher.state_dict().items()})  # as MMRazor does
    return state


@pytest.mark.parametrize(('wrap', 'words'), [
    (lambda m: m.state_dict(), 'plain mmpretrain weights'),
    (lambda m: dict(meta=dict(epoch=3), state_dict=m.state_dict()), 'plain mmpretrain weights'),
    (lambda m: dict(model=m.state_dict()), 'plain mmpretrain weights'),
    (lambda m: dict(state_dict=DataParallel(m).state_dict()), 'data-parallel prefix'),
    (lambda m: dict(ema_state_dict=ExponentialMovingAverage(m).state_dict()), 'averaged weights'),
    (lambda m: dict(state_dict={f'ema_model.{k}': v for k, v in m.state_dict().items()}), 'EMA prefix'),
    (lambda m: dict(state_dict={**m.state_dict(), 'ema_backbone_conv1_weight': torch.zeros(1)}), 'plain'),
    (lambda m: dict(state_dict={f'module.{k}': v for k, v in distilled(m).items()}), 'data-parallel.*distillation'),
])
def test_every_form_of_checkpoint_gives_the_same_weights_and_is_named(tmp_path, trained, wrap, words):
    model, content = build(classifier()), wrap(trained)
    assert load_classifier(model, saved(tmp_path, content), role='teacher') == content.get('meta', {})
    for name, value in trained.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
    _, notes = classifier_state(content)
    assert re.search(words, ', '.join(notes) or 'plain mmpretrain weights')


def test_torchvisions_resnet_gives_torchvisions_logits(tmp_path):
    theirs = resnet18(num_classes=10).eval()
    ours = build_model(dict(cfg_path='mmpretrain::resnet/resnet18_8xb32_in1k.py',
                            head=dict(num_classes=10, topk=(1, )))).eval()
    load_classifier(ours, saved(tmp_path, theirs.state_dict()))
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(images, mode='tensor'), theirs(images))


def test_missing_and_unexpected_tensors_are_named(tmp_path, trained):
    state = OrderedDict(trained.state_dict())
    state['neck.extra'] = state.pop('head.fc.bias')
    with pytest.raises(CheckpointError, match=r'(?s)1 missing: head\.fc\.bias.*unexpected: neck'):
        load_classifier(build(classifier()), saved(tmp_path, state), role='teacher')


def test_for_another_class_count_the_message_says_what_to_write(tmp_path, trained):
    with pytest.raises(CheckpointError, match=r'(?s)size mismatch for head\.fc.*num_classes=5\).*LogitConnector'):
        load_classifier(build(classifier(num_classes=9)), saved(tmp_path, trained.state_dict()))


def test_another_architecture_is_rejected(tmp_path):
    with pytest.raises(CheckpointError, match='size mismatch') as rejected:
        load_classifier(build(classifier()), saved(tmp_path, build(classifier(width=8)).state_dict()))
    assert 'number of classes' not in str(rejected.value)


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_a_missing_file_is_named_with_the_nearest(tmp_path, suffix):
    (tmp_path / f'weights{suffix}').touch()
    with pytest.raises(FileNotFoundError, match=rf"^teacher checkpoint: .*wieghts{suffix}\. Did you mean 'weights"):
        load_classifier(build(classifier()), str(tmp_path / f'wieghts{suffix}'), role='teacher')
    with pytest.raises(FileNotFoundError, match='is a folder, not a checkpoint'):
        load_classifier(build(classifier()), str(tmp_path))


@pytest.mark.parametrize(('value', 'dtype'), [(math.nan, torch.float32), (-math.inf, torch.bfloat16)])
def test_weights_that_are_not_finite_are_rejected_with_their_names_and_number(tmp_path, trained, value, dtype):
    state = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor
             for name, tensor in trained.state_dict().items()}
    for name in ('head.fc.bias', 'backbone.conv1.weight'):
        state[name] = state[name].index_fill(0, torch.tensor([1]), value)
    model = build(classifier())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=rf'teacher .*: 2 of {len(state)} tensors hold NaN or infinity: '
                                              r'backbone\.conv1\.weight, head\.fc\.bias\. .*earlier checkpoint'):
        load_classifier(model, saved(tmp_path, state), role='teacher')
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_file_without_weights_is_rejected(tmp_path, trained):
    for content in (dict(meta={}), [1, 2], dict(state_dict={})):
        with pytest.raises(CheckpointError, match='expected'):
            load_classifier(trained, saved(tmp_path, content))


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
def test_a_safetensors_file_gives_its_weights_and_metadata(tmp_path, trained, dtype):
    path, meta = tmp_path / 'weights.safetensors', dict(epoch=3, dataset_meta=dict(classes=['a', 'b']))
    state = {f'module.{name}': value.to(dtype) if value.is_floating_point() else value
             for name, value in trained.state_dict().items()}
    save_file(state, path, metadata=dict({key: json.dumps(value) for key, value in meta.items()}, format='pt'))
    model = build(classifier())
    assert load_classifier(model, str(path)) == dict(meta, format='pt')
    for name, value in model.state_dict().items():
        assert value.dtype == trained.state_dict()[name].dtype
        assert torch.equal(value, state[f'module.{name}'].to(value.dtype)), name


def test_a_damaged_safetensors_file_is_named(tmp_path, trained):
    path = tmp_path / 'weights.safetensors'
    save_file(trained.state_dict(), path)
    whole = path.read_bytes()
    for damaged in (whole[:-2000], whole[:20], b'', b'\xff' * 8 + whole[8:], pickle.dumps({})):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r'teacher .*weights\.safetensors \([\d,]+ bytes\) cannot be read'):
            load_classifier(trained, str(path), role='teacher')


def test_a_url_of_a_safetensors_file_is_not_downloaded():
    with pytest.raises(CheckpointError, match=r'https://example\.org/w\.safetensors is a URL: download it'):
        load_classifier(build(classifier()), 'https://example.org/w.safetensors')
