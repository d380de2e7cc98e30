"""The configs that MMRazor ships, taken over by the steps of docs/mmrazor.md."""
import re
import subprocess
from pathlib import Path

import cv2
import mmrazor
import numpy as np
import pytest
import torch
from factories import batch, labels_of
from mmengine.config import Config
from mmengine.registry import MODELS
from mmrazor.registry import MODELS as RAZOR_MODELS
from processes import ROOT

from wsld_plugin.algorithm import SoftLabelDistill
from wsld_plugin.engine.training import evaluate, evaluation_config, train, training_config
from wsld_plugin.losses import WSLD, functional

SHIPPED = Path(mmrazor.__file__).parent / '.mim/configs/distill/mmcls'
NEED_MMCLS = ('crd', 'deit')
WITH_MMRAZOR = [path for path in sorted(SHIPPED.glob('*/*.py'))
                if 'SingleTeacherDistill\'' in path.read_text() or path.stem.endswith('cifar10_train')
                if path.parent.name not in NEED_MMCLS]
WITH_OURS = [path for path in WITH_MMRAZOR if path.parent.name != 'factor_transfer']
SHRUNK = """
_base_ = {base!r}
model = dict(teacher_ckpt={teacher_ckpt}, init_cfg=None)
_data = dict(type='CustomDataset', data_root={data!r}, ann_file='labels.txt', pipeline=[
    dict(type='LoadImageFromFile'), dict(type='PackInputs')],
    metainfo=dict(classes=[str(index) for index in range({classes})]))
train_dataloader = dict(_delete_=True, batch_size=2, num_workers=0, dataset=_data,
                        sampler=dict(type='DefaultSampler', shuffle=True))
val_dataloader = dict(_delete_=True, batch_size=2, num_workers=0, dataset=_data,
                      sampler=dict(type='DefaultSampler', shuffle=False))
test_dataloader = val_dataloader
train_cfg = dict(_delete_=True, by_epoch=False, max_iters=2, val_interval=2)
optim_wrapper = dict(optimizer=dict(lr=1e-4))
param_scheduler = []
randomness = dict(seed=0)
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=2))
"""


@pytest.fixture
def text():
    """The config with mmpretrain's present name, and without the download of a teacher."""
    shipped = next(SHIPPED.glob('wsld/wsld_*.py')).read_text()
    return (shipped.replace('mmcls::', 'mmpretrain::').replace('pretrained=True', 'pretrained=False')
            .replace("'https://download.openmmlab.com/mmclassification/v0/resnet/"
                     "resnet34_8xb32_in1k_20210831-f257d4e6.pth'", 'None'))


def test_one_word_puts_our_loss_into_mmrazors_config_with_the_same_result(tmp_path, text):
    model, losses, data = None, [], batch(2, num_classes=1000, size=32)
    for word in ('wsld_plugin.WSLD', 'WSLD'):
        path = tmp_path / f'{word}.py'
        path.write_text(text.replace("type='WSLD'", f"type='{word}'"))
        cfg = Config.fromfile(path).model
        if model is None:
            torch.manual_seed(0)
            model = MODELS.build(cfg)
            model.eval()  # one computation to compare with another
            inputs = model.data_preprocessor(data, True)
            assert isinstance(model.distiller.distill_losses['loss_wsld'], WSLD)
        else:  # the same networks, MMRazor's loss
            model.distiller.distill_losses['loss_wsld'] = RAZOR_MODELS.build(cfg.distiller.distill_losses.loss_wsld)
        losses.append(model(**inputs, mode='loss')['distill.loss_wsld'])
    torch.testing.assert_close(*losses)
    s, t = (part(inputs['inputs'], mode='tensor') for part in (model.student, model.teacher))
    torch.testing.assert_close(losses[0], 2.5 * functional.wsld(s, t, labels_of(data), tau=2.0))


def few(paths, *fast):
    return [pytest.param(path, id=path.stem, marks=() if path.stem.startswith(fast) else pytest.mark.slow)
            for path in paths]


def taken_over(shipped, folder, steps):
    """A config, with the others of its folder, after the first ``steps`` commands of the page."""
    commands = re.findall(r'```bash\n(.*?)```', (ROOT / 'docs/mmrazor.md').read_text(), re.DOTALL)
    for path in shipped.parent.glob('*.py'):
        for command in commands[:steps]:
            command = command.replace('theirs.py', str(path)).replace('mine.py', str(folder / path.name))
            subprocess.run(['bash', '-c', command], check=True)
    return folder / shipped.name


def trained_and_tested(base, folder, teacher_ckpt):
    random, data = np.random.default_rng(0), folder / 'data'
    data.mkdir()
    for index in range(4):
        cv2.imwrite(str(data / f'{index}.png'), random.integers(0, 256, (32, 32, 3), dtype=np.uint8))
    (data / 'labels.txt').write_text(''.join(f'{index}.png {index}\n' for index in range(4)))
    config = folder / 'shrunk.py'
    config.write_text(SHRUNK.format(base=str(base), data=str(data), teacher_ckpt=teacher_ckpt,
                                    classes=10 if 'cifar10' in base.name else 1000))
    runner = train(training_config(str(config), work_dir=str(folder / 'run')))
    return runner, evaluate(evaluation_config(str(config), work_dir=str(folder / 'test')),
                            str(folder / 'run/iter_2.pth'))


@pytest.mark.filterwarnings('ignore:.*(size_average|batch size and the support size):UserWarning')
@pytest.mark.parametrize('shipped', few(WITH_MMRAZOR, 'wsld'))
def test_a_shipped_config_trains_and_is_tested_with_mmrazors_algorithm(shipped, tmp_path):
    runner, metrics = trained_and_tested(taken_over(shipped, tmp_path, 1), tmp_path, None)
    assert type(runner.model) is mmrazor.models.algorithms.SingleTeacherDistill
    assert 0 <= metrics['accuracy/top1'] <= 100


@pytest.mark.filterwarnings('ignore:.*(size_average|batch size and the support size):UserWarning')
@pytest.mark.parametrize('shipped', few(WITH_OURS, 'wsld', 'fitnets'))
def test_a_shipped_config_trains_and_is_tested_with_our_algorithm(shipped, tmp_path):
    runner, metrics = trained_and_tested(taken_over(shipped, tmp_path, 2), tmp_path, False)
    assert type(runner.model) is SoftLabelDistill
    assert 0 <= metrics['accuracy/top1'] <= 100
    weights = torch.load(tmp_path / 'run/iter_2.pth', weights_only=True)['state_dict']
    assert not any(name.startswith('teacher.') for name in weights)


def test_the_page_names_all_that_is_left_out():
    assert len(WITH_MMRAZOR) == 12
    others = {path.parent.name for path in SHIPPED.glob('*/*.py')} - {path.parent.name for path in WITH_OURS}
    assert others == {'byot', 'crd', 'dafl', 'deit', 'dfad', 'factor_transfer', 'ofd', 'zskt'}
