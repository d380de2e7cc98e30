from types import SimpleNamespace

import pytest
from factories import build, digits_classifier, digits_distillation, run_cfg
from mmengine.registry import DATASETS

from wsld_plugin.engine.splits import check_splits
from wsld_plugin.engine.training import train
from wsld_plugin.errors import ConfigError

PARTIAL, FEW = dict(type='wsld_plugin.PartialLabels'), dict(type='wsld_plugin.FewLabels', num_labels=10)
DIGITS = dict(type='wsld_plugin.Digits', num_samples=20, pipeline=[dict(type='mmpretrain.PackInputs')])


@pytest.fixture(scope='module')
def model():
    return build(digits_classifier())


def check(model, train=DIGITS, val=DIGITS, test=DIGITS):
    """Check a run without the parts that the check does not read."""
    loaders = {f'{split}_dataloader': SimpleNamespace(dataset=DATASETS.build(dataset))
               for split, dataset in dict(train=train, val=val, test=test).items() if dataset}
    loops = dict(_train_loop=train, _val_loop=val, _test_loop=test)
    check_splits(SimpleNamespace(model=model, **loaders, **loops), 'train', 'val', 'test')


@pytest.mark.parametrize(('split', 'weak'), [('val', PARTIAL), ('test', FEW)])
def test_hidden_labels_cannot_be_measured_on_but_other_weak_labels_can(model, split, weak):
    nested = dict(type='ConcatDataset', datasets=[dict(weak, dataset=DIGITS)])
    with pytest.raises(ConfigError, match=f'^{split}_dataloader: {weak["type"][12:]} hides labels.*labelled images'):
        check(model, **{split: nested})
    check(model, val=dict(FEW, rest=False, dataset=DIGITS),
          test=dict(type='wsld_plugin.NoisyLabels', rate=0.1, dataset=DIGITS))


def test_a_loss_of_labels_that_are_all_hidden_is_rejected(tmp_path, model):
    hidden = dict(PARTIAL, dataset=DIGITS)
    with pytest.raises(ConfigError, match=r'PartialLabels hides every label.*hard_weight=0\.0'):
        check(model, train=hidden)
    check(model, train=dict(FEW, dataset=DIGITS))
    check(build(digits_distillation(hard_weight=0.0)), train=hidden)
    cfg = run_cfg(tmp_path, digits_distillation())
    cfg.train_dataloader.dataset = hidden
    with pytest.raises(ConfigError, match=r'PartialLabels hides every label.*hard_weight=0\.0'):
        train(cfg)


def test_the_classifier_and_all_splits_that_a_run_has_agree_on_the_classes(model):
    nine = digits_classifier()
    nine['head']['num_classes'] = 9
    for each in (nine, digits_distillation(architecture=nine, teacher=nine)):
        with pytest.raises(ConfigError, match=r'train_dataloader has 10 classes, .* 9: write head=.*=10'):
            check(build(each))
    for classes, difference in (('9876543210', 'the same names in another order'), ('012345678x', '9, x')):
        with pytest.raises(ConfigError, match=f'train_.* and val_dataloader have different classes: {difference}'):
            check(model, val=dict(DIGITS, metainfo=dict(classes=list(classes))))
    check(model, val=None, test=None)
