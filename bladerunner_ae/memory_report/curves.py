"""Training's figures over its steps, from RUN/metrics.jsonl."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from tfrecords import storage
from tfrecords.storage import Location

Points = list[tuple[float, float]]
_MOST_POINTS = 400

_PANELS: Sequence[tuple[str, str, Sequence[tuple[str, str, str]]]] = (
    ("PSNR of the probe frames", "dB", (
        ("probe/psnr_seen", "seen", "seen"), ("probe/psnr_held_out", "held out", "held"))),
    ("PSNR of the frames measured", "dB", (
        ("evaluate/psnr_seen", "seen", "seen"), ("evaluate/psnr_held_out", "held out", "held"))),
    ("Loss of the encoder and decoder", "", (
        ("loss/encoder", "encoder", "held"), ("loss/decoder", "decoder", "seen"))),
    ("Discriminator's belief that a frame is real", "", (
        ("term/p_real", "of the film", "seen"),
        ("term/p_reconstruction", "of the dream", "held"))),
    ("Divergence of the latents from N(0, 1)", "nats", (("term/kl", "KL", "seen"),)),
    ("Learning rate", "", (("learning_rate", "learning rate", "quiet"),)),
)  # fmt: skip


@dataclass(frozen=True)
class Curve:
    """One line of a panel: `name` in words, `kind` decides its colour, points (step, value)."""

    name: str
    kind: str
    points: Points


@dataclass(frozen=True)
class Panel:
    """Curves that share their axes."""

    title: str
    unit: str
    curves: list[Curve]


def read_panels(run: Location | None) -> list[Panel]:
    """Returns a run's curves; none where there is no run or it wrote no figures.

    Lines that are no JSON, as a process that was killed leaves one, are left out. Of a step that
    was taken twice, after a restart, the later figures count.
    """
    if run is None or not storage.is_file(run / "metrics.jsonl"):
        return []
    series: dict[str, dict[float, float]] = {}
    for line in storage.read_bytes(run / "metrics.jsonl").decode("utf-8", "replace").splitlines():
        try:
            values = json.loads(line)
            step = float(values.pop("step"))
            finite = {
                name: float(value)
                for name, value in values.items()
                if isinstance(value, int | float) and math.isfinite(value)
            }
        except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError):
            continue
        if math.isfinite(step):
            for name, value in finite.items():
                series.setdefault(name, {})[step] = value
    panels = []
    for title, unit, names in _PANELS:
        curves = [
            Curve(text, kind, thinned(sorted(series[key].items())))
            for key, text, kind in names
            if len(series.get(key, {})) > 1 and any(series[key].values())
        ]
        if curves:
            panels.append(Panel(title, unit, curves))
    return panels


def thinned(points: Points) -> Points:
    """Returns every so manieth point, the last one included, so that a page can hold them."""
    every = -(-len(points) // _MOST_POINTS)
    return points[::every] + ([points[-1]] if (len(points) - 1) % every else [])
