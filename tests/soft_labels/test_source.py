"""The logits that are cached are those that a distillation would have used."""
import pytest
import torch
from caches import AUGMENTED, cached_cfg, live_cfg, teacher_file
from mmengine.registry import DATASETS, MODELS, DefaultScope

from wsld_plugin.datasets import SampleKey
from wsld_plugin.datasets.keyed import key_training_set
from wsld_plugin.errors import CheckpointError, ConfigError
from wsld_plugin.soft_labels.settings import preprocessor_config
from wsld_plugin.soft_labels.source import LiveTeacher, Source

KEYS = [SampleKey(0, view, index) for view, index in ((0, 3), (1, 3), (0, 17), (2, 39), (1, 0))]


def source_of(cfg, **loader):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        default = preprocessor_config(cfg)
        preprocessor = MODELS.build({'_scope_': 'mmpretrain', **default})
        teacher = LiveTeacher(cfg.model.teacher.model, cfg.model.teacher.checkpoint,
                              cfg.model.teacher.get('class_map'), preprocessor, default)
        return Source(DATASETS.build(cfg.train_dataloader.dataset), {**cfg.train_dataloader, **loader},
                      preprocessor, teacher, 'cpu')


def logits_of(source, keys=KEYS):
    logits, labels = zip(*source(keys), strict=True)
    return torch.cat(logits), torch.cat(labels)


@pytest.mark.parametrize('collate', ['pseudo_collate', 'default_collate'])
@pytest.mark.parametrize('class_map', [None, [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]])
def test_they_are_those_of_the_teacher_in_training(tmp_path, class_map, collate):
    live = live_cfg(tmp_path, pipeline=AUGMENTED)
    live.model.teacher.data_preprocessor = dict(mean=[10.0], std=[20.0])
    live.model.distiller.connectors.teacher_logits.class_map = class_map
    key_training_set(live)
    algorithm, dataset = MODELS.build(live.model), DATASETS.build(live.train_dataloader.dataset)
    samples = [dataset[key] for key in KEYS]
    data = algorithm.data_preprocessor(dict(inputs=[each['inputs'] for each in samples],
                                            data_samples=[each['data_samples'] for each in samples]))
    expected = algorithm.eval().teacher_logits(**data)

    cfg = cached_cfg(tmp_path, pipeline=AUGMENTED, teacher=dict(class_map=class_map))
    cfg.model.teacher.model.data_preprocessor = dict(mean=[10.0], std=[20.0])
    source = source_of(cfg, batch_size=2, collate_fn=dict(type=collate))
    logits, labels = logits_of(source)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
    assert labels.tolist() == [int(each['data_samples'].gt_label) for each in samples]
    assert (logits[0] - logits[1]).abs().max() > 0.1, 'the views of one sample are alike'


def test_they_do_not_depend_on_batch_workers_or_the_random_state_and_leave_it(tmp_path):
    cfg = cached_cfg(tmp_path, pipeline=AUGMENTED)
    expected, _ = logits_of(source_of(cfg, batch_size=1))
    before = torch.get_rng_state()
    source = source_of(cfg, batch_size=5, num_workers=1)
    torch.testing.assert_close(logits_of(source)[0], expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(torch.get_rng_state(), before)


def test_batch_augmentation_of_the_student_is_not_applied(tmp_path):
    cfg = cached_cfg(tmp_path)
    expected, _ = logits_of(source_of(cfg))
    cfg.model.architecture.data_preprocessor.batch_augments = dict(augments=[dict(type='Mixup', alpha=1.0)])
    assert torch.equal(logits_of(source_of(cfg))[0], expected)


def test_the_hash_of_the_weights_is_that_of_their_values_whatever_the_file(tmp_path):
    cfg = cached_cfg(tmp_path)
    first = source_of(cfg).teacher
    state = {key: value.clone() for key, value in first.model.state_dict().items()}
    torch.save(dict(state_dict={f'module.{key}': value for key, value in state.items()}), tmp_path / 'other.pth')
    cfg.model.teacher.checkpoint = str(tmp_path / 'other.pth')
    assert source_of(cfg).teacher.weights_hash() == first.weights_hash()
    state['head.fc.bias'][3] += 1e-6
    torch.save(state, tmp_path / 'other.pth')
    assert source_of(cfg).teacher.weights_hash() != first.weights_hash()


def test_a_teacher_that_does_not_fit_is_refused(tmp_path):
    cfg = cached_cfg(tmp_path)
    teacher_file(tmp_path / 'teacher.pth', width=4)
    with pytest.raises(CheckpointError, match='does not fit'):
        source_of(cfg)
    cfg.model.teacher.model.head = dict(type='MultiLabelLinearClsHead', num_classes=10, in_channels=64)
    cfg.model.teacher.checkpoint = False
    with pytest.raises(ConfigError, match='independent sigmoids'):
        source_of(cfg)


def test_a_target_that_is_not_one_class_is_refused(tmp_path):
    source = source_of(cached_cfg(tmp_path))
    samples = [source.dataset[key] for key in KEYS]
    for sample in samples:
        sample['data_samples'].set_gt_score(torch.full((10, ), .1))
    source.dataset = dict(enumerate(samples))
    with pytest.raises(ValueError, match='another target than one class'):
        next(source(range(2)))
