"""Sections of the network: curves of its training, and the provenance of everything."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Any

import keras
import tensorflow as tf

import bladerunner_ae
from bladerunner_ae.evaluation.choice import describe_choice, few_frames
from bladerunner_ae.evaluation.labels import HELD_OUT
from bladerunner_ae.memory_report import charts
from bladerunner_ae.memory_report.gather import Memory
from bladerunner_ae.memory_report.sections.film_facts import section
from bladerunner_ae.runs.films import films_of
from tfrecords import storage
from tfrecords.storage import Location

Points = list[tuple[float, float]]
_MOST_POINTS = 400

_PANELS: Sequence[tuple[str, str, Sequence[tuple[str, str, str]]]] = (
    ("PSNR of the probe frames", "dB", (
        ("probe/psnr_seen", "seen", "seen"), ("probe/psnr_held_out", "held out", "held"))),
    ("PSNR of the frames measured", "dB", (
        ("evaluate/psnr_seen", "seen", "seen"), ("evaluate/psnr_held_out", "held out", "held"))),
    ("Perceptual distance of some frames measured", "", (
        ("evaluate/perceptual_seen", "seen", "seen"),
        ("evaluate/perceptual_held_out", "held out", "held"))),
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
    """Line of a panel with points (step, value); its kind decides the colour."""

    name: str
    kind: str
    points: Points


@dataclass(frozen=True)
class Panel:
    title: str
    unit: str
    curves: list[Curve]


def read_panels(run: Location | None) -> list[Panel]:
    """Return a run's curves from RUN/metrics.jsonl, if there are any.

    Lines that are not JSON, such as the last one of a killed process, are skipped. Of a step that
    was done twice, after a restart, the later figures count.
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
    """Return equally spaced points and the last one, few enough for a page."""
    every = -(-len(points) // _MOST_POINTS)
    return points[::every] + ([points[-1]] if (len(points) - 1) % every else [])


def curves_section(memory: Memory) -> str:
    """Return the curves of the training; empty for a model without a run."""
    panels = read_panels(memory.autoencoder.run)
    if not panels:
        return ""
    figures = "".join(_panel(panel) for panel in panels)
    return section("learning", "How it learnt", f'<div class="panels">{figures}</div>')


def _panel(panel: Panel) -> str:
    values = [value for curve in panel.curves for _, value in curve.points]
    steps = [step for curve in panel.curves for step, _ in curve.points]
    across = charts.exact(steps, "step", 3)
    if all(value > 0 for value in values) and max(values) > 30 * min(values):
        up = charts.logarithmic(values, panel.unit, 0.0)
    else:
        up = charts.linear(values, panel.unit, 3)
    drawing = "".join(
        charts.line([(across.place(s), up.place(v)) for s, v in curve.points], curve.kind)
        for curve in panel.curves
    )
    last = ", ".join(f"{curve.name} {curve.points[-1][1]:.4g}" for curve in panel.curves)
    key = " ".join(
        f'<span class="key-{curve.kind}">{escape(curve.name)}</span>' for curve in panel.curves
    )
    label = f"{panel.title} over the steps; at the end {last}"
    return (
        f'<figure class="panel"><figcaption><b>{escape(panel.title)}</b> {key}</figcaption>'
        f"{charts.plot(drawing, across, up, label)}</figure>"
    )


def provenance_section(memory: Memory) -> str:
    card = memory.autoencoder.card
    films = "".join(_film(memory, place) for place in range(len(memory.films)))
    rows = [
        ("Network", _network(card)),
        ("Sampling", sampling(memory)),
        ("Perceptual distance", _perceptual(memory)),
        ("Page", _page()),
    ]
    listed = "".join(f"<dt>{name}</dt><dd>{escape(words)}</dd>" for name, words in rows)
    config = json.dumps(
        {k: card[k] for k in ("preset", "objective", "weights", "model", "train", "films",
                              "reading", "fine_tune") if k in card}, indent=1,
    )  # fmt: skip
    detail = (
        f"<details><summary>Configuration of the training</summary><pre>{escape(config)}</pre>"
        "</details>" if card else ""
    )  # fmt: skip
    return section("provenance", "Provenance", f"<dl>{films}{listed}</dl>{detail}")


def _film(memory: Memory, place: int) -> str:
    card = memory.films[place].card
    source = card.source
    held = sum(
        shot.part.end - shot.part.start for shot in memory.shots
        if shot.part.film == place and shot.part.label == HELD_OUT
    )  # fmt: skip
    words = (
        f"{card.frames} frames at {card.frame_rate} a second, {len(card.shot_starts)} shots, "
        f"{held} frames held out of training, records of {card.height}x{card.width}"
    )
    return (
        f"<dt>Film</dt><dd>{escape(str(source['name']))}<br>{escape(words)}<br>"
        f"<code>sha256 {escape(str(source.get('sha256', card.film_id)))}</code></dd>"
    )


def _network(card: Mapping[str, Any]) -> str:
    if not card:
        return "an exported autoencoder without a model card"
    model, train = card.get("model", {}), card.get("train", {})
    watched = ", ".join(film.name for film in films_of(card)) or "no film"
    return (
        f"has watched {watched}; preset {card.get('preset')}, objective {card.get('objective')}, "
        f"{card.get('trained_steps', card.get('step'))} steps of {train.get('batch_size')} frames"
        f"{_earlier_weights(card)}, "
        f"{model.get('latent_size')} latent numbers, seed {train.get('seed')}, "
        f"bladerunner_ae {card.get('tool_version')}"
    )


def sampling(memory: Memory) -> str:
    """Describe how many of the films' frames the page's figures are measured on."""
    chosen = [(film.choice, film.card) for film in memory.films]
    amount, _, shots = describe_choice(chosen).partition(" in ")
    shown = sum(len(strip.pairs) for strip in memory.strips)
    figures = f"{amount} were measured"
    if not all(choice.complete for choice, _ in chosen):
        figures += (
            f", in {shots}: neighbours in pairs, and some longer runs; each of them weighs as "
            "much in the figures as the frames it stands for"
        )
    return f"{figures}; {shown} of them can be viewed here"


def _perceptual(memory: Memory) -> str:
    if memory.missing_perceptual:
        return memory.missing_perceptual
    count = sum(few_frames(film.choice) for film in memory.films)
    return (
        f"of {count} frames, by features of EfficientNet-Lite0, a network that has seen photographs"
    )


def _page() -> str:
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, bladerunner_ae {bladerunner_ae.__version__}, "
        f"TensorFlow {tf.__version__}, Keras {keras.__version__}"
    )


def _earlier_weights(card: Mapping[str, Any]) -> str:
    step = card.get("step")
    earlier = card.get("trained_steps", step) != step
    return f", weights of step {step}, the best measured" if earlier else ""
