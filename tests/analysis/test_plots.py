import json
import re

import numpy as np
import pytest
from matplotlib import image
from soft_label_pages import Page, findings

from wsld_plugin.analysis import plots
from wsld_plugin.analysis.bias_variance import QUANTITIES
from wsld_plugin.analysis.plots import Series, entropies, misleading, plot_runs, reliability, svg
from wsld_plugin.errors import ConfigError

RECORD = dict(epoch=1, tau=4.0, regularization_label=.5, regularization_row=.1, weight_histogram=[0, 20])


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved."""
    kept = []
    monkeypatch.setattr(plots, 'save_figure', lambda figure, path, **_: kept.append(figure))
    return kept


def written(folder, text):
    (folder / 'soft_label_monitor').mkdir(parents=True)
    (folder / 'soft_label_monitor/epochs.json').write_text(text)
    return folder


def run(folder, tau=4.0, epochs=3, histogram=(0, ) * 49 + (20, )):
    return written(folder, json.dumps([
        dict(RECORD, epoch=epoch + 1, tau=tau, regularization_row=.1 * epoch, weight_histogram=list(histogram))
        for epoch in range(epochs)]))


def test_curves_are_those_of_the_runs_and_runs_of_one_temperature_are_seeds_in_a_folder_named_across(tmp_path, drawn):
    runs = [run(tmp_path / 'a', histogram=[2, 0, 1, 1]), run(tmp_path / 'b', histogram=[4, 0, 0, 0])]
    plot_runs(tmp_path / 'picture.png', runs)
    at_label, in_row, weights = drawn[0].axes
    np.testing.assert_allclose(at_label.lines[-1].get_xydata(), [[1, .5], [2, .5], [3, .5]])
    np.testing.assert_allclose(in_row.lines[-1].get_xydata(), [[1, 0], [2, .1], [3, .2]])
    # at the right edge of its bin: of eight weights six are at most 1/4, none between that and 1/2
    np.testing.assert_allclose(weights.lines[0].get_xydata(), [[0, 0], [.25, .75], [.5, .75], [.75, .875], [1, 1]])
    runs = [run(tmp_path / name, tau) for name, tau in (('kd/seed0', 4.0), ('kd/seed1', 4.0), ('smooth/seed0', 4.0),
                                                        ('low/seed0', 1.0))]
    plot_runs(tmp_path / 'picture.png', runs)
    at_label = drawn[1].axes[0]
    assert at_label.get_legend_handles_labels()[1] == ['τ = 1', 'τ = 4, kd', 'τ = 4, smooth']
    assert len(at_label.lines) == 4 + 3  # the runs and the means


def test_runs_whose_file_is_missing_damaged_or_of_another_length_and_files_other_than_a_png_are_rejected(tmp_path):
    picture, other = tmp_path / 'new' / 'X.PNG', written(tmp_path / 'c', '')
    runs = [run(tmp_path / 'a', epochs=3), run(tmp_path / 'b', epochs=2)]
    with pytest.raises(ConfigError, match=r'b has 2 epochs and .*a 3'):
        plot_runs(picture, runs)
    for name in ('x.pdf', '.'):
        with pytest.raises(ConfigError, match='expected a PNG file'):
            plot_runs(tmp_path / name, [tmp_path / 'not there'])
    with pytest.raises(ConfigError, match='SoftLabelMonitorHook'):
        plot_runs(picture, [tmp_path])
    for text in ('', '[]', '3', '[null]', json.dumps(RECORD), json.dumps([RECORD, {}]), '\xff'):
        (other / 'soft_label_monitor/epochs.json').write_bytes(text.encode('latin-1'))
        with pytest.raises(ConfigError, match=r'monitor/epochs\.json is damaged or empty: expected the list'):
            plot_runs(picture, [other])
    assert not picture.exists()
    plot_runs(picture, runs[:1])
    assert image.imread(picture).shape[1] > 1000


def test_a_plane_has_measures_and_mean_accuracies_and_bias_and_variance_intervals_of_any_place(tmp_path, drawn):
    plots.plot_plane(tmp_path / 'plane.png', [(0.0, 0.1, [98.0, 99.0]), (0.5, 0.7, [20.0])], 'plane')
    axes = drawn[0].axes[0]
    assert axes.collections[0].get_offsets().tolist() == [[0.0, 0.1], [0.5, 0.7]]
    assert axes.collections[0].get_array().tolist() == [98.5, 20.0]
    assert [text.get_text() for text in axes.texts] == ['98', '20']
    assert axes.lines[0].get_xydata().sum(1).tolist() == [1, 1]
    bars = {quantity: [(.1, .3), (.4, .5)] for quantity in QUANTITIES}
    values = dict.fromkeys(QUANTITIES, (.2, .3))
    everywhere = Series('hard labels', None, dict.fromkeys(QUANTITIES, (.25, )))
    rows = {'τ': [Series('KD', [1., 4.], values, bars), everywhere], 'epoch': [Series('KD', [20, 40], values)]}
    plots.plot_bias_variance(tmp_path / 'a.png', rows, 'title')
    panels = drawn[1].axes
    assert (len(panels), panels[0].lines[0].get_xydata().tolist()) == (6, [[1, .2], [4, .3]])
    (low, high), (low_4, high_4) = panels[0].collections[0].get_segments()
    np.testing.assert_allclose([low[1], high[1], low_4[1], high_4[1]], [.1, .3, .3, .5])
    assert set(panels[0].lines[-1].get_ydata()) == {.25}


def heights(figure):
    return [patch.get_height() for patch in figure.axes[0].patches]


def test_charts_of_a_page_are_as_high_as_their_values_and_the_best_k_is_marked():
    bins = np.array([[50, 0.1, 0.25], [50, 0.4, 0.5], [0, np.nan, np.nan], [50, 0.9, 1.0]])
    assert heights(reliability(bins)) == [.25, .5, 1]
    figure = entropies(np.array([99, 0, 9]), 10)  # on an axis of logarithms of one more
    axes = figure.axes[0]
    assert heights(figure) == [99, 0, 9]
    zero, nine, top = axes.transData.transform([(0, 0), (0, 9), (0, 99)])[:, 1]
    assert (nine - zero) / (top - zero) == pytest.approx(.5)
    assert axes.get_yticks().tolist() == [0, 1, 10, 100]
    found = findings().biased
    lines = misleading(found).axes[0].lines
    for line, values in zip(lines, (found.unreliability, found.ambiguity, found.unreliability + found.ambiguity),
                            strict=False):
        np.testing.assert_array_equal(line.get_ydata(), values)
    assert set(lines[3].get_xdata()) == {found.best_k}


@pytest.mark.parametrize('c', [2, 120])
def test_a_chart_is_an_element_with_its_own_names_in_the_colours_of_the_page(c):
    found = findings(n=40, c=c)
    charts = [svg(misleading(found.biased), 'a < b'), svg(reliability(found.calibration.bins), 'b'),
              svg(entropies(found.calibration.entropy_counts, c), 'c')]
    names = []
    for text in charts:
        seen = Page(text)
        assert 'nan' not in text
        assert not re.findall(r'#[0-9a-f]{6}\b', text)
        assert 'var(--a)' in text
        own = [each['id'] for _, each in seen.elements if 'id' in each]
        assert {each['xlink:href'] for each in seen.all('use')} <= {f'#{name}' for name in own}
        names += own
    assert len(set(names)) == len(names)
    assert Page(charts[0]).all('svg')[0]['aria-label'] == 'a < b'
