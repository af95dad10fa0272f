"""Gaps and jumps in the times of a film's frames: where some were lost, or a file was joined."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

# A film with more gaps than this has no steady rate to begin with: its frames last as long as
# they are meant to.
_MOST_GAPS = Fraction(1, 4)
# Of the other steps nearly all are a frame long.
_STEADY = 0.95
_FEWEST_FRAMES = 8
# Sound begins some hundredths of a second before the picture in many films.
_LATE_SECONDS = Fraction(1, 5)


def describe_gaps(
    pts: Sequence[int], time_base: Fraction, promised_end: Fraction | None = None
) -> str:
    """Says where frames seem to be missing, for the end of a sentence; "" if none do.

    Only films of otherwise constant rate are judged. That frames are missing cannot be known: some
    programs leave frames out that equal the one before.

    Args:
        pts: timestamps of all frames, rising.
        time_base: seconds per unit.
        promised_end: seconds at which the last frame ends as the file says, or None.
    """
    if len(pts) < _FEWEST_FRAMES:
        return ""
    steps = np.diff(np.asarray(pts, np.int64)).astype(np.float64)
    usual = float(np.median(steps))
    gaps = steps > 1.5 * usual + 1
    even = np.abs(steps - usual) <= max(1.0, usual / 4)
    count = int(gaps.sum())
    if count > _MOST_GAPS * len(steps) or even[~gaps].mean() < _STEADY:
        return ""
    found = []
    if count:
        missing = int(np.rint(steps[gaps] / usual - 1).sum())
        first = float((pts[int(np.argmax(gaps))] - pts[0]) * time_base)
        found.append(
            f"its times have {_number(count, 'gap')} of {_number(missing, 'frame')}, the first at "
            f"{first:.1f} s"
        )
    if promised_end is not None:
        missing = round(float(promised_end / time_base - pts[-1]) / usual - 1)
        if missing > 0:
            found.append(f"it ends {_number(missing, 'frame')} before its promised end")
    return f"{' and '.join(found)}: its rate varies, or frames were lost" if found else ""


def describe_late_start(first: Fraction, film_start: Fraction) -> str:
    """Says that the picture begins later than the film, for the end of a sentence; or "".

    Films are made so, and films are damaged so.

    Args:
        first: seconds at which the first frame is shown.
        film_start: seconds at which the film begins.
    """
    late = first - film_start
    return f"its picture begins {float(late):.2f} s after its sound" if late > _LATE_SECONDS else ""


def describe_jumps(jumps: Sequence[int], time_base: Fraction, first: int) -> str:
    """Says where the times of a file jump, for the end of a sentence; "" if they do not.

    Args:
        jumps: timestamps that the first frames behind the jumps were given.
        time_base: seconds per unit.
        first: timestamp of the first frame.
    """
    if not jumps:
        return ""
    times = "once" if len(jumps) == 1 else f"{len(jumps)} times, the first"
    return (
        f"its times jump {times} at {float((jumps[0] - first) * time_base):.1f} s; the frames "
        "follow each other without a gap"
    )


def promised_end(streams: Sequence[dict[str, Any]], index: int) -> Fraction | None:
    """Seconds at which Matroska's tag DURATION says that a stream ends, or None if it does not.

    Args:
        streams: as on the card.
        index: of the stream.
    """
    tag = next(
        (one["metadata"].get("DURATION", "") for one in streams if one["index"] == index), ""
    )
    hours, _, rest = tag.partition(":")
    minutes, _, seconds = rest.partition(":")
    try:
        return (int(hours) * 60 + int(minutes)) * 60 + Fraction(seconds)
    except (ValueError, ZeroDivisionError):
        return None


def _number(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"
