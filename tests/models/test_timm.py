"""A timm network as the student: mmpretrain's hooks around its weights' names do not lose any."""
import pytest
import torch
from factories import build, digits_classifier, digits_distillation, distiller, run_cfg
from mmpretrain import get_model

from wsld_plugin.engine.training import evaluate, evaluation_config, train, training_config
from wsld_plugin.models.checkpoint import load_classifier

TIMM = dict(type='mmpretrain.TimmClassifier', model_name='test_efficientnet', in_chans=1, num_classes=10,
            data_preprocessor=dict(mean=[77.8], std=[95.9], num_classes=10))


def config(tmp_path, model):
    """A config of two epochs, dumped to a file."""
    cfg = run_cfg(tmp_path / 'unused', model)
    cfg.dump(tmp_path / 'config.py')
    return str(tmp_path / 'config.py')


def distilled():
    given = distiller()
    given['student_recorders'] = dict(logits=dict(type='mmrazor.ModuleOutputs', source='model'),
                                      target=dict(type='mmrazor.ModuleInputs', source='loss_module'))
    return digits_distillation(architecture=TIMM, teacher=digits_classifier(), distiller=given)


@pytest.mark.parametrize(('model', 'name'), [(distilled(), 'student'), (TIMM, 'model')])
def test_a_resume_is_exact_and_the_export_loads_in_mmpretrain_and_is_tested(tmp_path, model, name):
    path = config(tmp_path, model)
    whole = train(training_config(path, work_dir=str(tmp_path / 'whole'))).model.state_dict()
    train(training_config(path, work_dir=str(tmp_path / 'parts'), options={'train_cfg.max_epochs': 1}))
    parts = train(training_config(path, work_dir=str(tmp_path / 'parts'), resume=True)).model.state_dict()
    assert whole.keys() == parts.keys()
    assert all(torch.equal(parts[key], value) for key, value in whole.items())
    loaded = get_model(str(tmp_path / f'whole/{name}.py'), pretrained=str(tmp_path / f'whole/{name}_last.pth'))
    own = {key.removeprefix('architecture.'): value for key, value in whole.items()}
    assert loaded.state_dict().keys() == own.keys()
    assert all(torch.equal(value, own[key]) for key, value in loaded.state_dict().items())
    for file in (f'{name}_last.pth', 'epoch_2.pth'):
        metrics = evaluate(evaluation_config(path, work_dir=str(tmp_path / 'test')), str(tmp_path / 'whole' / file))
        assert 'accuracy/top1' in metrics


def test_a_timm_resnet_is_not_taken_for_torchvisions(tmp_path):
    model = build(dict(TIMM, model_name='resnet18'))
    state = model.state_dict()
    assert {'conv1.weight', 'layer1.0.conv1.weight', 'fc.weight'} <= state.keys()
    torch.save(state, tmp_path / 'resnet18.pth')
    for weight in model.parameters():
        weight.data.zero_()
    load_classifier(model, str(tmp_path / 'resnet18.pth'))
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items() if 'running' in name)
    assert model.model.fc.weight.any()
