"""Models: building them from configs, their checkpoints, and networks that mmpretrain lacks."""
from .cifar_resnet import CifarResNet
from .mobilenet_v1 import MobileNetV1

__all__ = ['CifarResNet', 'MobileNetV1']
