"""The report as one HTML file with its style, its script and its pictures."""

import json
import re
from html import escape
from importlib.resources import files
from pathlib import PurePath
from string import Template
from typing import Any

from bladerunner_ae.evaluation.labels import HELD_OUT, SEEN, UNSEEN
from bladerunner_ae.memory_report.gather import Memory
from bladerunner_ae.memory_report.sections.film_facts import film_section, strip_entries
from bladerunner_ae.memory_report.sections.latent_map import map_section
from bladerunner_ae.memory_report.sections.network import (
    curves_section,
    provenance_section,
    sampling,
)
from bladerunner_ae.memory_report.sections.shot_table import (
    gallery_section,
    relation_section,
    table_section,
    unit_of,
)
from bladerunner_ae.memory_report.shot_memory import group_means
from bladerunner_ae.runs.films import films_of

_FILES = files("bladerunner_ae.memory_report") / "page_files"
_GROUPS = {SEEN: "of what it watched", HELD_OUT: "of what was held out", UNSEEN: "of a new film"}


def make_page(memory: Memory) -> str:
    """Return the page as HTML; it refers to nothing outside itself."""
    entries = [strip_entries(memory, place) for place in range(len(memory.films))]
    title = _title(memory)
    return Template(_file("page.html")).substitute(
        step=memory.autoencoder.card.get("step", ""),
        title=escape(title),
        heading=escape(title),
        watched=escape(_watched(memory)),
        figures=_figures(memory),
        style=_file("report.css"),
        films="".join(film_section(memory, place) for place in range(len(memory.films))),
        these="these films" if len(memory.films) > 1 else "this film",
        sampling=escape(sampling(memory)),
        gallery=gallery_section(memory),
        relation=relation_section(memory),
        table=table_section(memory),
        map=map_section(memory, entries),
        curves=curves_section(memory),
        provenance=provenance_section(memory),
        data=_embedded(entries),
        script=_file("page.js"),
    )


def step_of(page: str) -> str:
    """Return the step of training at which a page shows a network; "" if it has none."""
    found = re.search(r'<meta name="step" content="(\d+)">', page)
    return found[1] if found else ""


def _file(name: str) -> str:
    return (_FILES / name).read_text("utf-8")


def _embedded(entries: Any) -> str:
    """Return JSON that cannot end its script element."""
    return json.dumps(entries, separators=(",", ":")).replace("<", "\\u003c")


def _title(memory: Memory) -> str:
    names = [PurePath(film.card.source["name"]).stem for film in memory.films]
    titles = [" ".join(name.replace("_", " ").split()) or name for name in names]
    titles = [name[:1].upper() + name[1:] for name in titles]
    return ", ".join(titles[:3]) + (f" and {len(titles) - 3} more" if len(titles) > 3 else "")


def _watched(memory: Memory) -> str:
    card = memory.autoencoder.card
    if not card:
        return "as dreamed by a network"
    watched = {film.film_id for film in films_of(card)}
    shown = {film.card.film_id for film in memory.films}
    numbers = card.get("model", {}).get("latent_size")
    keeps = f"{numbers} numbers per frame and {card.get('step')} steps of training"
    if (steps := card.get("trained_steps", card.get("step"))) != card.get("step"):
        keeps += f", the best measured of {steps}"
    if shown == watched:
        return f"as remembered by a network that has watched nothing else, with {keeps}"
    if shown < watched:
        return f"as remembered by a network that has watched {len(watched)} films, with {keeps}"
    names = ", ".join(film.name for film in films_of(card))
    return f"as dreamed by a network that has watched only {names}, with {keeps}"


def _figures(memory: Memory) -> str:
    means = group_means(memory.shots).items()
    values = [("PSNR", f"{psnr:.2f} dB", label) for label, (psnr, _, _) in means]
    values += [("SSIM", f"{ssim:.3f}", label) for label, (_, ssim, _) in means]
    values += [
        ("perceptual distance", f"{distance:.3f}", label)
        for label, (_, _, distance) in means
        if distance is not None
    ]
    facts = [
        (value, f"{name} {_GROUPS[label]}", "held" if label == HELD_OUT else "")
        for name, value, label in values
    ]
    frames = sum(film.card.frames for film in memory.films)
    shots = len({(shot.part.film, shot.part.shot) for shot in memory.shots})
    facts += [(f"{frames:,}".replace(",", "\u202f"), "frames", ""), (str(shots), "shots", "")]
    if unit_of(memory) != "shot":
        facts.append((str(len(memory.shots)), "stretches", ""))
    return "".join(
        f'<div class="{kind}"><dt>{words}</dt><dd>{value}</dd></div>'
        for value, words, kind in facts
    )
