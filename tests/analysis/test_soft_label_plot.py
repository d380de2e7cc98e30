import json

import pytest
from matplotlib import image

from wsld_plugin.analysis.soft_label_plot import plot_runs, read_epochs
from wsld_plugin.errors import ConfigError


def run(folder, tau=4.0, epochs=3):
    records = [dict(epoch=epoch + 1, tau=tau, regularization_label=.5, regularization_row=.1 * epoch,
                    weight_histogram=[0] * 49 + [20]) for epoch in range(epochs)]
    (folder / 'soft_label_monitor').mkdir(parents=True)
    (folder / 'soft_label_monitor/epochs.json').write_text(json.dumps(records))
    return folder


def test_runs_of_several_temperatures_give_a_picture(tmp_path):
    runs = [run(tmp_path / 'a', 1.0), run(tmp_path / 'b', 4.0), run(tmp_path / 'c', 4.0)]
    plot_runs(tmp_path / 'picture.png', runs)
    pixels = image.imread(tmp_path / 'picture.png')
    assert pixels.shape[1] > 1000
    assert pixels[..., :3].std() > 0


def test_a_run_without_the_hook_is_told_what_to_add(tmp_path):
    with pytest.raises(ConfigError, match='SoftLabelMonitorHook'):
        read_epochs(tmp_path)


def test_runs_of_other_lengths_are_refused_by_name(tmp_path):
    runs = [run(tmp_path / 'a', epochs=3), run(tmp_path / 'b', epochs=2)]
    with pytest.raises(ConfigError, match=r'b has 2 epochs and .*a 3'):
        plot_runs(tmp_path / 'picture.png', runs)
