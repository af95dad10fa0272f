"""Gaps and jumps in the times of a film's frames: lost frames, or joined files."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from bladerunner_ae.film.notes import Note, NoteKind

# A film with more gaps than this has no constant rate to begin with: its frames last as long as
# they are meant to.
_MOST_GAPS = Fraction(1, 4)
# Of the other steps nearly all are a frame long.
_STEADY = 0.95
_FEWEST_FRAMES = 8
# Sound begins some hundredths of a second before the picture in many films.
_LATE_SECONDS = Fraction(1, 5)


def find_gaps(
    pts: Sequence[int], time_base: Fraction, promised_end: Fraction | None = None
) -> Note | None:
    """Note on frames that seem to be missing, or None.

    Only films of otherwise constant rate are judged. That frames are missing cannot be known: some
    programs leave out frames equal to the one before. `pts` rise, in units of `time_base`;
    `promised_end` is in seconds.
    """
    if len(pts) < _FEWEST_FRAMES:
        return None
    steps = np.diff(np.asarray(pts, np.int64)).astype(np.float64)
    usual = float(np.median(steps))
    gaps = steps > 1.5 * usual + 1
    even = np.abs(steps - usual) <= max(1.0, usual / 4)
    count = int(gaps.sum())
    if count > _MOST_GAPS * len(steps) or even[~gaps].mean() < _STEADY:
        return None
    signs = list[Note]()
    if count:
        missing = int(np.rint(steps[gaps] / usual - 1).sum())
        first = float((pts[int(np.argmax(gaps))] - pts[0]) * time_base)
        signs.append(NoteKind.GAPS.note(gaps=count, frames=missing, seconds=first))
    if promised_end is not None:
        missing = round(float(promised_end / time_base - pts[-1]) / usual - 1)
        if missing > 0:
            signs.append(NoteKind.ENDS_EARLY.note(frames=missing))
    return NoteKind.FRAMES_LOST.note(signs=tuple(signs)) if signs else None


def late_start(first: Fraction, film_start: Fraction) -> Note | None:
    """Note if the picture begins later than the film (both in seconds); by design, or by damage."""
    late = first - film_start
    return NoteKind.LATE_PICTURE.note(seconds=float(late)) if late > _LATE_SECONDS else None


def jumps_note(jumps: Sequence[int], time_base: Fraction, first: int) -> Note | None:
    """Note on jumps in the times of a file, given the timestamps of the first frames after them."""
    if not jumps:
        return None
    seconds = float((jumps[0] - first) * time_base)
    if len(jumps) == 1:
        return NoteKind.JUMP.note(seconds=seconds)
    return NoteKind.JUMPS.note(count=len(jumps), seconds=seconds)


def promised_end(streams: Sequence[dict[str, Any]], index: int) -> Fraction | None:
    """Seconds at which Matroska's tag DURATION says that a stream ends, or None."""
    tag = next(
        (one["metadata"].get("DURATION", "") for one in streams if one["index"] == index), ""
    )
    hours, _, rest = tag.partition(":")
    minutes, _, seconds = rest.partition(":")
    try:
        return (int(hours) * 60 + int(minutes)) * 60 + Fraction(seconds)
    except (ValueError, ZeroDivisionError):
        return None
