import pytest
from factories import RGB, classifier, digits_classifier, digits_distillation, run_cfg
from mmengine.config import Config

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
    plain = Config(dict(model=classifier(data_preprocessor=RGB)))
    assert 'custom_imports' not in classifier_config(plain)
    plain.model.backbone = dict(type='wsld_plugin.MobileNetV1')
    assert classifier_config(plain).custom_imports.imports == ['wsld_plugin']


def test_an_exported_config_is_its_own_classifier(tmp_path):
    once = classifier_config(run_cfg(tmp_path, digits_distillation()))
    assert classifier_config(once).to_dict() == once.to_dict()
