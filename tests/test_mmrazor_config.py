"""MMRazor's own WSLD config, as it is shipped, with the one word changed."""
from pathlib import Path

import mmrazor
import pytest
import torch
from factories import batch, labels_of
from mmengine.config import Config
from mmengine.registry import MODELS
from mmrazor.registry import MODELS as RAZOR_MODELS

from wsld_plugin.losses import WSLD, functional

SHIPPED = Path(mmrazor.__file__).parent / '.mim/configs/distill/mmcls/wsld'


@pytest.fixture
def text():
    """The config with mmpretrain's present name, and without the download of a teacher."""
    shipped = next(SHIPPED.glob('wsld_*.py')).read_text()
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
