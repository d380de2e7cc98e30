import cv2
import pytest
from jpegs import SAMPLINGS, decoded, jpeg, picture, pillow_jpeg, with_exif

from wsld_plugin.datasets.transforms.jpeg_header import read_header

PLAIN = jpeg(picture(37, 50))
PROGRESSIVE = jpeg(picture(37, 50), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
SCAN, END = b'\xff\xda', b'\xff\xd9'


@pytest.mark.parametrize('size', [(1, 1), (37, 50), (64, 300)])
@pytest.mark.parametrize(('sampling', 'rows'), list(zip(SAMPLINGS, [8, 16, 8, 8, 16], strict=True)))
def test_size_and_coding_are_the_files(size, sampling, rows):
    content = jpeg(picture(*size), cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling)
    header = read_header(content)
    assert (header.height, header.width) == decoded(content).shape[:2] == size
    assert (header.rows, header.can_stop) == (rows, True)
    assert int.from_bytes(content[header.height_at:header.height_at + 2], 'big') == size[0]


def test_a_jpeg_in_several_passes_cannot_stop():
    assert not read_header(PROGRESSIVE).can_stop
    one_channel_a_scan = PLAIN.replace(SCAN + PLAIN[PLAIN.index(SCAN) + 2:][:3], SCAN + b'\0\x08\x01')
    assert one_channel_a_scan != PLAIN
    assert not read_header(one_channel_a_scan).can_stop


@pytest.mark.parametrize('order', ['II', 'MM'])
def test_only_what_is_shown_as_it_is_stored_has_a_header(order):
    found = [read_header(with_exif(PLAIN, orientation, order)) is not None for orientation in range(10)]
    assert found == [orientation == 1 for orientation in range(10)]


def test_an_orientation_that_is_not_certain_gives_none():
    assert read_header(with_exif(PLAIN, 1, 'XX')) is None
    assert read_header(with_exif(with_exif(PLAIN, 1), 1)) is None


@pytest.mark.parametrize('content', [
    b'', b'no image', jpeg(picture(37, 50)[..., 0]), pillow_jpeg('CMYK', 37, 50),
    cv2.imencode('.png', picture(37, 50))[1].tobytes()], ids=['empty', 'text', 'grey', 'CMYK', 'PNG'])
def test_what_is_no_colour_jpeg_gives_none(content):
    assert read_header(content) is None


def test_a_file_that_was_cut_gives_none():
    assert all(read_header(PLAIN[:end]) is None for end in range(len(PLAIN)))


def test_a_header_that_was_cut_anywhere_gives_none():
    assert all(read_header(PLAIN[:end] + END) is None for end in range(PLAIN.index(SCAN) + 2))


def test_bytes_that_fill_up_before_a_marker_are_passed_over():
    assert read_header(PLAIN[:2] + b'\xff\xff\xff' + PLAIN[2:])[:3] == read_header(PLAIN)[:3]
