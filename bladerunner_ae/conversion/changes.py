"""Notes on what changes within a film: black bars, the format of its frames, interlacing.

What is cut off is decided before, from frames all over the film (`film.reading.bars`); bars that
come and go are reported, as in films that change between two formats.
"""

from collections import Counter
from collections.abc import Callable
from itertools import pairwise

from bladerunner_ae.conversion.facts import DARK, Facts
from bladerunner_ae.film.picture.frame_format import FrameFormat
from bladerunner_ae.film.reading.probe import FilmInfo

# Both bars of a pair are alike to this part of the side; narrower pairs are none.
_NARROWEST = 0.03
# Wider ones are no format, but small bright things on black, as in titles.
_WIDEST = 0.36
# Pairs seen in a smaller part of the frames are chance.
_RAREST = 0.05
# The largest picture is the one that at least this part of the frames reach.
_FEWEST_LARGEST = 0.002


def changes(facts: Facts, info: FilmInfo) -> list[str]:
    """Return notes on what changes, and on what was made of it.

    Args:
        facts: about all frames that were converted.
        info: the film.
    """
    fitted = "brought to the first"
    distinct = {id(one): one for one in facts.formats}.values()  # a few objects, millions of times
    if {one.fitted_into(info.look) for one in distinct} - {info.look[:2]}:
        fitted += ", in shape, with black margins"
    found = [
        _interlaced(facts, info),
        _change(facts, info, "size changes", _size, fitted),
        _change(facts, info, "pixels change their shape", _aspect, fitted),
        _change(facts, info, "direction changes", _rotation, "all is turned as the first"),
        _change(facts, info, "colours change", _coding, "each part is read by its own"),
        _change(facts, info, "light changes", _light, "all is shown as the first"),
        _bars(facts),
    ]
    return [note for note in found if note]


def _seconds(facts: Facts, frame: int, info: FilmInfo) -> float:
    return float((facts.times[frame] - facts.times[0]) * info.time_base)


def _interlaced(facts: Facts, info: FilmInfo) -> str:
    interlaced = facts.interlaced()
    count = int(interlaced.sum())
    if not count or info.interlaced:  # the latter is among its own notes
        return ""
    what = "one whole frame is made of each pair of fields"
    if not info.deinterlace:
        what = "their fields are left as they are"
    first = _seconds(facts, int(interlaced.argmax()), info)
    frames = "1 frame is" if count == 1 else f"{count} frames are"
    return f"{frames} interlaced, the first at {first:.1f} s; {what}"


def _change(
    facts: Facts, info: FilmInfo, what: str, describe: Callable[[FrameFormat], str], made: str
) -> str:
    """Say where something differs from the frame before, or "" if it nowhere does."""
    found = [
        (frame, describe(before), describe(after))
        for frame, (before, after) in enumerate(pairwise([info.look, *facts.formats]))
        if before is not after and describe(before) != describe(after)
    ]
    if not found:
        return ""
    frame, before, after = found[0]
    times = "" if len(found) == 1 else f"{len(found)} times, first "
    at = _seconds(facts, frame, info)
    return f"its {what} on the way ({times}at {at:.1f} s, {before} to {after}): {made}"


def _size(look: FrameFormat) -> str:
    return f"{look.height}x{look.width}"


def _aspect(look: FrameFormat) -> str:
    return f"{look.aspect.numerator}:{look.aspect.denominator}"


def _rotation(look: FrameFormat) -> str:
    return f"{look.rotation} degrees{', mirrored' if look.mirrored else ''}"


def _coding(look: FrameFormat) -> str:
    return f"{look.tags.matrix}, {'full' if look.tags.full_range else 'limited'} range"


def _light(look: FrameFormat) -> str:
    return f"{look.tags.primaries} {look.tags.transfer}"


def _bars(facts: Facts) -> str:
    """Say that black bars come and go, or "" if they do not."""
    found = []
    for widths, where in zip(facts.bars().T, ("above and below", "on the left and right"),
                             strict=True):  # fmt: skip
        counts = Counter(widths[widths != DARK].tolist())
        if (usual := _usual_bars(counts)) is not None:
            share, width = usual
            found.append(
                f"{100 * share:.0f} % of the frames have bars of {100 * width:.0f} % {where}"
            )
    if not found:
        return ""
    return f"black bars come and go: {' and '.join(found)}; the largest picture is kept"


def _usual_bars(counts: Counter[int]) -> tuple[float, float] | None:
    """Return (part of the frames, part of the side) of the commonest bars besides permanent ones.

    Margins of the record itself are bars that are always there.

    Args:
        counts: of frames, by width of their bars in thousandths.
    """
    frames = counts.total()
    enough = max(_FEWEST_LARGEST * frames, 1)
    largest, seen = 0, 0
    for largest in sorted(counts):
        seen += counts[largest]
        if seen >= enough:
            break
    wider = {
        width: count
        for width, count in counts.items()
        if 1000 * _NARROWEST <= width - largest <= 1000 * _WIDEST
    }
    if not wider:
        return None
    # A row more or less depends on what the picture shows at its edge.
    groups = {
        width: sum(count for other, count in wider.items() if abs(other - width) <= 10)
        for width in wider
    }
    width = max(groups, key=lambda one: (groups[one], wider[one], one))
    share = groups[width] / frames
    return (share, (width - largest) / 1000) if share >= _RAREST else None
