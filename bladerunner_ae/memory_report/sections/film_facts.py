"""Section of a film: the two barcodes, its memory over time, and a viewer of frames."""

from html import escape
from typing import Any

import numpy as np

from bladerunner_ae.evaluation.labels import HELD_OUT
from bladerunner_ae.memory_report import charts
from bladerunner_ae.memory_report.gather import Memory
from bladerunner_ae.memory_report.measure import FilmMemory
from bladerunner_ae.memory_report.shown_frames import Pair, barcode_uri

_COLUMNS = 480
_MOST_CUTS = 400


def section(name: str, title: str, body: str) -> str:
    return f'\n<section aria-labelledby="{name}"><h2 id="{name}">{title}</h2>{body}</section>'


def film_section(memory: Memory, place: int) -> str:
    film = memory.films[place]
    name = escape(film.card.source["name"])
    strip = strip_entries(memory, place)
    first = strip[len(strip) // 2]
    return f"""
<section class="film" data-film="{place}" aria-labelledby="film-{place}">
<h2 id="film-{place}"{"" if len(memory.films) > 1 else ' class="hidden"'}>{name}</h2>
<div class="stack">
<figure class="barcode"><figcaption>the film</figcaption>
<img src="{barcode_uri(film.original)}" alt="Barcode of {name}: the colours of its frames, from \
the first on the left to the last on the right"></figure>
<figure class="barcode"><figcaption>the dream</figcaption>
<img src="{barcode_uri(film.dream)}" alt="Barcode of the dream of {name}, made \
in the same way"></figure>
<i class="playhead" aria-hidden="true"></i>
</div>
<input class="scrub" type="range" min="0" max="{len(strip) - 1}" value="{len(strip) // 2}" \
aria-label="Moment of {name}" aria-valuetext="{escape(first["words"])}">
{_over_time(memory, place)}
{viewer(first, f"film-{place}-frame")}
</section>"""


def strip_entries(memory: Memory, place: int) -> list[dict[str, Any]]:
    """Return the frames of a film that can be viewed, as the page's script reads them."""
    film, shots = memory.films[place], [s for s in memory.shots if s.part.film == place]
    starts = [shot.part.start for shot in shots]
    entries = []
    for frame, pair in memory.strips[place].pairs.items():
        at = int(np.searchsorted(film.frames, frame))
        shot = shots[max(int(np.searchsorted(starts, frame, side="right")) - 1, 0)]
        seconds, psnr = float(film.seconds[at]), float(film.psnr[at])
        words = f"frame {frame} at {charts.clock(seconds)}, {shot.part.label}, {psnr:.1f} dB"
        entries.append(
            {
                "place": round(100.0 * seconds / film.duration, 2),
                "words": words,
                "shot": shot.part.shot,
                "held": shot.part.label == HELD_OUT,
                "original": pair.original,
                "dream": pair.dream,
            }
        )
    return entries


def viewer(entry: dict[str, Any], name: str) -> str:
    return f"""<figure class="viewer" id="{name}">
<div class="pair"><img class="original" src="{entry["original"]}" alt="Original">\
<img class="dream" src="{entry["dream"]}" alt="Dream"></div>
<figcaption><span>the film</span><output aria-live="off">{escape(entry["words"])}</output>\
<span>the dream</span></figcaption></figure>"""


def pair_figure(pair: Pair, words: str, caption: str) -> str:
    """Return a figure of a frame and its dream; `words` names the frame, `caption` is HTML."""
    return (
        f'<figure class="shot"><div class="pair"><img src="{pair.original}" '
        f'alt="{escape(words)}, original"><img src="{pair.dream}" alt="{escape(words)}, dream">'
        f"</div><figcaption>{caption}</figcaption></figure>"
    )


def _over_time(memory: Memory, place: int) -> str:
    film = memory.films[place]
    own = [shot for shot in memory.shots if shot.part.film == place]
    across = charts.time_axis(film.duration)
    up = charts.linear(film.psnr.tolist(), "PSNR of the dream, dB")
    drawing = ""
    for shot in own:
        if shot.part.label == HELD_OUT:
            start, end = across.place(shot.seconds), across.place(shot.seconds + shot.length)
            drawing += charts.span(start, end, "held-span")
    if len(own) <= _MOST_CUTS:
        drawing += "".join(charts.ruler(across.place(s.seconds), "cut") for s in own[1:])
    points = _columns(film, across, up)
    drawing += charts.area([(x, low, high) for x, low, _, high in points], "seen")
    drawing += charts.line([(x, mean) for x, _, mean, _ in points], "seen")
    label = (
        f"How well the film is remembered over time: PSNR from {film.psnr.min():.1f} to "
        f"{film.psnr.max():.1f} dB. The table of shots below has the figures."
    )
    # The arrow keys of the range input move the line, so the chart itself is a picture.
    return f'<div class="over-time">{charts.plot(drawing, across, up, label, "wide")}</div>'


def _columns(
    film: FilmMemory, across: charts.Axis, up: charts.Axis
) -> list[tuple[float, float, float, float]]:
    """Return (place, lowest, mean, highest) of groups of neighbouring frames, 0..1000.

    Groups stand for equally many frames of the film, however many of them were measured.
    """
    weights = film.weights.astype(np.float64)
    before = np.cumsum(weights) - weights  # frames of the film before each one's share
    count = min(len(film.frames), _COLUMNS)
    borders = np.arange(count) * round(weights.sum()) // count
    starts = np.unique(np.minimum(np.searchsorted(before, borders), len(before) - 1))
    sizes = np.add.reduceat(weights, starts)
    times = np.add.reduceat(film.seconds * weights, starts) / sizes
    mean = np.add.reduceat(film.psnr * weights, starts) / sizes
    low, high = np.minimum.reduceat(film.psnr, starts), np.maximum.reduceat(film.psnr, starts)
    return [
        (across.place(t), up.place(bottom), up.place(m), up.place(top))
        for t, bottom, m, top in zip(
            times.tolist(), low.tolist(), mean.tolist(), high.tolist(), strict=True
        )
    ]
