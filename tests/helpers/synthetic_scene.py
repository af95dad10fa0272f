"""The scenes that the synthetic film shows behind its number panel."""

from dataclasses import dataclass

import numpy as np

from tests.helpers.number_panel import Picture


@dataclass(frozen=True)
class Disc:
    """A disc that bounces between the edges; all numbers in units of the picture's height."""

    colour: tuple[int, int, int]
    radius: float
    position: tuple[float, float]
    speed: tuple[float, float]


def make_scene(height: int, width: int, seed: int, shot: int) -> tuple[Picture, list[Disc]]:
    """Return the background of a shot, nowhere dark, and what moves before it."""
    random = np.random.default_rng((seed, shot))
    corners = random.integers(70, 230, (2, 2, 3)).astype(np.float32)
    # Whatever the dice say, a cut must be a cut: neighbouring shots differ in their main colour.
    corners[..., shot % 3] *= 0.4
    corners[..., (shot + 1) % 3] = 150 + 0.3 * corners[..., (shot + 1) % 3]
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    across = np.linspace(0, 1, width, dtype=np.float32)[None, :, None]
    above = corners[0, 0] * (1 - across) + corners[0, 1] * across
    below = corners[1, 0] * (1 - across) + corners[1, 1] * across
    grain = random.normal(0, 4, (height, width, 1)).astype(np.float32)
    blend = above * (1 - down) + below * down + grain
    # Nothing but the panel's border may look magenta.
    blend[..., 1] = np.maximum(blend[..., 1], blend[..., [0, 2]].min(-1) - 20)
    ground = blend.clip(30, 250).astype(np.uint8)
    colours = [(200, 60, 40), (40, 90, 200), (240, 220, 60), (60, 180, 90)]
    discs = [
        Disc(
            colour=colours[(shot + which) % len(colours)],
            radius=float(random.uniform(0.1, 0.2)),
            position=(float(random.uniform(0, 1)), float(random.uniform(0, 2))),
            speed=(float(random.uniform(-0.03, 0.03)), float(random.uniform(-0.05, 0.05))),
        )
        for which in range(3)
    ]
    return ground, discs


def draw_disc(picture: Picture, disc: Disc, time: int) -> None:
    """Draw a disc as it is `time` frames after the cut; touches no pixel outside its square."""
    height, width = picture.shape[:2]
    radius = disc.radius * height
    row = _bounce((disc.position[0] + disc.speed[0] * time) * height, height)
    column = _bounce((disc.position[1] + disc.speed[1] * time) * height, width)
    top, left = max(0, int(row - radius)), max(0, int(column - radius))
    square = picture[top : int(row + radius) + 1, left : int(column + radius) + 1]
    rows = np.arange(top, top + square.shape[0])[:, None] - row
    columns = np.arange(left, left + square.shape[1])[None, :] - column
    square[rows**2 + columns**2 <= radius**2] = disc.colour


def _bounce(position: float, size: float) -> float:
    """Return where a point that is reflected at 0 and at `size` has come to."""
    return size - abs(position % (2 * size) - size)
