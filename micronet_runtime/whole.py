"""Whether a JPEG or PNG is all there, told from its segments without decoding it."""
import re

MARKER = re.compile(rb'\xff+([^\x00\xd0-\xd7\xff])')  # less those within a scan: stuffed bytes and restarts


def is_whole(data: bytes) -> bool:
    """False for a JPEG or PNG that was cut off and for no data at all; True for everything else.

    What follows the end of the picture, such as the film of a moving photo, does not matter.
    """
    if data[:2] == b'\xff\xd8':
        return data[-2:] == b'\xff\xd9' or jpeg_ends(data)
    if data[:8] == b'\x89PNG\r\n\x1a\n':
        return png_ends(data)
    return bool(data)


def jpeg_ends(data: bytes) -> bool:
    place = 2
    while found := MARKER.search(data, place):
        marker, place = found[1][0], found.end()
        if marker == 0xD9:
            return True
        if marker != 0x01:  # the only other one without a length
            place += int.from_bytes(data[place:place + 2], 'big')
    return False


def png_ends(data: bytes) -> bool:
    place = 8
    while place + 12 <= len(data):
        length, kind = int.from_bytes(data[place:place + 4], 'big'), data[place + 4:place + 8]
        place += 12 + length
        if kind == b'IEND':
            return place <= len(data)
    return False
