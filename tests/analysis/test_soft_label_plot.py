import json

import numpy as np
import pytest
from matplotlib import image, pyplot

from wsld_plugin.analysis.soft_label_plot import plot_runs
from wsld_plugin.errors import ConfigError


def run(folder, tau=4.0, epochs=3, histogram=(0, ) * 49 + (20, )):
    records = [dict(epoch=epoch + 1, tau=tau, regularization_label=.5, regularization_row=.1 * epoch,
                    weight_histogram=list(histogram)) for epoch in range(epochs)]
    (folder / 'soft_label_monitor').mkdir(parents=True)
    (folder / 'soft_label_monitor/epochs.json').write_text(json.dumps(records))
    return folder


def test_runs_of_several_temperatures_give_a_picture(tmp_path):
    runs = [run(tmp_path / 'a', 1.0), run(tmp_path / 'b', 4.0), run(tmp_path / 'c', 4.0)]
    plot_runs(tmp_path / 'picture.png', runs)
    assert image.imread(tmp_path / 'picture.png').shape[1] > 1000
    assert not pyplot.get_fignums()


def test_the_curves_are_those_of_the_runs_and_a_share_stands_at_the_right_edge_of_its_bin(tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr(pyplot, 'close', kept.append)
    runs = [run(tmp_path / 'a', histogram=[2, 0, 1, 1]), run(tmp_path / 'b', histogram=[4, 0, 0, 0])]
    plot_runs(tmp_path / 'picture.png', runs)
    monkeypatch.undo()
    at_label, in_row, weights = kept[0].axes
    np.testing.assert_allclose(at_label.lines[-1].get_xydata(), [[1, .5], [2, .5], [3, .5]])
    np.testing.assert_allclose(in_row.lines[-1].get_xydata(), [[1, 0], [2, .1], [3, .2]])
    # of eight weights six are at most 1/4, none between that and 1/2
    np.testing.assert_allclose(weights.lines[0].get_xydata(), [[0, 0], [.25, .75], [.5, .75], [.75, .875], [1, 1]])
    pyplot.close(kept[0])


def test_runs_of_one_temperature_are_seeds_in_one_folder_and_told_apart_in_several(tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr(pyplot, 'close', kept.append)
    runs = [run(tmp_path / name, tau) for name, tau in (('kd/seed0', 4.0), ('kd/seed1', 4.0), ('smooth/seed0', 4.0),
                                                        ('low/seed0', 1.0))]
    plot_runs(tmp_path / 'picture.png', runs)
    monkeypatch.undo()
    at_label = kept[0].axes[0]
    assert at_label.get_legend_handles_labels()[1] == ['τ = 1', 'τ = 4, kd', 'τ = 4, smooth']
    assert len(at_label.lines) == 4 + 3  # the runs and the means
    pyplot.close(kept[0])


def test_runs_of_other_lengths_are_refused_by_name(tmp_path):
    runs = [run(tmp_path / 'a', epochs=3), run(tmp_path / 'b', epochs=2)]
    with pytest.raises(ConfigError, match=r'b has 2 epochs and .*a 3'):
        plot_runs(tmp_path / 'picture.png', runs)


@pytest.mark.parametrize(('name', 'hint'), [('x.pdf', r'x\.png\.'), ('x', r'x\.png\.'), ('.', r'soft_labels\.png\.'),
                                            ('folder.png', r'folder\.png/soft_labels\.png\.')])
def test_another_file_than_a_png_is_refused_before_the_runs_are_read(tmp_path, name, hint):
    (tmp_path / 'folder.png').mkdir()
    with pytest.raises(ConfigError, match=f'expected a PNG file.*{hint}'):
        plot_runs(tmp_path / name, [tmp_path / 'not there'])
    assert [path.name for path in tmp_path.iterdir()] == ['folder.png']


def test_a_picture_that_cannot_be_written_is_refused_before_the_runs_are_read(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(ConfigError, match='file is a file, but a folder is expected'):
        plot_runs(tmp_path / 'file' / 'x.png', [tmp_path / 'not there'])


def test_a_png_may_have_its_ending_in_capitals_and_a_new_folder(tmp_path):
    plot_runs(tmp_path / 'new' / 'X.PNG', [run(tmp_path / 'a')])
    assert (tmp_path / 'new' / 'X.PNG').read_bytes().startswith(b'\x89PNG')
