from torch import nn

from wsld_plugin.teachers import FrozenTeacher


def network():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(), nn.Flatten())


def modes(teacher):
    return {type(module).__name__: module.training for module in teacher.module}


def test_nothing_requires_a_gradient_and_all_is_in_eval_mode_from_the_start():
    teacher = FrozenTeacher(network())
    assert not any(parameter.requires_grad for parameter in teacher.module.parameters())
    assert not any(modes(teacher).values())


def test_eval_stays_eval_while_its_owner_trains():
    teacher = FrozenTeacher(network(), bn='eval')
    teacher.set_mode(training=True)
    assert not any(modes(teacher).values())


def test_train_lets_batchnorm_alone_train_and_only_while_its_owner_does():
    teacher = FrozenTeacher(network(), bn='train')
    teacher.set_mode(training=True)
    assert {name for name, on in modes(teacher).items() if on} == {'BatchNorm2d'}
    teacher.set_mode(training=False)
    assert not any(modes(teacher).values())


def test_its_owner_does_not_register_it():
    owner = nn.Linear(1, 1)
    owner.hidden = FrozenTeacher(network())
    assert [name for name, _ in owner.named_modules()] == ['']
    assert set(owner.state_dict()) == {'weight', 'bias'}
