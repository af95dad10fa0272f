"""Whether a film keeps to a constant rate, decided from the timestamps of all its frames."""

from collections.abc import Sequence
from fractions import Fraction

# Rates that films have; a file's own claim may be rounded to two or three decimals.
_USUAL_RATES = (
    Fraction(24000, 1001), Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(30),
    Fraction(48000, 1001), Fraction(48), Fraction(50), Fraction(60000, 1001), Fraction(60),
    Fraction(12), Fraction(15), Fraction(15000, 1001), Fraction(120),
)  # fmt: skip


def constant_rate(
    pts: Sequence[int], time_base: Fraction, candidates: Sequence[Fraction]
) -> Fraction | None:
    """The constant rate at which these frames are shown, or None if there is no such rate.

    A rate fits if no frame is more than one unit of the time base away from its place in the even
    row: that much is rounding.

    Args:
        pts: timestamps of all frames in order, in units of `time_base`.
        time_base: seconds per unit.
        candidates: rates the film claims, in frames per second; they go before the usual ones.
    """
    for rate in dict.fromkeys((*candidates, *_USUAL_RATES)):
        if _largest_error(pts, rate * time_base) <= 1:
            return rate
    return None


def mean_rate(pts: Sequence[int], time_base: Fraction) -> Fraction | None:
    """Frames per second on average, or None for fewer than two frames."""
    if len(pts) < 2 or pts[-1] <= pts[0]:
        return None
    rate = (len(pts) - 1) / ((pts[-1] - pts[0]) * time_base)
    return rate.limit_denominator(1001)


def _largest_error(pts: Sequence[int], frames_per_unit: Fraction) -> Fraction:
    """How far, in units of the time base, a frame is from its place at a constant rate."""
    numerator, denominator = frames_per_unit.numerator, frames_per_unit.denominator
    errors = (
        abs((value - pts[0]) * numerator - index * denominator) for index, value in enumerate(pts)
    )
    return Fraction(max(errors, default=0), numerator)
