"""Map of frames as points, along the two directions that show most in pictures."""

import colorsys
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bladerunner_ae.memory_report import charts
from bladerunner_ae.memory_report.gather import Memory
from bladerunner_ae.memory_report.sections.film_facts import section, viewer

FEWEST = 3

_STOPS = np.array(
    [[74, 98, 160], [70, 152, 170], [196, 190, 150], [242, 166, 90], [214, 92, 72]], np.float64
)


def map_section(memory: Memory, entries: list[list[dict[str, Any]]]) -> str:
    """Return the map of the strips' frames, of which `entries` are the `strip_entries`."""
    latents = [row for strip in memory.strips for row in strip.latents.values()]
    thumbnails = [row for strip in memory.strips for row in strip.thumbnails.values()]
    found = latent_map(np.stack(latents), np.stack(thumbnails)) if latents else None
    if found is None:
        reason = "too few frames differ" if latents else "the model was exported without an encoder"
        return section("map", "The map of the film", f'<p class="note">None: {reason}.</p>')
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
<p class="lead">{len(flat)} frames where the network keeps them: its numbers for each frame, along
the two directions that show most in pictures. Frames that it finds similar are close.{rings}</p>
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
    return section("map", "The map of the film", body)


@dataclass(frozen=True, eq=False)
class LatentMap:
    """Places of n frames, float64 [n, 2], each direction scaled to 0..1.

    `share` is that of the squared covariance of latents and pictures, in the two directions, 0..1.
    """

    places: NDArray[np.float64]
    share: float


def latent_map(latents: NDArray[np.float32], thumbnails: NDArray[np.float32]) -> LatentMap | None:
    """Project latents, [n, L], on the two directions that vary most with thumbnails, [n, any].

    These are left singular vectors of the covariance of latents and pictures (partial least
    squares by SVD; Wold 1985). Principal components of the latents alone would not do: a linear
    path spreads them about equally in every direction, and a few odd frames would decide. None for
    fewer than three frames, or frames that are all the same.
    """
    if len(latents) < FEWEST or latents.shape[1] < 2 or not np.isfinite(latents).all():
        return None
    values = latents.astype(np.float64) - latents.mean(axis=0, dtype=np.float64)
    pictures = thumbnails.astype(np.float64) - thumbnails.mean(axis=0, dtype=np.float64)
    directions, widths, _ = np.linalg.svd(values.T @ pictures, full_matrices=False)
    total = float((widths**2).sum())
    if total < 1e-9:
        return None
    # The solver may return either sign; make the largest weight positive.
    two = directions[:, :2]
    two = two * np.sign(two[np.abs(two).argmax(axis=0), [0, 1]])
    places = values @ two
    places -= places.min(axis=0)
    spans = places.max(axis=0)
    share = float((widths[:2] ** 2).sum()) / total
    return LatentMap(places / np.where(spans > 0, spans, 1.0), share)


def time_colour(part: float) -> str:
    """Return the colour of a time, 0 the film's beginning and 1 its end: from blue to amber."""
    place = min(max(part, 0.0), 1.0) * (len(_STOPS) - 1)
    low = min(int(place), len(_STOPS) - 2)
    red, green, blue = _STOPS[low] + (place - low) * (_STOPS[low + 1] - _STOPS[low])
    return f"#{round(red):02x}{round(green):02x}{round(blue):02x}"


def shot_colour(number: int) -> str:
    """Return the colour of a shot; neighbours differ by the golden angle."""
    red, green, blue = colorsys.hls_to_rgb(number * 0.381966 % 1.0, 0.62, 0.45)
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"
