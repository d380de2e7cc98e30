import numpy as np
import pytest
from matplotlib import image

from wsld_plugin.reproduce.plot import plot_comparison
from wsld_plugin.reproduce.report import as_json, machine, markdown_table, summarise
from wsld_plugin.reproduce.runs import Result


def result(method, seed, accuracy, seconds=10.0):
    return Result(method, seed, accuracy, accuracy + 1, seconds, [(1, accuracy / 2), (2, accuracy)])


RESULTS = [result('teacher', 0, 99.0), result('KD', 0, 90.0, 8.0), result('KD', 1, 93.0, 12.0),
           result('alone', 0, 85.0), result('KD', 2, 91.5)]


def test_a_row_is_mean_and_sample_deviation_of_the_last_epoch():
    rows = summarise(RESULTS)
    assert [row.method for row in rows] == ['teacher', 'KD', 'alone']
    kd = rows[1]
    assert kd.accuracies == [90.0, 93.0, 91.5]
    assert (kd.accuracy_mean, kd.n, kd.seconds_mean) == (91.5, 3, 10.0)
    assert kd.accuracy_std == pytest.approx(np.std(kd.accuracies, ddof=1))


def test_a_single_run_has_no_deviation():
    assert summarise(RESULTS)[0].accuracy_std is None
    assert '| 99.00 ' in markdown_table(summarise(RESULTS))


def test_the_table_is_aligned_and_has_a_line_a_method():
    lines = markdown_table(summarise(RESULTS)).splitlines()
    assert len(lines) == 2 + 3
    assert len({len(line) for line in lines}) == 1
    assert '91.50 ± 1.50' in lines[3]


def test_json_has_the_rows_as_plain_data():
    assert as_json(summarise(RESULTS))[1] == dict(
        method='KD', accuracy_mean=91.5, accuracy_std=1.5, n=3, seconds_mean=10.0, accuracies=[90.0, 93.0, 91.5])


def test_the_machine_names_its_versions():
    assert 'torch 2' in machine()


def test_the_picture_shows_every_method_in_its_colour(tmp_path):
    plot_comparison(tmp_path / 'a.png', summarise(RESULTS), RESULTS, 'title', reference='teacher')
    pixels = image.imread(tmp_path / 'a.png')[..., :3]
    for colour in ((0x1f, 0x77, 0xb4), (0xff, 0x7f, 0x0e)):  # the first two of matplotlib's cycle
        assert (np.abs(pixels - np.array(colour) / 255).max(axis=-1) < 0.01).sum() > 200
