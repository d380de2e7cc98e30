import pytest
from matplotlib import image, pyplot

from wsld_plugin.engine.figure import save_figure


def test_a_figure_has_its_inches_in_pixels_and_is_closed(tmp_path):
    save_figure(pyplot.figure(figsize=(3, 2)), tmp_path / 'new/folder/picture.png', dpi=50)
    assert image.imread(tmp_path / 'new/folder/picture.png').shape == (100, 150, 4)
    assert not pyplot.get_fignums()


def test_a_picture_that_cannot_be_written_leaves_nothing_behind(tmp_path):
    (tmp_path / 'picture.png').mkdir()
    with pytest.raises(OSError, match=r'picture\.png'):
        save_figure(pyplot.figure(), tmp_path / 'picture.png')
    assert [path.name for path in tmp_path.iterdir()] == ['picture.png']
    assert not pyplot.get_fignums()
