import pytest
from factories import classifier, digits_classifier, digits_distillation, run_cfg
from mmengine.registry import RUNNERS

from wsld_plugin.engine.splits import check_splits
from wsld_plugin.errors import ConfigError

PARTIAL, FEW = dict(type='wsld_plugin.PartialLabels'), dict(type='wsld_plugin.FewLabels', num_labels=10)
NOISY = dict(type='wsld_plugin.NoisyLabels', rate=0.1)


def runner(tmp_path, model=None, **wrappers):
    """A run whose data set of a split is inside a wrapper."""
    cfg = run_cfg(tmp_path, model or digits_classifier())
    for split, wrapper in wrappers.items():
        loader = cfg[f'{split}_dataloader']
        loader.dataset = dict(wrapper, dataset=loader.dataset)
    return RUNNERS.build(cfg)


def check(tmp_path, model=None, **wrappers):
    check_splits(runner(tmp_path, model, **wrappers), 'train', 'val', 'test')


@pytest.mark.parametrize('split', ['val', 'test'])
@pytest.mark.parametrize('weak', [PARTIAL, FEW])
def test_hidden_labels_cannot_be_measured_on(tmp_path, split, weak):
    nested = dict(type='ConcatDataset', datasets=[dict(weak, dataset=dict(
        type='wsld_plugin.Digits', split='test', num_samples=20, pipeline=[dict(type='mmpretrain.PackInputs')]))])
    cfg = run_cfg(tmp_path, digits_classifier())
    cfg[f'{split}_dataloader'].dataset = nested
    built = RUNNERS.build(cfg)
    with pytest.raises(ConfigError, match=f'^{split}_dataloader: {weak["type"][12:]} hides labels.*labelled images'):
        check_splits(built, split)
    check_splits(built, 'train')


def test_other_weak_labels_can_be_measured_on(tmp_path):
    check(tmp_path, val=dict(FEW, rest=False), test=NOISY)


def test_a_loss_of_labels_that_are_all_hidden_is_rejected(tmp_path):
    for model in (digits_distillation(), digits_classifier()):
        with pytest.raises(ConfigError, match=r'PartialLabels hides every label.*hard_weight=0\.0'):
            check(tmp_path, model, train=PARTIAL)
        check(tmp_path, model, train=FEW)
    check(tmp_path, digits_distillation(hard_weight=0.0), train=PARTIAL)


def test_the_classifier_has_as_many_classes_as_the_data(tmp_path):
    model = digits_classifier()
    model['head']['num_classes'] = 9
    for each in (model, digits_distillation(architecture=model, teacher=model)):
        with pytest.raises(ConfigError, match=r'train_dataloader has 10 classes, .* 9: write head=.*=10'):
            check(tmp_path, each)


@pytest.mark.parametrize(('classes', 'difference'), [('9876543210', 'the same names in another order'),
                                                     ('012345678x', '9, x')])
def test_the_splits_have_the_same_list_of_classes(tmp_path, classes, difference):
    cfg = run_cfg(tmp_path, digits_classifier())
    cfg.val_dataloader.dataset.metainfo = dict(classes=list(classes))
    with pytest.raises(ConfigError, match=f'train_.* and val_dataloader have different classes: {difference}'):
        check_splits(RUNNERS.build(cfg), 'train', 'val')


def test_splits_that_a_run_does_not_have_are_skipped(tmp_path):
    cfg = run_cfg(tmp_path, classifier(10))
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    check_splits(RUNNERS.build(cfg), 'val')
