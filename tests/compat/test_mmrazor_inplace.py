from collections import OrderedDict

import torch
from factories import distillation
from mmengine.registry import MODELS

from wsld_plugin.compat import mmrazor_inplace


def test_mmrazors_own_algorithm_turns_in_place_operations_off():
    cfg = distillation(type='mmrazor.SingleTeacherDistill')
    cfg.pop('teacher_ckpt')
    model = MODELS.build(cfg)
    switches = [module.inplace for part in (model.architecture, model.teacher) for module in part.modules()
                if hasattr(module, 'inplace')]
    assert switches
    assert not any(switches)


def test_a_feature_before_an_in_place_operation_is_recorded_as_it_was():
    cfg = distillation(type='mmrazor.SingleTeacherDistill')
    cfg.pop('teacher_ckpt')
    source = 'backbone.layer1.0.bn1'  # followed by ReLU
    cfg['distiller']['student_recorders']['feature'] = dict(type='mmrazor.ModuleOutputs', source=source)
    model = MODELS.build(cfg)
    with model.distiller.student_recorders:
        model.student(torch.randn(2, 3, 16, 16), mode='tensor')
    assert (model.distiller.student_recorders.get_recorder('feature').get_record_data() < 0).any()


def test_it_is_idle_where_modules_are_ordered_dicts(monkeypatch):
    from mmrazor.models.algorithms.base import BaseAlgorithm
    monkeypatch.setattr(BaseAlgorithm, 'set_module_inplace_false', 'untouched')
    monkeypatch.setattr(mmrazor_inplace.nn, 'Module', lambda: type('M', (), dict(_modules=OrderedDict())))
    mmrazor_inplace.apply()
    assert BaseAlgorithm.set_module_inplace_false == 'untouched'
