"""A film's latents for TensorBoard's projector: a point a frame, shown as the frame itself."""

import io
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from PIL import Image

from bladerunner_ae.model import pixels
from bladerunner_ae.training.monitoring.event_files import FOLDER
from tfrecords import storage
from tfrecords.frames import read_frames
from tfrecords.mixture import FilmPart
from tfrecords.storage import Location

MOST_FRAMES = 2000
MOST_NUMBERS = 1_000_000
"""Largest product of frames and latent numbers in latents.tsv, which a browser has to load."""

SIDE = 8192
"""Largest width and height of a sprite in pixels (a limit of WebGL on many machines)."""

_TILE = 64  # pixels, the longer side
_BATCH = 64
_READ_BYTES = 256 << 20  # read at once: a shard can only be read from its beginning
_CONFIG = """embeddings {{
  tensor_name: "frames"
  tensor_path: "latents.tsv"
  metadata_path: "metadata.tsv"
  sprite {{
    image_path: "sprite.png"
    single_image_dim: {width}
    single_image_dim: {height}
  }}
}}
"""


@dataclass(frozen=True)
class Points:
    """Frames as points, in film order.

    Attributes:
        latents: posterior means, float32 [n, L].
        tiles: uint8 [n, side, side, 3], white above and below or on both sides.
        rows: n lines of metadata.tsv: frame, film, seconds, shot from 1, "seen" or "held out".
            TensorBoard writes the first column next to a point.
    """

    latents: NDArray[np.float32]
    tiles: NDArray[np.uint8]
    rows: list[tuple[int, str, str, int, str]]


def write_projector(
    run: Location, encoder: Any, parts: Sequence[FilmPart], seconds: float = 30.0
) -> int:
    """Write projector_config.pbtxt and its files next to the event files; return how many frames.

    TensorBoard finds them only there. `encoder` maps pictures, float32 -1..1 [n, H, W, 3], to
    (mean, log_var). After `seconds` no more shards are read; those read are spread over the films.
    """
    points = collect(encoder, parts, time.monotonic() + seconds)
    folder = run / FOLDER
    storage.make_directories(folder)
    lines = ["\t".join(f"{value:.4g}" for value in row) for row in points.latents]
    storage.write_text(folder / "latents.tsv", "\n".join(lines) + "\n")
    header = ("frame", "film", "seconds", "shot", "label")
    table = ["\t".join(map(str, row)) for row in (header, *points.rows)]
    storage.write_text(folder / "metadata.tsv", "\n".join(table) + "\n")
    png = io.BytesIO()
    sprite(points.tiles).save(png, "PNG", compress_level=2)
    storage.write_bytes(folder / "sprite.png", png.getvalue())
    height, width = points.tiles.shape[1:3]
    text = _CONFIG.format(width=width, height=height)
    storage.write_text(folder / "projector_config.pbtxt", text)  # last: it names the others
    return len(points.rows)


def collect(encoder: Any, parts: Sequence[FilmPart], until: float = math.inf) -> Points:
    """Encode frames spread over the films, until `time.monotonic()` is `until`."""
    most = min(MOST_FRAMES, MOST_NUMBERS // max(math.prod(encoder.output_shape[0][1:]), 1))
    total = sum(part.card.frames for part in parts)
    found: list[tuple[tuple[int, int], Points]] = []
    jobs = []
    for place, part in enumerate(parts):
        count = part.card.frames
        at_once = max(_READ_BYTES // (3 * part.card.height * part.card.width), 1)
        share = max(most * count // max(total, most), 1)
        chosen = (2 * np.arange(share, dtype=np.int64) + 1) * count // (2 * share)
        for shard in part.card.shards:
            own = chosen[(chosen >= shard.first_frame)
                         & (chosen < shard.first_frame + shard.frames)]  # fmt: skip
            jobs += [(place, part, own[i : i + at_once]) for i in range(0, len(own), at_once)]
    for number in np.random.default_rng(0).permutation(len(jobs)):
        if found and time.monotonic() > until:
            break
        place, part, frames = jobs[number]
        found.append(((place, int(frames[0])), _points(encoder, part, frames)))
    found.sort(key=lambda entry: entry[0])
    tiles = [points.tiles for _, points in found]
    return Points(
        np.concatenate([points.latents for _, points in found]),
        np.concatenate(tiles),
        [row for _, points in found for row in points.rows],
    )


def _points(encoder: Any, part: FilmPart, frames: NDArray[np.int64]) -> Points:
    card = part.card
    images, pts = read_frames(part.directory, card, frames.tolist())
    scale = _TILE / max(card.height, card.width)
    size = [max(round(card.height * scale), 1), max(round(card.width * scale), 1)]
    latents, tiles = [], []
    for start in range(0, len(frames), _BATCH):
        pictures = pixels.to_float(images[start : start + _BATCH])
        latents.append(np.asarray(encoder(pictures, training=False)[0], np.float32))
        small = tf.image.resize(pictures, size, antialias=True)
        tiles.append(_square(np.asarray(pixels.to_pixels(small))))
    shots = np.searchsorted(card.shot_starts, frames, side="right")  # from 1, as in the report
    name = " ".join(card.source["name"].split())  # a tab in it would be another column
    times = (pts - card.first_pts) * float(card.time_base)
    held = ~part.kept()[frames]
    rows = [
        (int(frame), name, f"{moment:.3f}", int(shot), "held out" if out else "seen")
        for frame, moment, shot, out in zip(frames, times, shots, held, strict=True)
    ]
    mean = np.concatenate(latents).reshape(len(frames), -1)
    return Points(mean, np.concatenate(tiles), rows)


def _square(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Add white margins to pictures, because a point is drawn as a square and would distort them.

    White because the page multiplies pictures by the colour of a point.
    """
    count, height, width, channels = pictures.shape
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    squares = np.full((count, side, side, channels), 255, np.uint8)
    squares[:, top : top + height, left : left + width] = pictures
    return squares


def sprite(tiles: NDArray[np.uint8]) -> Image.Image:
    """Arrange tiles by rows in TensorBoard's square, ceil(sqrt(n)) tiles wide and high."""
    count, height, width, _ = tiles.shape
    side = math.ceil(math.sqrt(count))
    if side * max(height, width) > SIDE:
        raise ValueError(f"{count} tiles of {height}x{width} do not fit {SIDE} pixels")
    sheet = np.zeros((side * side, height, width, 3), np.uint8)
    sheet[:count] = tiles
    rows = sheet.reshape(side, side, height, width, 3).transpose(0, 2, 1, 3, 4)
    return Image.fromarray(rows.reshape(side * height, side * width, 3))
