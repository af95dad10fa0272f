"""Gaps in the times of a film's frames: where a damaged file lost some without a trace."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

# A film with more gaps than this has no steady rate to begin with: its frames last as long as
# they are meant to.
_MOST_GAPS = Fraction(1, 4)
# Of the other steps nearly all are a frame long.
_STEADY = 0.95
_FEWEST_FRAMES = 8


def describe_gaps(pts: Sequence[int], time_base: Fraction) -> str:
    """Says where frames seem to be missing, for the end of a sentence; "" if none do.

    Only films of otherwise constant rate are judged. That frames are missing cannot be known: some
    programs leave frames out that equal the one before.

    Args:
        pts: timestamps of all frames, rising.
        time_base: seconds per unit.
    """
    if len(pts) < _FEWEST_FRAMES:
        return ""
    steps = np.diff(np.asarray(pts, np.int64))
    usual = float(np.median(steps))
    gaps = steps > 1.5 * usual + 1
    even = np.abs(steps - usual) <= max(1.0, usual / 4)
    count = int(gaps.sum())
    if not count or count > _MOST_GAPS * len(steps) or even[~gaps].mean() < _STEADY:
        return ""
    missing = int(np.rint(steps[gaps] / usual - 1).sum())
    first = float((pts[int(np.argmax(gaps))] - pts[0]) * time_base)
    return (
        f"its times have {count} {'gap' if count == 1 else 'gaps'} of {missing} "
        f"{'frame' if missing == 1 else 'frames'}, the first at {first:.1f} s: they were lost, or "
        "never there"
    )
