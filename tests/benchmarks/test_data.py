import copy
from itertools import cycle

import numpy as np
import pytest
from jpegs import jpeg, picture
from mmengine.config import Config
from mmpretrain.datasets import RandomResizedCrop

from wsld_plugin.benchmarks.data import compare_pipelines
from wsld_plugin.benchmarks.data_gate import check_pipelines
from wsld_plugin.benchmarks.data_prediction import saved_seconds
from wsld_plugin.benchmarks.data_report import markdown
from wsld_plugin.benchmarks.data_samples import AS_IT_IS, SCALED, pipelines_of, samples_of
from wsld_plugin.benchmarks.gate import RefusedVariant
from wsld_plugin.datasets.transforms import partial_decode
from wsld_plugin.errors import ConfigError

RESNET18 = 'mmpretrain::resnet/resnet18_8xb32_in1k.py'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Class folders with three JPEGs each, the second with one that is greyscale."""
    folder = tmp_path_factory.mktemp('images')
    for label, size in enumerate([(375, 500), (600, 500)]):
        (folder / f'class{label}').mkdir()
        for number in range(3):
            image = picture(*size, seed=number)
            (folder / f'class{label}' / f'{number}.JPEG').write_bytes(jpeg(image[..., 0] if number * label == 2
                                                                           else image))
    (folder / 'notes.txt').write_text('no image')
    return folder


def config(data_root, **crop):
    return Config(dict(default_scope='mmpretrain', train_dataloader=dict(dataset=dict(
        type='CustomDataset', data_root=str(data_root), pipeline=[
            dict(type='LoadImageFromFile'), dict(type='RandomResizedCrop', scale=64, **crop),
            dict(type='RandomFlip', prob=0.5, direction='horizontal'), dict(type='PackInputs')]))))


def test_images_are_those_of_a_folder_or_of_the_data_set(folder):
    named = samples_of(config('elsewhere'), folder, 100)
    own = samples_of(config(folder), None, 100)
    assert len(own) == 6
    assert {sample['img_path'] for sample in named} == {sample['img_path'] for sample in own}
    assert [sample['gt_label'] for sample in own] == [0, 0, 0, 1, 1, 1]


def test_fewer_images_are_spread_over_all(folder):
    assert [sample['gt_label'] for sample in samples_of(config(folder), None, 2)] == [0, 1]


def test_no_images_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r'--images .*: there is no image in it'):
        samples_of(config(tmp_path), tmp_path, 5)
    with pytest.raises(ConfigError, match=r'train_dataloader.dataset cannot be read: .*Give --images'):
        samples_of(config(tmp_path / 'nowhere'), None, 5)


def test_a_pipeline_that_would_stay_is_refused_with_the_reason(folder):
    cfg = config(folder)
    cfg.train_dataloader.dataset.pipeline.pop(1)
    with pytest.raises(ConfigError, match=r'nothing to compare.* it has no RandomResizedCrop'):
        pipelines_of(cfg)


def test_what_changes_is_told_and_what_should_not_change_does_not(folder):
    found = check_pipelines(pipelines_of(config(folder)), samples_of(config(folder), None, 6))
    assert found[AS_IT_IS] == dict(changed=0.0, difference=0.0)
    assert 0 < found[SCALED]['changed'] < 1  # greyscale ones do not
    assert 0 < found[SCALED]['difference'] < 6


def test_another_crop_is_not_timed(folder):
    pipelines = pipelines_of(config(folder))
    pipelines[SCALED] = pipelines_of(config(folder, max_attempts=0))[SCALED]
    with pytest.raises(RefusedVariant, match=r'scaled is not timed: .* does not draw the same crop and flip'):
        check_pipelines(pipelines, samples_of(config(folder), None, 6))


def test_other_notes_are_not_timed(folder):
    pipelines = pipelines_of(config(folder))
    pipelines[SCALED].transforms.insert(1, lambda results: dict(results, ori_shape=results['img_shape'][:2]))
    with pytest.raises(RefusedVariant, match=r'scaled is not timed: .* does not draw the same crop and flip'):
        check_pipelines(pipelines, samples_of(config(folder), None, 6))


def test_other_pixels_are_not_timed(folder):
    pipelines = pipelines_of(config(folder))
    pipelines[SCALED].transforms.insert(1, lambda results: dict(results, img=255 - results['img']))
    with pytest.raises(RefusedVariant, match=r'scaled is not timed: where its pixels differ, they do by [\d.]+'):
        check_pipelines(pipelines, samples_of(config(folder), None, 6))


def test_pixels_that_should_be_the_same_are_compared_exactly(folder):
    pipelines = pipelines_of(config(folder))
    pipelines['same pixels'] = pipelines[SCALED]
    with pytest.raises(RefusedVariant, match=r'same pixels is not timed: the pixels of .*\.JPEG are not the same'):
        check_pipelines(pipelines, samples_of(config(folder), None, 6))


class Clock:
    """Whole decodes take a second by it, those at 1/8 what is given; three of each, in turns."""

    def __init__(self, eighth):
        self.readings = (reading for taken in cycle([1.0] * 3 + [eighth] * 3) for reading in (0.0, taken))

    def __call__(self):
        return next(self.readings)


@pytest.mark.parametrize('library', [None, 'simplejpeg'])
def test_the_prediction_is_the_share_of_rows_below_the_box(folder, library, monkeypatch):
    """Where every decode takes a second, only rows that are left out save anything."""
    monkeypatch.setattr(partial_decode, 'SIMPLEJPEG', library)
    sample, grey = (dict(img_path=str(folder / name)) for name in ('class0/0.JPEG', 'class1/2.JPEG'))
    pipeline = pipelines_of(config(folder, crop_ratio_range=(0.2, 0.9)))[SCALED]
    saved = saved_seconds(pipeline, [sample, grey], Clock(1.0))
    if library is None:
        assert saved == pytest.approx(0)
    else:
        crop, image = RandomResizedCrop(64, crop_ratio_range=(0.2, 0.9)), np.zeros((375, 500))
        boxes = [crop.rand_crop_params(image) for _ in range(4000)]
        share = np.array([1 - (top + height) / 375 for top, _, height, _ in boxes])
        assert saved == pytest.approx(share.mean(), abs=4 * share.std() / 20 ** 0.5)


def test_the_prediction_is_that_pixels_cost_and_coefficients_do_not(folder):
    """The box is the whole image, which has room for 64 pixels four times."""
    sample = dict(img_path=str(folder / 'class0/0.JPEG'))
    pipeline = pipelines_of(config(folder, max_attempts=0))[SCALED]
    assert saved_seconds(pipeline, [sample], Clock(0.25)) == pytest.approx(0.75 * (1 - 1 / 4 ** 2))


def test_the_report_has_every_round_and_the_ratios_of_its_figures(folder):
    report = compare_pipelines(RESNET18, images=folder, pairs=3, clock='cpu')
    assert (report['benchmark'], report['images'], report['threads']) == ('data', 6, 1)
    first = report['rows'][0]
    assert (first['name'], first['predicted_ratio'], first['ratio']) == (AS_IT_IS, 1.0, (1.0, 1.0, 1.0))
    text = markdown(copy.deepcopy(report))
    for row in report['rows']:
        np.testing.assert_allclose(row['ratio'], np.quantile(np.divide(row['seconds'], first['seconds']),
                                                             [.25, .5, .75]))
        np.testing.assert_allclose(row['items_per_second'], 6 / np.median(row['seconds']))
        assert 0 < row['predicted_ratio'] <= 1
        assert f'| {row["name"]} ' in text
        assert f' {1 / row["ratio"][1]:.3f} ' in text
