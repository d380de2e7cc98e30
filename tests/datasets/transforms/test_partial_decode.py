import cv2
import numpy as np
import pytest
from jpegs import SAMPLINGS, decoded, jpeg, picture

from wsld_plugin.datasets.transforms import partial_decode
from wsld_plugin.datasets.transforms.jpeg_header import read_header
from wsld_plugin.datasets.transforms.partial_decode import DENOMINATORS, decode_part

RESTARTS = cv2.IMWRITE_JPEG_RST_INTERVAL


def part(content, bottom, denominator=1):
    return decode_part(content, read_header(content), bottom, denominator)


@pytest.mark.parametrize('sampling', SAMPLINGS)
@pytest.mark.parametrize('restarts', [0, 3])
def test_the_rows_that_are_needed_are_bit_for_bit_those_of_the_full_decode(decoder, sampling, restarts):
    content = jpeg(picture(101, 75, noise=20), cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling, RESTARTS, restarts)
    full = decoded(content)
    for bottom in (1, 7, 8, 15, 16, 17, 50, 63, 64, 100, 101):
        np.testing.assert_array_equal(part(content, bottom)[:bottom], full[:bottom])


def test_a_progressive_jpeg_is_decoded_whole(decoder):
    content = jpeg(picture(101, 75), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    np.testing.assert_array_equal(part(content, 20), decoded(content))


def test_no_coded_row_below_the_needed_ones_is_decoded():
    pytest.importorskip('simplejpeg')
    content = jpeg(picture(160, 75), cv2.IMWRITE_JPEG_SAMPLING_FACTOR, SAMPLINGS[-1])
    assert [len(part(content, bottom)) for bottom in (1, 15, 16, 140, 144, 160)] == [16, 16, 32, 144, 160, 160]
    assert len(part(content, 60, 2)) == 32


@pytest.mark.parametrize('denominator', DENOMINATORS[1:])
@pytest.mark.parametrize('sampling', SAMPLINGS)
def test_a_fraction_of_the_size_is_the_mean_of_each_square(decoder, denominator, sampling):
    content = jpeg(picture(160, 240, noise=0), cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling)
    squares = decoded(content).astype(np.float64).reshape(160 // denominator, denominator, 240 // denominator,
                                                          denominator, 3)
    # 4:1:1 has the colours of four pixels in one, which no decoder interpolates at any size
    limit = 4.0 if sampling == cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411 else 1.0
    assert np.abs(part(content, 160, denominator) - squares.mean((1, 3))).mean() < limit


@pytest.mark.parametrize('denominator', DENOMINATORS)
def test_sizes_that_cannot_be_divided_are_rounded_up(decoder, denominator):
    content = jpeg(picture(101, 75))
    assert part(content, 101, denominator).shape == (-(-101 // denominator), -(-75 // denominator), 3)


@pytest.mark.parametrize('denominator', DENOMINATORS)
def test_both_decoders_give_the_same_pixels(denominator, monkeypatch):
    pytest.importorskip('simplejpeg')
    content = jpeg(picture(101, 75, noise=20), cv2.IMWRITE_JPEG_SAMPLING_FACTOR, SAMPLINGS[-1])
    found = part(content, 101, denominator)
    monkeypatch.setattr(partial_decode, 'SIMPLEJPEG', None)
    np.testing.assert_array_equal(found, part(content, 101, denominator))


def test_a_byte_that_was_changed_does_to_the_needed_rows_what_it_does_in_the_full_decode(decoder):
    content = jpeg(picture(160, 240), RESTARTS, 2)
    for place in range(len(content) // 2, len(content) - 2, 997):
        damaged = content[:place] + bytes([content[place] ^ 0x15]) + content[place + 1:]
        np.testing.assert_array_equal(part(damaged, 40)[:40], decoded(damaged)[:40])
        np.testing.assert_array_equal(part(damaged, 160), decoded(damaged))
