"""Colours that a film's frames are tagged with, and their handling.

Films carry the code points of ISO/IEC 23091-2, or nothing, or wrong ones.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from av.video.frame import VideoFrame

from bladerunner_ae.film.headers.side_data import read_side_data
from bladerunner_ae.film.notes import Note, NoteKind

# By code point.
_MATRICES = {0: "rgb", 1: "bt709", 4: "fcc", 5: "bt601", 6: "bt601", 7: "smpte240m", 9: "bt2020",
             10: "bt2020"}  # fmt: skip
_UNSPECIFIED_MATRIX = 2
_CONSTANT_LUMINANCE = 10
_LIMITED_RANGE, _FULL_RANGE = 1, 2
_TRANSFERS = {1: "bt709", 6: "bt601", 13: "srgb", 14: "bt2020", 15: "bt2020", 16: "pq", 18: "hlg"}
_HIGH_DYNAMIC_TAGS = (16, 18)
_HIGH_DYNAMIC_RANGE = {"pq": "HDR10 (PQ)", "hlg": "HDR (HLG)"}
_PRIMARIES = {1: "bt709", 5: "bt601-625", 6: "bt601-525", 7: "bt601-525", 9: "bt2020",
              11: "dci-p3", 12: "p3"}  # fmt: skip
_WIDE_PRIMARIES = {"bt2020": "BT.2020", "p3": "Display P3", "dci-p3": "DCI-P3"}

# The brightest light of a film that does not say; ffmpeg's filter takes the same.
_USUAL_PEAK_NITS = 1000.0

# An untagged film above these sizes is BT.709 by convention, up to them BT.601. Both sides count: a
# film of 2.39:1 in 1280 columns has only 536 rows, and it is high definition all the same. Upright
# films of telephones are judged as if they lay on their side.
_STANDARD_DEFINITION_SHORT_SIDE = 576
_HIGH_DEFINITION_LONG_SIDE = 1280


class Tags(NamedTuple):
    """Colours of a frame, as tagged or guessed.

    Attributes:
        matrix: of YCbCr: "bt709", "bt601", "bt2020", "fcc", "smpte240m", or "rgb" for none.
        full_range: whether black is 0 and white 255, rather than 16 and 235.
        transfer: "bt709", "srgb", "pq", "hlg" ... or "unspecified".
        primaries: "bt709", "bt2020", "p3", "dci-p3" ... or "unspecified".
    """

    matrix: str
    full_range: bool
    transfer: str
    primaries: str


@dataclass(frozen=True)
class Colours:
    """Colours of a film's first frame, with notes."""

    tags: Tags
    peak_nits: float | None
    notes: list[Note]


def read_colours(frame: VideoFrame) -> Colours:
    """Return the colours of a decoded frame, guessed where untagged, with notes."""
    matrix, note = _matrix(frame)
    transfer = _TRANSFERS.get(frame.color_trc, "unspecified")
    primaries = _PRIMARIES.get(int(frame.color_primaries), "unspecified")
    peak = _peak_nits(frame) if transfer in _HIGH_DYNAMIC_RANGE else None
    full = frame.color_range == _FULL_RANGE or frame.format.name.startswith("yuvj")
    tags = Tags(matrix, full, transfer, primaries)
    notes = [one for one in (note, conversion_note(tags, peak)) if one is not None]
    return Colours(tags, peak, notes)


def read_tags(frame: VideoFrame, usual: Tags) -> Tags:
    """Tags of a frame; missing ones are taken from `usual`."""
    matrix = _MATRICES.get(int(frame.colorspace) or _UNSPECIFIED_MATRIX, usual.matrix)
    if frame.format.is_rgb:
        matrix = "rgb"
    elif matrix == "rgb":
        matrix = _matrix(frame)[0]
    said = frame.color_range in (_LIMITED_RANGE, _FULL_RANGE)
    full = frame.color_range == _FULL_RANGE if said else usual.full_range
    return Tags(
        matrix,
        full or frame.format.name.startswith("yuvj"),
        _TRANSFERS.get(frame.color_trc, usual.transfer),
        _PRIMARIES.get(int(frame.color_primaries), usual.primaries),
    )


def is_converted(tags: Tags) -> bool:
    """Whether an ordinary display needs other light than the film's own.

    BT.601's primaries are so near BT.709's that they are left, as ffmpeg's scaling leaves them.
    """
    return tags.transfer in _HIGH_DYNAMIC_RANGE or tags.primaries in _WIDE_PRIMARIES


def conversion_note(tags: Tags, peak_nits: float | None) -> Note | None:
    """Note on the conversion of colours besides matrix and range; None if there is none."""
    if not is_converted(tags):
        return None
    wide = _WIDE_PRIMARIES.get(tags.primaries, tags.primaries)
    if tags.transfer in _HIGH_DYNAMIC_RANGE:
        wide = "BT.2020" if tags.primaries == "unspecified" else wide
        light = _HIGH_DYNAMIC_RANGE[tags.transfer]
        return NoteKind.TONE_MAPPED.note(light=light, peak_nits=peak_nits, primaries=wide)
    return NoteKind.WIDE_COLOURS.note(primaries=wide)


def _matrix(frame: VideoFrame) -> tuple[str, Note | None]:
    """(matrix, note): there is a note only if the film's own matrix is not supported."""
    if frame.format.is_rgb:
        return "rgb", None
    tag = int(frame.colorspace)
    short, long = sorted((frame.height, frame.width))
    high = short > _STANDARD_DEFINITION_SHORT_SIDE or long >= _HIGH_DEFINITION_LONG_SIDE
    usual = "bt709" if high else "bt601"
    if frame.color_trc in _HIGH_DYNAMIC_TAGS:
        usual = "bt2020"
    if tag in (_UNSPECIFIED_MATRIX, 0):
        return usual, None
    if tag == _CONSTANT_LUMINANCE:
        return "bt2020", NoteKind.CONSTANT_LUMINANCE.note()
    if tag in _MATRICES:
        return _MATRICES[tag], None
    return usual, NoteKind.UNKNOWN_MATRIX.note(number=tag, used=usual)


def _peak_nits(frame: VideoFrame) -> float:
    """The brightest light: of the content, else of the display it was made on, else a usual one.

    ffmpeg's tone map asks in the same order. Both are in structures of libavutil: two unsigned
    numbers; ten fractions, the last of which is the brightest light, and two flags.
    """
    found = read_side_data(frame, "CONTENT_LIGHT_LEVEL", "MASTERING_DISPLAY_METADATA")
    content = found.get("CONTENT_LIGHT_LEVEL")
    if content is not None:
        brightest = int(np.frombuffer(content, np.uint32)[0])
        if brightest:
            return float(brightest)
    display = found.get("MASTERING_DISPLAY_METADATA")
    if display is not None:
        numbers = np.frombuffer(display, np.int32)
        numerator, denominator, has_light = int(numbers[18]), int(numbers[19]), numbers[21]
        if has_light and denominator and numerator > 0:
            return numerator / denominator
    return _USUAL_PEAK_NITS
