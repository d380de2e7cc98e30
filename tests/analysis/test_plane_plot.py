import math

import pytest
from matplotlib import image, pyplot

from wsld_plugin.analysis import plane_plot
from wsld_plugin.analysis.plane_plot import PlanePoint, plot_plane

POINTS = [PlanePoint(0.0, 0.1, [98.0, 99.0]), PlanePoint(0.5, 0.7, [20.0])]


def test_a_picture_is_written_and_no_figure_stays_open(tmp_path):
    plot_plane(tmp_path / 'plane.png', POINTS, 'plane')
    assert image.imread(tmp_path / 'plane.png').shape[2] == 4
    assert not pyplot.get_fignums()


def test_every_point_stands_at_its_measures_with_its_mean_and_the_line_crosses_from_one_to_one(tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr(plane_plot.pyplot, 'close', kept.append)
    plot_plane(tmp_path / 'plane.png', POINTS, 'plane')
    axes = kept[0].axes[0]
    assert axes.collections[0].get_offsets().tolist() == [[0.0, 0.1], [0.5, 0.7]]
    assert axes.collections[0].get_array().tolist() == [98.5, 20.0]
    assert [text.get_text() for text in axes.texts] == ['98', '20']
    assert axes.lines[0].get_xydata().sum(1).tolist() == [1, 1]
    monkeypatch.undo()
    pyplot.close(kept[0])


@pytest.mark.parametrize('points', [[], [PlanePoint(0.1, 0.1, [])], [PlanePoint(1.2, 0.1, [50.0])],
                                    [PlanePoint(0.1, math.nan, [50.0])], [PlanePoint(0.1, 0.2, [500.0])]])
def test_what_cannot_be_drawn_is_refused(tmp_path, points):
    with pytest.raises(ValueError, match=r'no points|point 0 is'):
        plot_plane(tmp_path / 'plane.png', points, 'plane')
    assert not list(tmp_path.iterdir())
