"""Times of a film's frames: repaired while reading, judged when all are known."""

import heapq
from collections.abc import Sequence
from fractions import Fraction

# Rates that films have; a declared one may be rounded to two or three decimals.
_USUAL_RATES = (
    Fraction(24000, 1001), Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(30),
    Fraction(48000, 1001), Fraction(48), Fraction(50), Fraction(60000, 1001), Fraction(60),
    Fraction(12), Fraction(15), Fraction(15000, 1001), Fraction(120), Fraction(120000, 1001),
)  # fmt: skip
_LIBAV_NUMBERS = 30_000
# Rates that are the same but for rounding.
_SAME_RATE = Fraction(1, 100_000)


def constant_rate(
    pts: Sequence[int], time_base: Fraction, candidates: Sequence[Fraction]
) -> Fraction | None:
    """Return the constant rate at which these frames are shown, or None if there is none.

    A rate fits if no frame is more than one unit of the time base, or a quarter of a frame, away
    from its place in the even row: that much is rounding. (If a unit is a whole frame, one unit is
    a missing frame.) `candidates`, in frames per second, are tried before the usual rates.
    """
    declared = [rate for candidate in candidates for rate in _readings(candidate)]
    # A rate that all times keep exactly precedes one that they keep roughly.
    for exact, rates in ((True, declared), (False, (*declared, *_USUAL_RATES))):
        for rate in dict.fromkeys(rates):
            if _fits(pts, rate * time_base, exact):
                return rate
    return None


def _readings(declared: Fraction) -> tuple[Fraction, ...]:
    """Rates that a declared one can stand for, the likelier first.

    libav gets Matroska's rates from rounded durations, as fractions of numbers up to 30000: so
    120000/1001 comes as 29011/242.
    """
    television = Fraction(round(declared * 1001 / 1000) * 1000, 1001)
    if television.numerator <= _LIBAV_NUMBERS or abs(television / declared - 1) > _SAME_RATE:
        return (declared,)
    return television, declared


def mean_rate(pts: Sequence[int], time_base: Fraction) -> Fraction | None:
    """Frames per second on average, or None for fewer than two frames."""
    if len(pts) < 2 or pts[-1] <= pts[0]:
        return None
    rate = (len(pts) - 1) / ((pts[-1] - pts[0]) * time_base)
    return rate.limit_denominator(1001)


def _fits(pts: Sequence[int], frames_per_unit: Fraction, exact: bool) -> bool:
    """Whether every frame is near its place at a constant rate, or exactly there."""
    numerator, denominator = frames_per_unit.numerator, frames_per_unit.denominator
    # Everything times four times `numerator`, so that only whole numbers are compared.
    tolerance = 0 if exact else min(4 * numerator, denominator)
    return all(
        4 * abs((value - pts[0]) * numerator - index * denominator) <= tolerance
        for index, value in enumerate(pts)
    )


class Clock:
    """Timestamps of frames, each later than the one before.

    Most films need no repair. AVI files number their packets instead of timing their frames, bare
    streams carry no time at all, and a broadcast can start over from 0 in the middle.

    Args:
        step: units of the time base from one frame to the next, at the nominal rate.
        first: timestamp of the first frame if the film does not say.
        reset: units of the time base by which time must jump back to count as starting over.
        by_packets: take the packets' times in rising order (AVI) instead of the frames' own.
        delay: units from those times, at which frames are decoded, to when the first is shown.

    Attributes:
        repaired: number of timestamps made up.
    """

    def __init__(
        self, step: Fraction, first: int, reset: int, by_packets: bool = False, delay: int = 0
    ) -> None:
        self._step, self._first, self._reset, self._delay = step, first, reset, delay
        self._by_packets = by_packets
        self._waiting: list[int] = []
        self._previous: int | None = None
        self._untimed = 0
        self._shift = 0
        self.repaired = 0

    def packet(self, time: int | None) -> None:
        if self._by_packets and time is not None:
            heapq.heappush(self._waiting, time)

    def drop(self, time: int | None) -> None:
        """Forget a packet that the decoder refused."""
        if self._by_packets and time in self._waiting:
            self._waiting.remove(time)
            heapq.heapify(self._waiting)

    def frame(self, pts: int | None) -> int:
        """Timestamp of the next frame in display order; `pts` is its own, or None."""
        if self._by_packets and self._waiting:
            pts = heapq.heappop(self._waiting) + self._delay
        time = self._after_previous(None if pts is None else pts + self._shift)
        self._previous = time
        return time

    def _after_previous(self, time: int | None) -> int:
        if time is None:
            # Counted from the first untimed frame, so that no rounding adds up.
            self._untimed += 1
            return self._first + round((self._untimed - 1) * self._step)
        if self._previous is None or time > self._previous:
            self._first, self._untimed = time, 1
            return time
        self.repaired += 1
        if self._previous - time < self._reset:
            return self._previous + 1  # a slip; what follows is on time again
        later = self._previous + max(round(self._step), 1)
        self._shift += later - time
        return later
