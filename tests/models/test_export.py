import os
import subprocess
import sys

import pytest
from factories import RGB, classifier, digits_classifier, digits_distillation, run_cfg
from mmengine.config import Config
from mmpretrain import get_model

from wsld_plugin.engine.training import evaluate, evaluation_config, train, training_config
from wsld_plugin.models.export import classifier_config, is_distillation


@pytest.mark.parametrize(('model', 'distilled'), [(digits_distillation, True), (digits_classifier, False)])
def test_the_classifier_alone_is_exported_from_either_kind_of_run(tmp_path, model, distilled):
    cfg = run_cfg(tmp_path, model())
    assert is_distillation(cfg) == distilled
    alone = classifier_config(cfg)
    assert alone.model.type == 'ImageClassifier'
    assert set(alone) <= {'default_scope', 'custom_imports', 'model', 'test_dataloader', 'test_cfg', 'test_evaluator'}
    assert alone.test_dataloader.dataset.type == 'wsld_plugin.Digits'


def test_this_package_is_imported_only_if_a_part_of_it_is_used():
    plain = Config(dict(model=classifier(data_preprocessor=RGB), custom_imports=dict(imports=['wsld_plugin'])))
    assert 'custom_imports' not in classifier_config(plain)
    plain.test_dataloader = dict(dataset=dict(type='wsld_plugin.Digits'))
    assert classifier_config(plain).custom_imports == dict(imports=['wsld_plugin'], allow_failed_imports=True)
    plain.model.backbone = dict(type='wsld_plugin.MobileNetV1')
    assert classifier_config(plain).custom_imports == dict(imports=['wsld_plugin'], allow_failed_imports=False)
    plain.custom_imports = dict(imports=['wsld_plugin', 'my_networks'])
    assert classifier_config(plain).custom_imports == dict(imports=['my_networks', 'wsld_plugin'],
                                                           allow_failed_imports=False)


def test_a_student_is_built_from_its_export_where_this_package_is_not_installed(tmp_path):
    classifier_config(run_cfg(tmp_path, digits_distillation())).dump(tmp_path / 'student.py')
    (tmp_path / 'wsld_plugin.py').write_text("raise ImportError('not installed')\n")
    code = "from mmpretrain import get_model; print(get_model('student.py').head.num_classes)"
    run = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], cwd=tmp_path, capture_output=True, text=True,
                         env={**os.environ, 'PYTHONPATH': str(tmp_path)}, timeout=120)
    assert run.stdout.split()[-1:] == ['10'], run.stderr[-2000:]


def test_an_exported_config_is_its_own_classifier(tmp_path):
    once = classifier_config(run_cfg(tmp_path, digits_distillation()))
    assert classifier_config(once).to_dict() == once.to_dict()


BASE = '''
from mmpretrain.models import GlobalAveragePooling, ImageClassifier, LinearClsHead, ResNet_CIFAR
model = dict(type=ImageClassifier, neck=dict(type=GlobalAveragePooling), head=dict(
    type=LinearClsHead, num_classes=10, in_channels=32), backbone=dict(
    type=ResNet_CIFAR, depth=18, in_channels=1, stem_channels=4, base_channels=4))
'''
LEAF = '''
from mmengine.config import read_base
with read_base():
    from .base import *
from mmengine.dataset import DefaultSampler
from mmpretrain.datasets import PackInputs
from mmpretrain.evaluation import Accuracy
from torch.optim import SGD
from wsld_plugin.datasets import Digits
from wsld_plugin.hooks import CheckpointHook
default_scope = 'mmpretrain'
data_preprocessor = dict(num_classes=10, mean=[77.8], std=[95.9])
train_dataloader = dict(batch_size=20, sampler=dict(type=DefaultSampler, shuffle=True), dataset=dict(
    type=Digits, num_samples=40, pipeline=[dict(type=PackInputs)]))
val_dataloader = test_dataloader = dict(batch_size=20, sampler=dict(type=DefaultSampler, shuffle=False), dataset=dict(
    type=Digits, split='test', num_samples=20, pipeline=[dict(type=PackInputs)]))
val_evaluator = test_evaluator = dict(type=Accuracy, topk=(1,))
train_cfg, val_cfg, test_cfg = dict(by_epoch=True, max_epochs=1), dict(), dict()
optim_wrapper = dict(optimizer=dict(type=SGD, lr=.01))
default_hooks = dict(checkpoint=dict(type=CheckpointHook, save_best='auto'))
'''


def test_a_config_of_classes_is_exported_and_tested_like_one_of_names(tmp_path):
    (tmp_path / 'base.py').write_text(BASE)
    (tmp_path / 'leaf.py').write_text(LEAF)
    train(training_config(str(tmp_path / 'leaf.py'), work_dir=str(tmp_path / 'run')))
    for config, checkpoint in (('leaf.py', 'run/epoch_1.pth'), ('leaf.py', 'run/model_best.pth'),
                               ('run/model.py', 'run/model_last.pth')):
        cfg = evaluation_config(str(tmp_path / config), work_dir=str(tmp_path / 'test'))
        assert evaluate(cfg, str(tmp_path / checkpoint)).keys() == {'accuracy/top1'}
    model = get_model(str(tmp_path / 'run/model.py'), pretrained=str(tmp_path / 'run/model_best.pth'))
    assert model.head.num_classes == 10
