from pathlib import Path

import numpy as np
from fake_runs import result
from matplotlib import image

from wsld_plugin.reproduce.plan import Cell
from wsld_plugin.reproduce.plot import plot_lines
from wsld_plugin.reproduce.report import summarise

OURS, PUBLISHED = (0x1f, 0x77, 0xb4), (0xff, 0x7f, 0x0e)  # the first two of matplotlib's cycle


def pixels_of(path, colour):
    picture = image.imread(path)[..., :3]
    return int((np.abs(picture - np.array(colour) / 255).max(axis=-1) < 0.01).sum())


def lines(published):
    cells = [Cell('row', method, Path('c.py'), published=published) for method in ('KD', 'WSLD')]
    return summarise({cells[0]: [result(90.0), result(91.0, 1)], cells[1]: [None, None],
                      Cell('other row', 'KD', Path('d.py')): [result(50.0)]})


def test_the_picture_shows_ours_and_the_published_figures_in_their_colours(tmp_path):
    plot_lines(tmp_path / 'a.png', lines(published=92.0), 'title')
    plot_lines(tmp_path / 'b.png', lines(published=None), 'title', 'best')
    assert pixels_of(tmp_path / 'a.png', OURS) > 100
    assert pixels_of(tmp_path / 'a.png', PUBLISHED) > 20
    assert pixels_of(tmp_path / 'b.png', PUBLISHED) == 0


def test_a_table_of_which_nothing_was_run_can_be_drawn(tmp_path):
    cell = Cell('row', 'KD', Path('c.py'), published=70.0)
    plot_lines(tmp_path / 'a.png', summarise({cell: [None]}), 'title')
    assert pixels_of(tmp_path / 'a.png', OURS) == 0
