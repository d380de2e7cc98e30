"""An ensemble of two teachers of the digits family: the variable ``digits_ensemble``."""
digits_ensemble = dict(
    _delete_=True,
    type='wsld_plugin.EnsembleTeacher',
    members=[
        dict(model=dict(cfg_path='{{ fileDirname }}/../../baselines/resnet18-w32_digits.py'),
             checkpoint='work_dirs/resnet18-w32_digits/model_last.pth'),
        dict(model=dict(cfg_path='{{ fileDirname }}/../../baselines/resnet18-w16_digits.py'),
             checkpoint='work_dirs/resnet18-w16_digits/model_last.pth'),
    ])
