"""Models: building them from configs, their checkpoints, and networks that mmpretrain lacks."""
from .cifar_densenet import CifarDenseNet
from .cifar_googlenet import CifarGoogLeNet
from .cifar_mobilenet_v2 import CifarMobileNetV2
from .cifar_resnet import CifarResNet
from .cifar_resnext import CifarResNeXt
from .cifar_shufflenet_v1 import CifarShuffleNetV1
from .cifar_shufflenet_v2 import CifarShuffleNetV2
from .cifar_vgg import CifarVGG
from .mobilenet_v1 import MobileNetV1
from .wide_resnet import WideResNet

__all__ = ['CifarResNet', 'WideResNet', 'CifarVGG', 'CifarMobileNetV2', 'CifarShuffleNetV1', 'CifarShuffleNetV2',
           'CifarResNeXt', 'CifarDenseNet', 'CifarGoogLeNet', 'MobileNetV1']
