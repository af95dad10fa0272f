"""Charts as SVG with axes in HTML, so that text keeps its size on a narrow screen.

A drawing is stretched to its box; lines and dots keep their width, because they are strokes that
do not scale. A dot is a line of length 0 with round ends.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

SIDE = 1000
"""Units along both sides of a drawing."""

_MOST_MARKS = 7


@dataclass(frozen=True)
class Axis:
    """Scale from values to 0..1000; `offset` None: linear, else logarithmic in value + offset.

    `ticks` are the (value, text) of each mark; `name` is the quantity with its unit.
    """

    low: float
    high: float
    ticks: list[tuple[float, str]]
    name: str
    offset: float | None = None

    def place(self, value: float) -> float:
        low, high, value = (self._scaled(v) for v in (self.low, self.high, value))
        return round(SIDE * min(max((value - low) / (high - low or 1.0), 0.0), 1.0), 1)

    def _scaled(self, value: float) -> float:
        return value if self.offset is None else math.log10(max(value + self.offset, 1e-12))


def exact(values: Sequence[float], name: str, wanted: int = 4) -> Axis:
    """Return an axis from the lowest to the highest value, with round numbers between."""
    axis = linear(values, name, wanted)
    low, high = (min(values), max(values)) if max(values) > min(values) else (axis.low, axis.high)
    return Axis(low, high, [(v, words) for v, words in axis.ticks if low <= v <= high], name)


def linear(values: Sequence[float], name: str, wanted: int = 4) -> Axis:
    low, high = min(values), max(values)
    if high - low < 1e-9 * max(abs(high), 1e-9):
        low, high = low - (abs(low) * 0.1 or 1.0), high + (abs(high) * 0.1 or 1.0)
    step = _round_step((high - low) / wanted)
    first, last = math.floor(low / step), math.ceil(high / step)
    return Axis(first * step, last * step, [(i * step, _short(i * step)) for i in
                                            range(first, last + 1)], name)  # fmt: skip


def logarithmic(values: Sequence[float], name: str, offset: float) -> Axis:
    low, high = min(values), max(values)
    marks = [0.0, *(m * 10.0**e for e in range(-9, 7) for m in (1, 3))]
    marks = [mark for mark in marks if low <= mark <= high and (not mark or mark >= offset)]
    if len(marks) > _MOST_MARKS:
        marks = [mark for mark in marks if not mark or math.log10(mark).is_integer()]
    low, high = low / 1.15, high * 1.15 + offset * 0.1
    return Axis(low, high, [(mark, _short(mark)) for mark in marks], name, offset)


def clock(seconds: float) -> str:
    """Return a time as text, such as 0:07 or 1:02:03."""
    whole = max(int(seconds + 1e-6), 0)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def time_axis(duration: float, wanted: int = 8) -> Axis:
    steps = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
    step = next((s for s in steps if duration / s <= wanted), 7200)
    marks = [float(s) for s in range(0, int(duration) + 1, step) if s <= duration * 0.985]
    return Axis(0.0, duration, [(mark, clock(mark)) for mark in marks], "time")


def line(points: Sequence[tuple[float, float]], kind: str) -> str:
    """Return a line through points (right, up), 0..1000; a dot for a single one."""
    if len(points) == 1:
        return dot(*points[0], kind)
    path = "L".join(f"{x:g} {SIDE - y:g}" for x, y in points)
    return f'<path class="line {kind}" d="M{path}"/>'


def area(points: Sequence[tuple[float, float, float]], kind: str) -> str:
    """Return the area between two lines, points (right, low, high)."""
    above = [f"{x:g} {SIDE - high:g}" for x, _, high in points]
    below = [f"{x:g} {SIDE - low:g}" for x, low, _ in reversed(points)]
    return f'<path class="area {kind}" d="M{"L".join(above + below)}Z"/>'


def dot(x: float, y: float, kind: str, attributes: str = "") -> str:
    """Return a dot at (right, up), 0..1000."""
    return f'<path class="dot {kind}" {attributes} d="M{x:g} {SIDE - y:g}h0"/>'


def span(start: float, end: float, kind: str) -> str:
    return f'<rect class="{kind}" x="{start:g}" y="0" width="{end - start:g}" height="{SIDE}"/>'


def ruler(place: float, kind: str) -> str:
    return f'<path class="{kind}" d="M{place:g} 0V{SIDE}"/>'


def plot(drawing: str, across: Axis, up: Axis, label: str, kind: str = "") -> str:
    """Draw axes around a drawing; `label` describes it for people who cannot see it."""
    grid = "".join(f'<path class="grid" d="M0 {SIDE - up.place(v):g}H{SIDE}"/>'
                   for v, _ in up.ticks)  # fmt: skip
    ups = "".join(
        f'<span style="bottom:{up.place(value) / 10:g}%">{escape(words)}</span>'
        for value, words in up.ticks
    )
    acrosses = "".join(
        f'<span style="left:{across.place(value) / 10:g}%">{escape(words)}</span>'
        for value, words in across.ticks
    )
    return (
        f'<div class="plot {kind}"><p class="up-name">{escape(up.name)}</p>'
        f'<div class="frame"><svg role="img" aria-label="{escape(label)}" '
        f'viewBox="0 0 {SIDE} {SIDE}" preserveAspectRatio="none">{grid}{drawing}</svg>'
        f'<div class="up" aria-hidden="true">{ups}</div>'
        f'<div class="across" aria-hidden="true">{acrosses}</div></div>'
        f'<p class="across-name">{escape(across.name)}</p></div>'
    )


def _round_step(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(m * power for m in (1.0, 2.0, 2.5, 5.0, 10.0) if m * power >= step * 0.999)


def _short(value: float) -> str:
    if value and (abs(value) < 1e-3 or abs(value) >= 1e5):
        return f"{value:.1e}".replace("e-0", "e-").replace("e+0", "e").replace(".0e", "e")
    return f"{round(value, 6):g}".replace("-", "\u2212")
