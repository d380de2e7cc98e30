from pathlib import Path

import pytest
from factories import digits_classifier, run_cfg
from mmengine.runner import Runner

from wsld_plugin.engine.training import train, training_config
from wsld_plugin.errors import ConfigError


@pytest.fixture
def config(tmp_path):
    cfg = run_cfg(tmp_path / 'unused', digits_classifier(), epochs=1, auto_scale_lr=dict(base_batch_size=40))
    cfg.pop('work_dir')
    path = tmp_path / 'small.py'
    cfg.dump(path)
    return str(path)


def test_the_work_dir_is_named_after_the_config_unless_it_is_given(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Path(training_config(config).work_dir) == Path('work_dirs/small')
    assert training_config(config, work_dir='elsewhere').work_dir == 'elsewhere'


def test_the_learning_rate_follows_the_batch_size_where_asked(config, tmp_path):
    rates = [train(training_config(config, work_dir=str(tmp_path / name), auto_scale_lr=scale,
                                   options=dict(experiment_name=name), validate=False)).optim_wrapper.get_lr()
             for name, scale in (('plain', False), ('scaled', True))]
    assert rates[0]['lr'] == [0.05]
    assert rates[1]['lr'] == [0.025]  # 20 images a batch instead of 40


def test_scaling_without_a_base_batch_size_is_refused(config, tmp_path):
    with pytest.raises(ConfigError, match='base_batch_size'):
        training_config(config, work_dir=str(tmp_path), auto_scale_lr=True,
                        options={'auto_scale_lr': dict(_delete_=True)})


def test_without_validation_nothing_is_validated(config, tmp_path, monkeypatch):
    monkeypatch.setattr(Runner, 'build_val_loop', lambda *args: pytest.fail('validated'))
    train(training_config(config, work_dir=str(tmp_path / 'run'), validate=False))


def test_options_and_amp_change_the_config(config, tmp_path):
    cfg = training_config(config, work_dir=str(tmp_path), amp='bf16', options={'optim_wrapper.optimizer.lr': 0.3})
    assert cfg.optim_wrapper.type == 'wsld_plugin.AutocastOptimWrapper'
    assert cfg.optim_wrapper.optimizer.lr == 0.3


def test_resume_without_a_checkpoint_starts_and_says_so(config, tmp_path, capfd):
    cfg = training_config(config, work_dir=str(tmp_path / 'new'), resume=True)
    assert not cfg.get('resume')
    assert 'holds no checkpoint yet' in ''.join(capfd.readouterr())


def test_resume_does_not_start_anew_over_an_exported_model(config, tmp_path):
    (tmp_path / 'model_best.pth').touch()
    with pytest.raises(ConfigError, match=r'model_best\.pth'):
        training_config(config, work_dir=str(tmp_path), resume=True)
