"""Few labels: the small student is trained on 100 labelled digits of 1,200.

    python tools/train.py configs/weak/few_resnet18-w8_digits.py

Needs nothing: scikit-learn ships the images. It takes as many steps as the later rounds, which also use the others.
"""
_base_ = ['../baselines/resnet18-w8_digits.py']
train_dataloader = dict(dataset=dict(
    _delete_=True, type='wsld_plugin.FewLabels', num_labels=100, rest=False,
    dataset=dict(type='wsld_plugin.Digits', split='train', pipeline=_base_.train_pipeline)))
train_cfg = dict(max_epochs=180, val_interval=20)
