import copy

from factories import BGR, RGB, classifier

from wsld_plugin.models.student import student_model_cfg

MIXUP = dict(augments=dict(type='Mixup', alpha=0.2))


def test_the_training_configs_preprocessor_takes_the_place_of_the_students_own():
    cfg = student_model_cfg(classifier(data_preprocessor=RGB), BGR)
    assert (cfg['data_preprocessor']['mean'], cfg['data_preprocessor']['to_rgb']) == (BGR['mean'], False)


def test_without_one_the_students_own_is_kept():
    assert student_model_cfg(classifier(data_preprocessor=RGB))['data_preprocessor']['mean'] == RGB['mean']


def test_the_class_count_follows_the_head():
    cfg = student_model_cfg(classifier(num_classes=7), dict(RGB, num_classes=1000))
    assert cfg['data_preprocessor']['num_classes'] == 7


def test_mixing_that_the_student_asks_for_is_kept_unless_the_training_config_says_otherwise():
    student = classifier(train_cfg=MIXUP)
    assert student_model_cfg(student, RGB)['data_preprocessor']['batch_augments'] == MIXUP
    assert student_model_cfg(student, dict(RGB, batch_augments=None))['data_preprocessor']['batch_augments'] is None


def test_what_is_given_is_not_changed():
    student, preprocessor = classifier(data_preprocessor=RGB), dict(BGR)
    before = copy.deepcopy((student, preprocessor))
    student_model_cfg(student, preprocessor)
    assert (student, preprocessor) == before


def test_a_named_config_gives_its_own_preprocessor():
    cfg = student_model_cfg(dict(cfg_path='mmpretrain::regnet/regnetx-400mf_8xb128_in1k.py'))
    assert cfg['data_preprocessor']['to_rgb'] is False
