import re

import numpy as np
from soft_label_pages import Page, findings

from wsld_plugin.analysis.report.charts import Chart, entropies, misleading, reliability


def heights(svg):
    return [float(each['height']) for each in Page(svg).all('rect')]


def test_bars_are_as_high_as_the_accuracy_of_their_bin():
    bins = np.array([[50, 0.1, 0.25], [50, 0.4, 0.5], [0, np.nan, np.nan], [50, 0.9, 1.0]])
    found = heights(reliability(bins))
    np.testing.assert_allclose(np.array(found) / found[-1], [0.25, 0.5, 1], atol=0.01)


def test_entropies_are_drawn_in_logarithms_of_one_more():
    found = heights(entropies(np.array([99, 0, 9]), 10))
    np.testing.assert_allclose(found[2] / found[0], 0.5, atol=0.01)
    assert found[1] == 0


def test_curves_pass_through_their_values():
    found = findings().biased
    lines = re.findall(r'<polyline class="line (\w)" points="([^"]*)"', misleading(found))
    drawn = {kind: np.array([point.split(',') for point in points.split()], dtype=float) for kind, points in lines}
    bottom, top = (Chart('', '', '', (0, 1), (0, 1.5), (), ())._y(value) for value in (0, 1.5))
    for kind, values in (('a', found.unreliability), ('b', found.ambiguity),
                         ('c', found.unreliability + found.ambiguity)):
        np.testing.assert_allclose((bottom - drawn[kind][:, 1]) / (bottom - top) * 1.5, values, atol=0.01)


def test_all_that_is_drawn_is_on_the_picture():
    for c in (2, 10, 120):
        found = findings(n=40, c=c)
        for svg in (misleading(found.biased), reliability(found.calibration.bins),
                    entropies(found.calibration.entropy_counts, c)):
            seen = Page(svg)
            for name, most in (('cx', 360), ('cy', 240), ('x1', 360), ('y1', 240)):
                places = [float(each[name]) for _, each in seen.elements if name in each]
                assert all(0 <= place <= most for place in places)
            assert 'nan' not in svg
