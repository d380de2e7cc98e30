"""ResNet-34 → ResNet-18 on ImageNet with WSLD, the student's gradients and optimizer state in shards (FSDP).

    bash tools/dist_train.sh configs/scale/wsld_resnet34_resnet18_fsdp_8xb32_in1k.py 8

Data and teacher as for configs/wsld/wsld_resnet34_resnet18_8xb32_in1k.py, and the same result: for students that
fit on a GPU, as this one, that config is the faster. Not run here: needs 8 GPUs. On two CPU processes, with the
digits: the weights of DDP.
"""
_base_ = ['../wsld/wsld_resnet34_resnet18_8xb32_in1k.py', '../_base_/strategies/fsdp.py']
