import pytest
from mmengine.config import Config

from wsld_plugin.config.data import check_data
from wsld_plugin.errors import ConfigError


def config(root, **dataset):
    inner = dict(type='CustomDataset', data_root=str(root), **(dataset or dict(data_prefix='train')))
    return Config(dict(train_cfg={}, train_dataloader=dict(dataset=dict(type='RepeatDataset', dataset=inner))))


@pytest.fixture
def root(tmp_path):
    (tmp_path / 'images/train/cat').mkdir(parents=True)
    return tmp_path / 'images'


@pytest.mark.parametrize('dataset', [dict(data_prefix='train'), dict(split='train'),
                                     dict(data_prefix=dict(img_path='train'))])
def test_an_empty_folder_is_refused_and_one_with_a_file_is_not(root, dataset):
    with pytest.raises(ConfigError, match=r'train_dataloader: .*images/train is empty\..*<class>'):
        check_data(config(root, **dataset))
    (root / 'train/cat/1.jpg').touch()
    check_data(config(root, **dataset))


def test_a_misspelt_folder_names_the_nearest(root):
    with pytest.raises(ConfigError, match=r"/imges does not exist.*Did you mean 'images'"):
        check_data(config(root.parent / 'imges'))
    with pytest.raises(ConfigError, match=r"images/trian does not exist.*Did you mean 'train'"):
        check_data(config(root, data_prefix='trian'))


def test_loaders_that_are_not_used_and_remote_roots_are_not_looked_at(root):
    unused = config('/nowhere')
    unused.train_cfg = None
    check_data(unused)
    check_data(config('s3://bucket'))
