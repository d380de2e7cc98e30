"""What the labels must be like; on data sets that are built, without a teacher."""
import numpy as np
import pytest
from factories import digits_classifier, digits_distillation, run_cfg
from mmengine.dataset import ConcatDataset
from mmengine.registry import DefaultScope

from wsld_plugin.analysis.report.labels import check_labels
from wsld_plugin.analysis.report.subject import find_subject
from wsld_plugin.datasets import Digits, KeyedDataset, SampleKey
from wsld_plugin.datasets.weak import Companions, FewLabels, PartialLabels
from wsld_plugin.errors import ConfigError
from wsld_plugin.teachers.network import TeacherNetwork as LiveTeacher

PACK = [dict(type='mmpretrain.PackInputs')]


@pytest.fixture(autouse=True)
def _one_scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def digits(n=40, **settings):
    return Digits(num_samples=n, pipeline=PACK, **settings)


def check(dataset, places=None, batch_size=4):
    dataset = KeyedDataset(dataset)
    check_labels(dataset, [SampleKey(0, 0, place) for place in places or range(len(dataset))], batch_size)


def places_of(label, n=40):
    return np.flatnonzero(np.array(digits(n).get_gt_labels()) == label).tolist()


@pytest.mark.parametrize('dataset', [digits(), ConcatDataset([digits(12), digits(12)]),
                                     FewLabels(digits(), num_labels=10, rest=False)])
def test_labels_of_several_classes_are_taken(dataset):
    check(dataset)


def test_one_class_is_refused_by_name_with_how_many_and_what_to_do():
    with pytest.raises(ConfigError, match=r'of Digits 4 images .* no other label than 3 \(3\).*a larger '
                                          r'--max-samples, or none: there are 40'):
        check(digits(), places_of(3), batch_size=2)
    with pytest.raises(ConfigError, match=r'1 image is to be looked at.*larger --max-samples'):
        check(digits(), [7])
    with pytest.raises(ConfigError, match=r'4 images are .*Take another split, or data of more classes'):
        check(digits(indices=places_of(3)))


def test_two_classes_are_enough_though_the_first_batch_has_one():
    check(digits(), [*places_of(3), places_of(5)[0]], batch_size=4)


def test_one_class_is_seen_in_a_data_set_that_does_not_tell_its_labels_where_one_batch_is_all():
    dataset = ConcatDataset([digits(indices=places_of(3))])
    with pytest.raises(ConfigError, match='no other label than 3'):
        check(dataset, batch_size=20)
    check(dataset, batch_size=2)  # measuring tells


def test_hidden_labels_are_counted_over_all_that_were_chosen_and_only_those():
    few = FewLabels(digits(), num_labels=10)
    with pytest.raises(ConfigError, match='images of FewLabels: 30 of 40 labels are hidden'):
        check(few)
    labelled = np.flatnonzero(few.labelled).tolist()
    hidden = np.flatnonzero(~few.labelled).tolist()
    check(few, labelled)
    with pytest.raises(ConfigError, match=': 1 of 11 labels are hidden'):
        check(few, [*labelled, hidden[0]], batch_size=2)


def test_labels_that_the_samples_do_not_have_are_not_believed():
    partial = PartialLabels(digits())
    assert min(partial.get_gt_labels()) == 0  # those of the data set inside
    with pytest.raises(ConfigError, match='images of PartialLabels: 4 of 4 labels are hidden'):
        check(partial)


def test_probabilities_and_several_classes_are_no_label_and_a_way_out_is_told():
    with pytest.raises(ConfigError, match=r'Companions gives probabilities .*Take another split, or .*'
                                          r'configs/baselines/resnet18-w16_digits\.py CHECKPOINT'):
        check(Companions(digits()))
    whole = digits()
    whole.get_data_info = lambda index: {**Digits.get_data_info(whole, index), 'gt_label': [1, 2]}
    with pytest.raises(ConfigError, match='Digits gives probabilities or several classes'):
        check(whole)


def test_hidden_labels_and_one_class_are_refused_before_the_teacher_runs(tmp_path, monkeypatch):
    def never(*_, **__):
        raise AssertionError('ran')
    monkeypatch.setattr(LiveTeacher, 'forward', never)
    cfg = run_cfg(tmp_path / 'run', digits_distillation(teacher=digits_classifier(8)))
    cfg.train_dataloader.dataset = dict(type='wsld_plugin.FewLabels', num_labels=20,
                                        dataset=cfg.train_dataloader.dataset)
    cfg.train_dataloader.batch_size = 2
    cfg.dump(tmp_path / 'few.py')
    with pytest.raises(ConfigError, match='20 of 40 labels are hidden'):
        find_subject(str(tmp_path / 'few.py'), split='train')
    with pytest.raises(ConfigError, match='1 image is to be looked at'):
        find_subject(str(tmp_path / 'few.py'), max_samples=1)
