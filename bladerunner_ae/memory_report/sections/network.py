"""The network on the page: its map of the film, how it learnt, and where all this comes from."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape
from typing import Any

import keras
import tensorflow as tf

import bladerunner_ae
from bladerunner_ae.evaluation.choice import describe_choice
from bladerunner_ae.evaluation.labels import HELD_OUT
from bladerunner_ae.memory_report import charts
from bladerunner_ae.memory_report.curves import Panel, read_panels
from bladerunner_ae.memory_report.gather import Memory, map_of
from bladerunner_ae.memory_report.latent_map import shot_colour, time_colour
from bladerunner_ae.memory_report.sections.film import viewer
from bladerunner_ae.runs.films import films_of

Entries = list[list[dict[str, Any]]]


def map_section(memory: Memory, entries: Entries) -> str:
    """Returns the map of the strips' frames; a sentence where there is none.

    Args:
        memory: of the films.
        entries: `film_section.strip_entries` of each film.
    """
    found = map_of(memory)
    if found is None:
        no_encoder = memory.dreamer.encode is None
        reason = "the model has no encoder beside it" if no_encoder else "too few frames differ"
        return _section("map", "The map of the film", f'<p class="note">None: {reason}.</p>')
    drawing = ""
    flat = [(film, entry) for film, own in enumerate(entries) for entry in own]
    for number, ((film, entry), (x, y)) in enumerate(zip(flat, found.places.tolist(), strict=True)):
        colours = (
            f"--time:{time_colour(entry['place'] / 100)};"
            f"--shot:{shot_colour(entry['shot'] + 31 * film)}"
        )
        at = 30 + 940 * x, 40 + 920 * y
        drawing += charts.dot(*at, "map-dot" + (" ring" if entry["held"] else ""),
                              f'data-number="{number}" style="{colours}"')  # fmt: skip
        if entry["held"]:
            drawing += charts.dot(*at, "hole", 'stroke-width="4"')
    first = flat[len(flat) // 2][1]
    rings = " Rings were held out." if any(entry["held"] for _, entry in flat) else ""
    body = f"""
<p class="lead">{len(flat)} frames where the network keeps them: its numbers for a frame, seen along
the two directions that show most in pictures. Frames that it takes for kin lie together.{rings}</p>
<fieldset class="choice"><legend class="hidden">Colour of the points</legend>
<label><input type="radio" name="colour" value="time" checked> by time</label>
<label><input type="radio" name="colour" value="shot"> by shot</label></fieldset>
<div class="two map-pair">
<div class="map" data-by="time" tabindex="0" role="group" aria-label="Map of {len(flat)} frames; \
arrow keys go through the film">
<svg role="img" aria-label="Frames as points, near each other where their latents are alike" \
viewBox="0 0 1000 1000" preserveAspectRatio="none">{drawing}\
<path class="dot here" d="M0 0h0"/></svg>
<p class="key" aria-hidden="true"><span>beginning</span><i></i><span>end</span></p></div>
{viewer(first, "map-frame")}</div>"""
    return _section("map", "The map of the film", body)


def curves_section(memory: Memory) -> str:
    """Returns training's curves; nothing if the model lies in no run."""
    panels = read_panels(memory.dreamer.run)
    if not panels:
        return ""
    figures = "".join(_panel(panel) for panel in panels)
    return _section("learning", "How it learnt", f'<div class="panels">{figures}</div>')


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
    """Returns where films, network and page come from."""
    card = memory.dreamer.card
    films = "".join(_film(memory, place) for place in range(len(memory.films)))
    rows = [("Network", _network(card)), ("Sampling", sampling(memory)), ("Page", _page())]
    listed = "".join(f"<dt>{name}</dt><dd>{escape(words)}</dd>" for name, words in rows)
    config = json.dumps(
        {k: card[k] for k in ("preset", "objective", "weights", "model", "train", "films",
                              "reading", "fine_tune") if k in card}, indent=1,
    )  # fmt: skip
    detail = (
        f"<details><summary>Configuration of the training</summary><pre>{escape(config)}</pre>"
        "</details>" if card else ""
    )  # fmt: skip
    return _section("provenance", "Provenance", f"<dl>{films}{listed}</dl>{detail}")


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
        f"{card.get('step')} steps of {train.get('batch_size')} frames, "
        f"{model.get('latent_size')} latent numbers, seed {train.get('seed')}, "
        f"bladerunner_ae {card.get('tool_version')}"
    )


def sampling(memory: Memory) -> str:
    """Says how many of the films' frames the page's figures rest on."""
    chosen = [(film.choice, film.card) for film in memory.films]
    amount, _, shots = describe_choice(chosen).partition(" in ")
    shown = sum(len(strip.pairs) for strip in memory.strips)
    figures = f"{amount} were measured"
    if not all(choice.complete for choice, _ in chosen):
        figures += (
            f", in {shots}: neighbours in pairs, and some longer runs; each of them weighs as "
            "much in the figures as the frames it stands for"
        )
    return f"{figures}; {shown} of them can be looked at here"


def _page() -> str:
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, bladerunner_ae {bladerunner_ae.__version__}, "
        f"TensorFlow {tf.__version__}, Keras {keras.__version__}"
    )


def _section(name: str, title: str, body: str) -> str:
    return f'\n<section aria-labelledby="{name}"><h2 id="{name}">{title}</h2>{body}</section>'
