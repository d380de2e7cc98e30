"""Few labels, 100 of 1,200 digits, first round: the model of the labelled digits teaches a student on all.

    python tools/train.py configs/weak/few_resnet18-w8_digits.py
    python tools/train.py configs/weak/few-round1_resnet18-w8_digits.py

The first command trains the teacher. CE of the labelled digits + KD at τ = 1 of all.
"""
_base_ = ['./kd_resnet18-w32_resnet18-w8-all_digits.py']
model = dict(
    teacher=dict(cfg_path='{{ fileDirname }}/few_resnet18-w8_digits.py'),
    teacher_ckpt='work_dirs/few_resnet18-w8_digits/model_last.pth',
    hard_weight=1.0)
train_dataloader = dict(dataset=dict(
    _delete_=True, type='wsld_plugin.FewLabels', num_labels=100,
    dataset=dict(type='wsld_plugin.Digits', split='train', pipeline=_base_.train_pipeline)))
