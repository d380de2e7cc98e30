"""Models: building them from configs, their checkpoints, and networks that mmpretrain lacks."""
from .cifar_googlenet import CifarGoogLeNet
from .cifar_resnet import CifarDenseNet, CifarResNet, CifarResNeXt, WideResNet
from .cifar_shufflenet import CifarShuffleNetV1, CifarShuffleNetV2
from .cifar_vgg import CifarVGG
from .mobilenet import CifarMobileNetV2, MobileNetV1

__all__ = ['CifarResNet', 'WideResNet', 'CifarVGG', 'CifarMobileNetV2', 'CifarShuffleNetV1', 'CifarShuffleNetV2',
           'CifarResNeXt', 'CifarDenseNet', 'CifarGoogLeNet', 'MobileNetV1']
