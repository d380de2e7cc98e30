"""Few labels: 100 of 1,200 digits are labelled, the small student is trained on them alone.

    python tools/train.py configs/weak/few_resnet18-w8_digits.py

Needs nothing: scikit-learn ships the images. As many steps as the rounds after it, which use the others too.
"""
_base_ = ['../baselines/resnet18-w8_digits.py']
train_dataloader = dict(dataset=dict(
    _delete_=True, type='wsld_plugin.FewLabels', num_labels=100, rest=False,
    dataset=dict(type='wsld_plugin.Digits', split='train', pipeline=_base_.train_pipeline)))
train_cfg = dict(max_epochs=180, val_interval=20)
