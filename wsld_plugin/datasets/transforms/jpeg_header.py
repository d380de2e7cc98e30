"""What the header of a JPEG tells before anything is decoded."""
from __future__ import annotations

import struct
from typing import NamedTuple

_SEQUENTIAL, _PROGRESSIVE = (0xC0, 0xC1), 0xC2
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # the three are tables, and one that is reserved
_SCAN, _APP1 = 0xDA, 0xE1
_ORIENTATION, _SHORT = 0x0112, 3


class JpegHeader(NamedTuple):
    """Size and layout of a JPEG.

    Args:
        height: pixels.
        width: pixels.
        rows: pixel rows that are coded together: 8, or 16 where the colours have half the lines.
        height_at: offset in the file of the two bytes that hold the height.
        can_stop: whether its rows come one after the other, so that decoding can stop in the middle: all three
            channels in one scan, not progressive.
    """

    height: int
    width: int
    rows: int
    height_at: int
    can_stop: bool


def read_header(content: bytes) -> JpegHeader | None:
    """The header of a colour JPEG that is shown as it is stored; None for everything else.

    Everything else is: other formats, greyscale and CMYK (other than three channels), more than 8 bits, arithmetic
    or lossless coding, an EXIF orientation that turns or mirrors, a file that does not end with the mark of the end
    (cut short, since decoders differ in what they make of it, or with something behind it), and whatever cannot be
    read. Source: ITU-T T.81, annex B.
    """
    try:
        return _read(content)
    except (struct.error, IndexError):
        return None


def _read(content: bytes) -> JpegHeader | None:
    if not (content.startswith(b'\xff\xd8') and content.endswith(b'\xff\xd9')):
        return None
    frame: tuple[int, int] | None = None
    exif_seen = False
    at = 2
    while content[at] == 0xFF:
        while content[at + 1] == 0xFF:  # fill bytes
            at += 1
        marker, length = content[at + 1], content[at + 2] << 8 | content[at + 3]
        if marker == _APP1 and content[at + 4:at + 10] == b'Exif\0\0':
            if exif_seen or _orientation(content[at + 10:at + 2 + length]) != 1:
                return None
            exif_seen = True
        elif marker in _FRAMES:
            frame = marker, at
        elif marker == _SCAN:
            return None if frame is None else _header(content, *frame, channels_in_scan=content[at + 4])
        at += 2 + length
    return None


def _header(content: bytes, marker: int, at: int, channels_in_scan: int) -> JpegHeader | None:
    precision, height, width, channels = struct.unpack_from('>BHHB', content, at + 4)
    if (precision, channels) != (8, 3) or not height or not width or marker not in (*_SEQUENTIAL, _PROGRESSIVE):
        return None
    lines = max(content[at + 11 + 3 * channel] & 15 for channel in range(3))
    return JpegHeader(height, width, 8 * lines, at + 5, marker in _SEQUENTIAL and channels_in_scan == 3)


def _orientation(tiff: bytes) -> int:
    """The orientation that EXIF tells, 1 (as stored) to 8; 0 where it cannot be read."""
    order = {b'II': '<', b'MM': '>'}.get(tiff[:2])
    if order is None:
        return 0
    start, = struct.unpack_from(order + 'I', tiff, 4)
    count, = struct.unpack_from(order + 'H', tiff, start)
    for entry in range(count):
        tag, kind, _, value = struct.unpack_from(order + 'HHIH', tiff, start + 2 + 12 * entry)
        if tag == _ORIENTATION:
            return value if kind == _SHORT else 0
    return 1
