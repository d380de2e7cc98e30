import json
import shutil
from types import SimpleNamespace

import pytest
from factories import build, digits_classifier, digits_distillation, run_cfg
from mmengine.registry import DATASETS
from PIL import Image

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
    class Run:
        """Builds a data set when its loader is first read, as a Runner does."""

        _train_loop, _val_loop, _test_loop = train, val, test

        def __getattr__(self, name):
            return SimpleNamespace(dataset=DATASETS.build(dict(train=train, val=val, test=test)[name.split('_')[0]]))
    run = Run()
    run.model = model
    check_splits(run, 'train', 'val', 'test')


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


@pytest.fixture
def folders(tmp_path):
    """Two images in each of the classes a and b, for training and validation."""
    for place in ('train/a', 'train/b', 'val/a', 'val/b'):
        (tmp_path / place).mkdir(parents=True)
        for name in ('0.png', '1.png'):
            Image.new('RGB', (8, 8)).save(tmp_path / place / name)
    return tmp_path


def of(root, split, **settings):
    return dict(type='mmpretrain.CustomDataset', data_root=str(root), data_prefix=split, **settings)


def annotate(root, text):
    (root / 'labels.txt').write_text(text)
    return dict(ann_file='labels.txt')


@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')  # mmengine leaves folders open
@pytest.mark.parametrize(('break_it', 'message'), [
    (lambda root: (root / 'train/.ipynb_checkpoints').mkdir(), r'hidden folder .*/train/\.ipynb_checkpoints would'),
    (lambda root: shutil.rmtree(root / 'val/b'), 'different classes: val_dataloader lacks b'),
    (lambda root: [path.unlink() for path in root.glob('train/b/*')], r'folder .*/train/b has no image .*\.png'),
    (lambda root: [shutil.rmtree(root / f'train/{name}') for name in 'ab'], 'one folder of images for each class'),
    (lambda root: (root / 'train/a/loop').symlink_to(root / 'train'), 'Too many levels of symbolic links: .*loop.*…'),
    (lambda root: dict(classes=['b', 'a']), r"classes=\['b', 'a'\] names the folders .* another order.*\['a', 'b'\]"),
    (lambda root: annotate(root, 'a/0.png 1\nb/0.png 2\n'), 'labels.txt gives image 1 the label 2, but .* 0 … 1'),
    (lambda root: annotate(root, 'a/0.png,0\n'), "an ann_file with a line 'path label'"),
    (lambda root: annotate(root, 'a/0.png 0\n\n'), 'without blank lines')])
def test_folders_and_annotations_that_do_not_fit_are_named(folders, break_it, message):
    two = digits_classifier()
    two['head']['num_classes'] = 2
    settings = break_it(folders)
    with pytest.raises(ConfigError, match=message):
        check(build(two), of(folders, 'train', **(settings if isinstance(settings, dict) else {})),
              of(folders, 'val'), None)


def test_subsets_sets_without_labels_and_sets_of_several_labels_are_not_compared(folders):
    (folders / 'many.json').write_text(json.dumps(dict(metainfo=dict(classes=['a', 'b']), data_list=[
        dict(img_path='a/0.png', gt_label=[0, 1]), dict(img_path='b/0.png', gt_label=[1])])))
    two = digits_classifier()
    two['head']['num_classes'] = 2
    for dataset in (of(folders, 'train', indices=[0, 1]), of(folders, 'train', with_label=False),
                    dict(type='mmpretrain.MultiLabelDataset', data_root=str(folders), ann_file='many.json')):
        check(build(two), dataset, None, None)


def test_images_of_a_suffix_that_is_not_read_are_counted_in_the_log(folders, monkeypatch):
    two, log = digits_classifier(), []
    two['head']['num_classes'] = 2
    monkeypatch.setattr('wsld_plugin.engine.splits.print_log', lambda text, **_: log.append(text))
    check(build(two), of(folders, 'train'), None, None)
    for name in ('x.webp', 'y.WEBP', 'z.gif', 'notes.txt'):
        (folders / 'train/a' / name).touch()
    check(build(two), of(folders, 'train'), None, None)
    line, = log
    assert 'images that are not read: 2 .webp, 1 .gif.' in line or 'not read: 1 .gif, 2 .webp.' in line
    two['head']['loss'] = dict(type='LabelSmoothLoss', label_smooth_val=.1, num_classes=7)
    with pytest.raises(ConfigError, match=r'head\.loss has num_classes=7, but the head has 2'):
        check(build(two), of(folders, 'train'), None, None)


@pytest.mark.parametrize('head', [dict(type='mmpretrain.EfficientFormerClsHead', in_channels=32),
                                  dict(type='mmpretrain.LeViTClsHead', in_channels=32)])
def test_a_head_that_computes_no_loss_is_rejected(head):
    cfg = digits_classifier()
    cfg['head'] = dict(head, num_classes=10)
    with pytest.raises(ConfigError, match=r'write head=dict\(distillation=False\)'):
        check(build(cfg))


def test_one_image_is_rejected_by_its_path(folders, model):
    with pytest.raises(ConfigError, match=r'train_dataloader has one image \(.*/train/a/0\.png\)'):
        check(model, of(folders, 'train', indices=[0]))


def test_the_classifier_and_all_splits_that_a_run_has_agree_on_the_classes(model):
    nine = digits_classifier()
    nine['head']['num_classes'] = 9
    for each in (nine, digits_distillation(architecture=nine, teacher=nine)):
        with pytest.raises(ConfigError, match=r'train_dataloader has 10 classes, .* 9: write head=.*=10'):
            check(build(each))
    for classes, difference in (('9876543210', 'the same names in another order'),
                                ('012345678x', 'val_dataloader lacks 9; train_dataloader lacks x')):
        with pytest.raises(ConfigError, match=f'train_.* and val_dataloader have different classes: {difference}'):
            check(model, val=dict(DIGITS, metainfo=dict(classes=list(classes))))
    check(model, val=None, test=None)
