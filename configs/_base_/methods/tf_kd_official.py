"""KD, Tf-KD_self, Re-KD and De-KD as the authors' code computes them (Yuan et al., CVPR 2020, arXiv 1909.11723).

    (1 - α)·CE + α·τ²·multiplier · 1/(N·C) Σ_i KL(softmax(t_i/τ) ‖ softmax(s_i/τ))

Unlike the paper (tf_kd.py): the factors τ² and multiplier, and the mean divides by the classes too.
Set α twice: hard_weight is 1 - α, loss_weight is α. The code's values for CIFAR-100:

    student                          α     τ    multiplier
    self   MobileNetV2, ShuffleNetV2 0.95  20     1          (below)
           ResNet18                  0.95   6    50
           GoogLeNet                 0.4   20    50
           DenseNet121               0.9   20    50
           ResNeXt29                 0.9   20   100
    KD,    MobileNetV2, ShuffleNetV2 0.95  20     1          (below)
    Re-KD, ResNet18, ResNet50,       0.6   20     1
    De-KD  DenseNet121, ResNeXt29
"""
_base_ = './tf_kd.py'
model = dict(distiller=dict(distill_losses=dict(loss_kd=dict(
    tau_squared=True, mean_over='elements', multiplier=1.0))))
