import pytest
from factories import classifier, digits_distillation
from mmengine.config import Config
from packs import CLASSES, arrays, make_pack

from wsld_plugin.config.data import check_data, check_teacher
from wsld_plugin.datasets.packing import Source, pack
from wsld_plugin.errors import ConfigError


def config(root, num_classes=1, **dataset):
    inner = dict(type='CustomDataset', data_root=str(root), **(dataset or dict(data_prefix='train')))
    return Config(dict(model=classifier(num_classes), train_cfg={},
                       train_dataloader=dict(dataset=dict(type='RepeatDataset', dataset=inner))))


@pytest.fixture
def root(tmp_path):
    (tmp_path / 'images/train/cat').mkdir(parents=True)
    return tmp_path / 'images'


def image(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


@pytest.mark.parametrize('dataset', [dict(data_prefix='train'), dict(split='train'),
                                     dict(data_prefix=dict(img_path='train'))])
def test_an_empty_folder_is_refused_and_one_with_a_file_is_not(root, dataset):
    with pytest.raises(ConfigError, match=r'train_dataloader: .*images/train is empty\..*<class>'):
        check_data(config(root, **dataset))
    image(root, 'train/cat/1.jpg')
    check_data(config(root, **dataset))


def test_a_misspelt_folder_names_the_nearest(root):
    with pytest.raises(ConfigError, match=r"/imges does not exist.*Did you mean 'images'"):
        check_data(config(root.parent / 'imges'))
    with pytest.raises(ConfigError, match=r"images/trian does not exist.*Did you mean 'train'"):
        check_data(config(root, data_prefix='trian'))


def test_as_many_class_folders_as_classes_are_needed(root):
    image(root, 'train/cat/1.jpg', 'train/dog/1.jpg')
    check_data(config(root, num_classes=2))
    with pytest.raises(ConfigError, match=r'2 class folders, .* 3 classes: write head=dict\(num_classes=2\)'):
        check_data(config(root, num_classes=3))
    check_data(config(root, num_classes=3, data_prefix='train', classes=['cat', 'dog', 'cow']))


def test_classes_that_differ_between_training_and_validation_are_refused(root):
    image(root, 'train/cat/1.jpg', 'train/dog/1.jpg', 'val/dog/1.jpg', 'val/rat/1.jpg')
    cfg = config(root, num_classes=2)
    cfg.val_cfg, cfg.val_dataloader = {}, dict(dataset=dict(type='CustomDataset', data_root=str(root),
                                                            data_prefix='val'))
    with pytest.raises(ConfigError, match='different class folders: cat, rat'):
        check_data(cfg)


def test_loaders_that_are_not_used_and_remote_roots_are_not_looked_at():
    unused = config('/nowhere')
    unused.train_cfg = None
    check_data(unused)
    check_data(config('s3://bucket'))


def test_a_missing_teacher_names_the_nearest_file(root):
    (root / 'resnet34.pth').touch()
    cfg = Config(dict(model=dict(teacher_ckpt=str(root / 'resnet43.pth'))))
    with pytest.raises(ConfigError, match=r"model\.teacher_ckpt=.*Did you mean 'resnet34\.pth'"):
        check_teacher(cfg)
    for present in (str(root / 'resnet34.pth'), 'https://example.org/t.pth', False):
        cfg.model.teacher_ckpt = present
        check_teacher(cfg)


def test_a_missing_teacher_names_the_command_that_trains_it(root):
    teacher = dict(cfg_path='configs/baselines/resnet18-w32_digits.py')
    cfg = Config(dict(model=dict(teacher=teacher, teacher_ckpt=str(root / 'resnet18-w32_digits/model_last.pth'))))
    with pytest.raises(ConfigError, match=r'Train it: python tools/train\.py configs/.*resnet18-w32_digits\.py$'):
        check_teacher(cfg)
    cfg.model.teacher_ckpt = str(root / 'elsewhere/model_last.pth')
    with pytest.raises(ConfigError, match='first lines of the config'):
        check_teacher(cfg)


def test_a_missing_member_of_an_ensemble_names_the_nearest_file(root):
    (root / 'resnet34.pth').touch()
    members = [dict(checkpoint=str(root / 'resnet34.pth')), dict(checkpoint=str(root / 'resnet43.pth'))]
    cfg = Config(dict(model=dict(teacher_ckpt=False, teacher=dict(members=members))))
    with pytest.raises(ConfigError, match=r"model\.teacher\.members\.1\.checkpoint=.*Did you mean 'resnet34\.pth'"):
        check_teacher(cfg)
    for present in (str(root / 'resnet34.pth'), 'https://example.org/t.pth', False):
        cfg.model.teacher.members[1].checkpoint = present
        check_teacher(cfg)


def test_every_missing_member_of_an_ensemble_names_the_command_that_trains_it(root):
    members = [dict(model=dict(cfg_path=f'configs/baselines/resnet18-{width}_digits.py'),
                    checkpoint=str(root / f'resnet18-{width}_digits/model_last.pth')) for width in ('w32', 'w16')]
    cfg = Config(dict(model=dict(teacher_ckpt=False, teacher=dict(members=members))))
    with pytest.raises(ConfigError, match=r'members\.0.* Train it: python tools/.*resnet18-w32_digits\.py$'):
        check_teacher(cfg)
    cfg.model.teacher.members[0].checkpoint = False
    with pytest.raises(ConfigError, match=r'members\.1.* Train it: python tools/.*resnet18-w16_digits\.py$'):
        check_teacher(cfg)


def test_a_folder_is_no_teacher(root):
    cfg = Config(dict(model=dict(teacher_ckpt=str(root))))
    with pytest.raises(ConfigError, match=r'model\.teacher_ckpt=.* is a folder, expected a checkpoint'):
        check_teacher(cfg)


def measured(split, **wrapper):
    """Digits behind a data set with weak labels, in one loader, within a wrapper and a list."""
    weak = dict(**wrapper, dataset=dict(type='wsld_plugin.Digits'))
    dataset = dict(type='wsld_plugin.KeyedDataset', dataset=dict(type='ConcatDataset', datasets=[weak]))
    return Config({'model': classifier(10), f'{split}_cfg': {}, f'{split}_dataloader': dict(dataset=dataset)})


@pytest.mark.parametrize('split', ['val', 'test'])
@pytest.mark.parametrize('kind', ['PartialLabels', 'FewLabels'])
def test_hidden_labels_are_not_measured_on(split, kind):
    with pytest.raises(ConfigError, match=f'^{split}_dataloader: {kind} hides labels.* Measure on labelled images'):
        check_data(measured(split, type=f'wsld_plugin.{kind}'))
    check_data(measured('train', type=f'wsld_plugin.{kind}'))
    unused = measured(split, type=kind)
    unused[f'{split}_cfg'] = None
    check_data(unused)


def test_weak_labels_that_are_all_there_may_be_measured_on():
    check_data(measured('val', type='wsld_plugin.FewLabels', rest=False))
    check_data(measured('val', type='wsld_plugin.NoisyLabels', rate=0.1))


def learnt(model, kind='PartialLabels'):
    inner = dict(type=kind, dataset=dict(type='Digits'))
    return Config(dict(model=model, train_cfg={}, train_dataloader=dict(
        dataset=dict(type='wsld_plugin.KeyedDataset', dataset=inner))))


def test_a_loss_of_labels_that_are_all_hidden_is_refused():
    for model in (digits_distillation(), digits_distillation(hard_weight=0.1), classifier(10)):
        with pytest.raises(ConfigError, match=r'PartialLabels hides every label.*hard_weight=0\.0'):
            check_data(learnt(model))
        check_data(learnt(model, 'FewLabels'))
    check_data(learnt(digits_distillation(hard_weight=0.0)))


def packed(root, num_classes=10, **dataset):
    return Config(dict(model=classifier(num_classes), train_cfg={}, train_dataloader=dict(dataset=dict(
        type='wsld_plugin.KeyedDataset',
        dataset=dict(type='wsld_plugin.PackedDataset', data_root=str(root), **dataset)))))


def test_a_packed_folder_is_opened_before_anything_is_built(tmp_path):
    root = make_pack(tmp_path / 'pack', train=12, val=10)
    check_data(packed(root))
    check_data(packed(root, split='val'))
    with pytest.raises(ConfigError, match=r"train_dataloader: .*/pack/vall does not exist.*Did you mean 'val'"):
        check_data(packed(root, split='vall'))
    with pytest.raises(ConfigError, match=r'train_dataloader: .*pack_dataset\.py cifar100 data/cifar100'):
        check_data(packed(tmp_path / 'cifar100'))
    (root / 'train/labels.npy').unlink()
    with pytest.raises(ConfigError, match=r'train_dataloader: .*train/labels\.npy is missing'):
        check_data(packed(root))


def test_a_packed_folder_has_as_many_classes_as_the_classifier_and_the_preprocessor(tmp_path):
    cfg = packed(make_pack(tmp_path / 'pack'), num_classes=5)
    with pytest.raises(ConfigError, match=r'train has 10 classes, .* 5 classes: write head=dict\(num_classes=10\)'):
        check_data(cfg)
    cfg.model = classifier(10)
    cfg.data_preprocessor = dict(num_classes=5)
    with pytest.raises(ConfigError, match=r'10 classes, but data_preprocessor\.num_classes=5: write'):
        check_data(cfg)
    cfg.data_preprocessor.num_classes = 10
    check_data(cfg)


def test_packed_splits_name_their_classes_in_the_same_order(tmp_path):
    cfg = packed(make_pack(tmp_path / 'pack'))
    other = Source(CLASSES[::-1], 24, zip(*arrays(24), strict=True))
    pack(tmp_path / 'other', dict(val=other))
    cfg.val_cfg, cfg.val_dataloader = {}, dict(dataset=dict(
        type='wsld_plugin.PackedDataset', data_root=str(tmp_path / 'other'), split='val'))
    with pytest.raises(ConfigError, match='different classes: the same names in another order'):
        check_data(cfg)
