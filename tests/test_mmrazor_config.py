"""MMRazor's own WSLD config, as it is shipped, with the one word changed."""
from pathlib import Path

import mmrazor
import pytest
import torch
from factories import batch, labels_of
from mmengine.config import Config
from mmengine.registry import MODELS

from wsld_plugin.losses import WSLD, functional

SHIPPED = Path(mmrazor.__file__).parent / '.mim/configs/distill/mmcls/wsld'


@pytest.fixture
def text():
    """The config with mmpretrain's present name, and without the download of a teacher."""
    shipped = next(SHIPPED.glob('wsld_*.py')).read_text()
    return (shipped.replace('mmcls::', 'mmpretrain::').replace('pretrained=True', 'pretrained=False')
            .replace("'https://download.openmmlab.com/mmclassification/v0/resnet/"
                     "resnet34_8xb32_in1k_20210831-f257d4e6.pth'", 'None'))


def build(tmp_path, text):
    path = tmp_path / 'config.py'
    path.write_text(text)
    torch.manual_seed(0)
    return MODELS.build(Config.fromfile(path).model)


def test_one_word_puts_our_loss_into_mmrazors_config_with_the_same_result(tmp_path, text):
    theirs = build(tmp_path, text)
    ours = build(tmp_path, text.replace("type='WSLD'", "type='wsld_plugin.WSLD'"))
    assert isinstance(ours.distiller.distill_losses['loss_wsld'], WSLD)
    data = batch(2, num_classes=1000, size=64)
    labels, losses = labels_of(data), []
    for model in (theirs, ours):
        model.eval()  # one computation to compare with another
        inputs = model.data_preprocessor(data, True)
        losses.append(model(**inputs, mode='loss')['distill.loss_wsld'])
    torch.testing.assert_close(*losses)
    s, t = (part(inputs['inputs'], mode='tensor') for part in (ours.student, ours.teacher))
    torch.testing.assert_close(losses[1], 2.5 * functional.wsld(s, t, labels, tau=2.0))
