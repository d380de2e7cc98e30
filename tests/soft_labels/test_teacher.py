import copy

import pytest
import torch
from caches import random_cache, random_records
from factories import build, distillation, distiller
from mmpretrain.structures import DataSample
from torch.nn import functional as F

from wsld_plugin.datasets import SampleKey
from wsld_plugin.errors import ConfigError
from wsld_plugin.soft_labels import CachedTeacher
from wsld_plugin.soft_labels.store import decode, to_tensors

KEYS = [SampleKey(0, 2, 4), SampleKey(0, 0, 0), SampleKey(0, 1, 3)]


def samples(keys=KEYS):
    found = [DataSample().set_gt_label(key.index) for key in keys]
    for sample, key in zip(found, keys, strict=True):
        sample.set_field(key, 'sample_key', field_type='metainfo')
    return found


@pytest.fixture(params=[{}, dict(top_k=3, tau=2.0)])
def teacher(request, tmp_path):
    found = CachedTeacher(views=3, **{key: value for key, value in request.param.items() if key == 'top_k'})
    found.open(random_cache(tmp_path, **request.param))
    return found


def test_the_head_returns_the_logits_of_the_keys_and_teacher_ce_their_cross_entropy(teacher):
    recorded = {}
    for name in ('head', 'teacher_ce'):
        getattr(teacher, name).register_forward_hook(lambda _, given, out, name=name: recorded.update({name: out}))
    logits = teacher(torch.zeros(3, 1, 8, 8), samples())
    records = random_records(teacher.labels.header).reshape(3, 5)[[2, 0, 1], [4, 0, 3]]
    assert torch.equal(logits, decode(to_tensors(records, 'cpu'), 7, teacher.labels.header.tau))
    assert recorded['head'] is logits
    assert recorded['teacher_ce'].tolist() == records['teacher_ce'].tolist()
    assert (logits.dtype, logits.shape, recorded['teacher_ce'].shape) == (torch.float32, (3, 7), (3,))
    if teacher.labels.header.top_k is None:
        torch.testing.assert_close(F.cross_entropy(logits, torch.tensor([4, 0, 3]), reduction='none'),
                                   recorded['teacher_ce'], rtol=2e-3, atol=1e-4)


def test_it_has_no_weights_and_no_checkpoint(teacher):
    assert not list(teacher.parameters())
    assert not teacher.state_dict()
    with pytest.raises(ConfigError, match='a CachedTeacher has no weights'):
        build(distillation(teacher=dict(type='wsld_plugin.CachedTeacher'), teacher_ckpt='some.pth'))


def test_samples_without_a_key_are_refused(teacher):
    for given in (None, [DataSample().set_gt_label(1)]):
        with pytest.raises(ValueError, match=r'sample_key.*KeyedDataset'):
            teacher(torch.zeros(1, 1, 8, 8), given)


def test_it_serves_nothing_before_a_cache_is_opened_and_in_no_other_mode(teacher):
    with pytest.raises(ValueError, match=r'no soft labels yet: train with tools/train\.py'):
        CachedTeacher()(torch.zeros(3, 1, 8, 8), samples())
    with pytest.raises(NotImplementedError, match="mode='predict'"):
        teacher(torch.zeros(3, 1, 8, 8), samples(), mode='predict')


def test_a_copy_of_the_student_learns_from_the_same_cache(teacher):
    teaching = distiller()
    teaching['teacher_recorders']['teacher_ce'] = dict(type='mmrazor.ModuleOutputs', source='teacher_ce')
    teaching['loss_forward_mappings']['loss_soft']['teacher_ce'] = dict(recorder='teacher_ce', from_student=False)
    cfg = distillation(teacher=teacher, distiller=teaching)
    cfg['architecture']['head']['num_classes'] = 7
    model = build(cfg)
    twin = copy.deepcopy(model)
    losses = [each.loss(torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0)), samples())
              for each in (model, twin)]
    assert losses[0] == losses[1]
    assert twin.teacher is model.teacher
