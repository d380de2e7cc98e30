import numpy as np
from matplotlib import image

from wsld_plugin.analysis.bias_variance_bootstrap import QUANTITIES
from wsld_plugin.analysis.bias_variance_plot import Series, plot_bias_variance

FIRST, SECOND = (0x1f, 0x77, 0xb4), (0xff, 0x7f, 0x0e)  # of matplotlib's cycle


def pixels_of(path, colour):
    picture = image.imread(path)[..., :3]
    return int((np.abs(picture - np.array(colour) / 255).max(axis=-1) < 0.01).sum())


def values(*numbers):
    return dict.fromkeys(QUANTITIES, numbers)


def test_lines_bars_and_constants_are_drawn_in_the_colour_of_their_label(tmp_path):
    # an interval need not hold its estimate
    bars = {quantity: [(.1, .3), (.4, .5)] for quantity in QUANTITIES}
    rows = {'τ': [Series('KD', [1., 4.], values(.2, .3), bars), Series('hard labels', None, values(.25))],
            'epoch': [Series('KD', [20, 40, 60], values(.3, .2, .1))]}
    plot_bias_variance(tmp_path / 'a.png', rows, 'title')
    plot_bias_variance(tmp_path / 'b.png', {'epoch': rows['epoch']}, 'title')
    assert pixels_of(tmp_path / 'a.png', FIRST) > pixels_of(tmp_path / 'b.png', FIRST) > 300
    assert pixels_of(tmp_path / 'a.png', SECOND) > 300
    assert pixels_of(tmp_path / 'b.png', SECOND) == 0
