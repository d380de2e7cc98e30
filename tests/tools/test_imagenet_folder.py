"""The ImageNet config end to end, on a folder of the same layout: real processes, JPEGs, one and two ranks."""
import cv2
import mmpretrain
import numpy as np
import pytest
import torch
from processes import ROOT, tool

CONFIG = """
_base_ = {leaf!r}
model = dict(
    architecture=dict(head=dict(num_classes=2, topk=(1, ))),
    teacher=dict(head=dict(num_classes=2, topk=(1, ))),
    teacher_ckpt=False)
train_pipeline = [dict(type='LoadImageFromFile'), dict(type='RandomResizedCrop', scale=64), dict(type='PackInputs')]
train_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False, dataset=dict(
    _delete_=True, type='CustomDataset', data_root={data!r}, data_prefix='train', pipeline=train_pipeline))
val_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False, dataset=dict(
    _delete_=True, type='CustomDataset', data_root={data!r}, data_prefix='val', pipeline=_base_.test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(topk=(1, ))
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=1)
"""


@pytest.fixture
def config(tmp_path):
    """The leaf config on two classes of small JPEGs."""
    random, data = np.random.default_rng(0), tmp_path / 'imagenet'
    for split, n in (('train', 4), ('val', 2)):
        for wnid in ('n01440764', 'n02102040'):
            (data / split / wnid).mkdir(parents=True)
            for index in range(n):
                image = random.integers(0, 256, (80, 96, 3), dtype=np.uint8)
                cv2.imwrite(str(data / split / wnid / f'{wnid}_{index}.JPEG'), image)
    leaf = ROOT / 'configs/wsld/wsld_resnet34_resnet18_8xb32_in1k.py'
    path = tmp_path / 'two_classes.py'
    path.write_text(CONFIG.format(leaf=str(leaf), data=str(data)))
    return path


def test_one_process_resumes_exports_and_is_tested(tmp_path, config):
    tool('train.py', config, '--work-dir', tmp_path)
    more = tool('train.py', config, '--work-dir', tmp_path, '--resume',
                '--cfg-options', 'train_cfg.max_epochs=2').stdout
    assert 'resumed epoch: 1, iter: 4' in more
    assert 'accuracy/top1' in tool('test.py', config, tmp_path / 'epoch_2.pth').stdout
    model = mmpretrain.get_model(str(tmp_path / 'student.py'), pretrained=str(tmp_path / 'student_last.pth'))
    assert model(torch.zeros(1, 3, 64, 64), mode='tensor').shape == (1, 2)


@pytest.mark.skipif(torch.cuda.is_available(), reason='would need two GPUs')
@pytest.mark.slow
def test_two_processes_train_and_resume(tmp_path, config):
    tool('dist_train.sh', config, 2, '--work-dir', tmp_path)
    more = tool('dist_train.sh', config, 2, '--work-dir', tmp_path, '--resume',
                '--cfg-options', 'train_cfg.max_epochs=2').stdout
    assert 'resumed epoch: 1, iter: 2' in more
    assert (tmp_path / 'epoch_2.pth').is_file()
