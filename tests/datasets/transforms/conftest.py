import pytest

from wsld_plugin.datasets.transforms import partial_decode


@pytest.fixture(params=['cv2', 'simplejpeg'])
def decoder(request, monkeypatch):
    """Each decoder in turn; OpenCV's alone where simplejpeg is not installed."""
    library = pytest.importorskip('simplejpeg') if request.param == 'simplejpeg' else None
    monkeypatch.setattr(partial_decode, 'SIMPLEJPEG', library)
    return request.param
