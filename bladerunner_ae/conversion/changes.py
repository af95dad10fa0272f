"""Notes on changes within a film: black bars, the format of its frames, interlacing.

Cropping is decided before, from frames all over the film (`film.reading.bars`); bars that come and
go are reported, as in films that change between two formats.
"""

from collections import Counter
from collections.abc import Callable
from itertools import pairwise

from bladerunner_ae.conversion.facts import DARK, Facts
from bladerunner_ae.film.info import FilmInfo
from bladerunner_ae.film.notes import Note, NoteKind
from bladerunner_ae.film.picture.frame_format import FrameFormat

# Both bars of a pair are alike to this part of the side; narrower pairs are none.
_NARROWEST = 0.03
# Wider ones are no format, but small bright things on black, as in titles.
_WIDEST = 0.36
# Pairs seen in a smaller part of the frames are chance.
_RAREST = 0.05
# The largest picture is the one that at least this part of the frames reach.
_FEWEST_LARGEST = 0.002


def changes(facts: Facts, info: FilmInfo) -> list[Note]:
    """Return notes on changes among all converted frames, and on their handling."""
    first = info.picture.first
    distinct = {id(one): one for one in facts.formats}.values()  # a few objects, millions of times
    in_shape = any(one.fitted_into(first) != first[:2] for one in distinct)
    fit = (NoteKind.FIT_IN_SHAPE if in_shape else NoteKind.FIT).note()
    found = [
        _interlaced(facts, info),
        _change(facts, info, NoteKind.SIZE_CHANGES, _size, fit=fit),
        _change(facts, info, NoteKind.SHAPE_CHANGES, _aspect, fit=fit),
        _change(facts, info, NoteKind.DIRECTION_CHANGES, _rotation),
        _change(facts, info, NoteKind.COLOURS_CHANGE, _coding),
        _change(facts, info, NoteKind.LIGHT_CHANGES, _light),
        _bars(facts),
    ]
    return [note for note in found if note is not None]


def _seconds(facts: Facts, frame: int, info: FilmInfo) -> float:
    return float((facts.times[frame] - facts.times[0]) * info.timing.time_base)


def _interlaced(facts: Facts, info: FilmInfo) -> Note | None:
    interlaced = facts.interlaced()
    if not interlaced.any() or info.interlaced:  # the latter is among its own notes
        return None
    kind = NoteKind.FRAMES_DEINTERLACED if info.deinterlace else NoteKind.FRAMES_OF_FIELDS
    first = _seconds(facts, int(interlaced.argmax()), info)
    return kind.note(frames=int(interlaced.sum()), seconds=first)


def _change(
    facts: Facts,
    info: FilmInfo,
    kind: NoteKind,
    describe: Callable[[FrameFormat], str],
    **further: Note,
) -> Note | None:
    """Return the note on frames that differ from the frame before, or None."""
    found = [
        (frame, describe(before), describe(after))
        for frame, (before, after) in enumerate(pairwise([info.picture.first, *facts.formats]))
        if before is not after and describe(before) != describe(after)
    ]
    if not found:
        return None
    frame, before, after = found[0]
    values = {"seconds": _seconds(facts, frame, info), "before": before, "after": after}
    change = NoteKind.CHANGE.note(**values)
    if len(found) > 1:
        change = NoteKind.FIRST_CHANGE.note(count=len(found), **values)
    return kind.note(change=change, **further)


def _size(one: FrameFormat) -> str:
    return f"{one.height}x{one.width}"


def _aspect(one: FrameFormat) -> str:
    return f"{one.aspect.numerator}:{one.aspect.denominator}"


def _rotation(one: FrameFormat) -> str:
    return f"{one.rotation} degrees{', mirrored' if one.mirrored else ''}"


def _coding(one: FrameFormat) -> str:
    return f"{one.tags.matrix}, {'full' if one.tags.full_range else 'limited'} range"


def _light(one: FrameFormat) -> str:
    return f"{one.tags.primaries} {one.tags.transfer}"


def _bars(facts: Facts) -> Note | None:
    """Return the note on black bars that come and go, or None."""
    rows, columns = facts.bars().T
    found = []
    for widths, where in ((rows, "above and below"), (columns, "on the left and right")):
        usual = _usual_bars(Counter(widths[widths != DARK].tolist()))
        if usual is not None:
            share, width = usual
            found.append(NoteKind.BARS.note(percent=100 * share, width=100 * width, where=where))
    return NoteKind.BARS_CHANGE.note(bars=tuple(found)) if found else None


def _usual_bars(counts: Counter[int]) -> tuple[float, float] | None:
    """Return (fraction of frames, fraction of side) of the commonest bars besides permanent ones.

    Margins of the record itself are permanent bars. `counts` are of frames, by bar width in
    thousandths.
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
