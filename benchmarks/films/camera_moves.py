"""What makes two shots of one picture differ: the camera's move, the light, a ship that passes.

All choices come from a `numpy.random.RandomState`, whose numbers never change between versions, and
windows are rounded to 1/64 pixel, so that the same film is made everywhere.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

FRAME_SIZE = (256, 144)
RATE = 24

_ASPECT = FRAME_SIZE[0] / FRAME_SIZE[1]
_NARROWEST = 0.42  # of the widest window
_GRID = 64
_MOST_SWAY = 0.018  # of the window's width
_HAND_PERIODS = (89.0, 34.0, 73.0, 29.0)  # frames: slow and quick sway, across and down

_PHOTOGRAPH_MOVES = (("pan", 0.32), ("tilt", 0.12), ("push", 0.22), ("pull", 0.14), ("hand", 0.2))
_CLIP_MOVES = (("fixed", 0.5), ("push", 0.14), ("pull", 0.06), ("pan", 0.15), ("hand", 0.15))

_SHARES = {"fixed": (0.35, 1.0), "hand": (0.35, 0.9), "push": (0.4, 1.0), "pull": (0.4, 1.0),
           "pan": (0.15, 0.7), "tilt": (0.15, 0.7)}  # fmt: skip
"""How wide a move is between the narrowest and the widest window: pans need room."""

Random = np.random.RandomState
Box = tuple[float, float, float, float]


def choose(random: Random, weights: tuple[tuple[str, float], ...]) -> str:
    """Return one of some names, drawn by their weights."""
    names, shares = zip(*weights, strict=True)
    place = random.random_sample() * sum(shares)
    return str(names[min(int(np.searchsorted(np.cumsum(shares), place)), len(names) - 1)])


@dataclass(frozen=True)
class Window:
    """Part of a picture that fills the frame: left and top edge and width, in its pixels."""

    left: float
    top: float
    width: float

    @property
    def height(self) -> float:
        return self.width / _ASPECT


@dataclass(frozen=True)
class Camera:
    """A window's way over a picture of `size` (width, height), at times held by hand.

    `hand` is the sway as a share of the window's width, `phases` where each of its waves begins.
    """

    move: str
    size: tuple[int, int]
    begin: Window
    end: Window
    hand: float = 0.0
    phases: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)

    def box(self, frame: int, frames: int) -> Box:
        """Return left, top, right, bottom of the window at a frame, always inside the picture."""
        place = frame / max(frames - 1, 1)
        eased = place * place * (3 - 2 * place)
        begin, end = self.begin, self.end
        width = begin.width + (end.width - begin.width) * eased
        left = begin.left + (end.left - begin.left) * eased
        top = begin.top + (end.top - begin.top) * eased
        sway = [
            math.sin(2 * math.pi * (frame / period + phase))
            for period, phase in zip(_HAND_PERIODS, self.phases, strict=True)
        ]
        left += self.hand * width * (0.7 * sway[0] + 0.3 * sway[1])
        top += self.hand * width * (0.7 * sway[2] + 0.3 * sway[3])
        return _inside(Window(left, top, width), self.size)


def _inside(window: Window, size: tuple[int, int]) -> Box:
    """Return the edges of the window, on the grid, moved into the picture."""
    width = min(math.floor(window.width * _GRID), size[0] * _GRID)
    height = min(math.floor(window.height * _GRID), size[1] * _GRID)
    left = min(max(round(window.left * _GRID), 0), size[0] * _GRID - width)
    top = min(max(round(window.top * _GRID), 0), size[1] * _GRID - height)
    return left / _GRID, top / _GRID, (left + width) / _GRID, (top + height) / _GRID


def widest(size: tuple[int, int]) -> float:
    """Return the width of the largest window that a picture holds."""
    return min(float(size[0]), size[1] * _ASPECT)


def choose_camera(random: Random, size: tuple[int, int], is_clip: bool, frames: int) -> Camera:
    """Return a new camera move over a picture of `size` for a shot of so many frames."""
    move = choose(random, _CLIP_MOVES if is_clip else _PHOTOGRAPH_MOVES)
    most = widest(size)
    least = min(max(_NARROWEST * most, FRAME_SIZE[0]), most)
    seconds = frames / RATE
    share = random.uniform(*_SHARES[move])
    width = least + (most - least) * share
    begin = _place(random, size, width)
    if move in ("pan", "tilt"):
        begin, end = _pan(random, size, begin, move == "pan", random.uniform(0.05, 0.16) * seconds)
    elif move in ("push", "pull"):
        nearer = max(width / (1 + random.uniform(0.04, 0.13) * seconds), least)
        begin, end = begin, _toward(random, begin, nearer)
        if move == "pull":
            begin, end = end, begin
    else:
        end = begin
    hand = {"hand": random.uniform(0.008, _MOST_SWAY), "fixed": 0.0}.get(
        move, random.uniform(0.0, 0.005)
    )
    phases = tuple(float(value) for value in random.random_sample(4))
    return Camera(move, size, begin, end, hand, phases)


def _place(random: Random, size: tuple[int, int], width: float) -> Window:
    """Return a window anywhere in the picture, with room to sway if there is any."""
    edges = []
    for room in (size[0] - width, max(size[1] - width / _ASPECT, 0.0)):
        margin = min(_MOST_SWAY * width, room / 2)
        edges.append(margin + random.random_sample() * (room - 2 * margin))
    return Window(edges[0], edges[1], width)


def _pan(
    random: Random, size: tuple[int, int], window: Window, across: bool, distance: float
) -> tuple[Window, Window]:
    """Return where a pan (or tilt) over a share of the window's width begins and ends."""
    room = size[0] - window.width if across else max(size[1] - window.height, 0.0)
    way = min(distance * window.width * (1.0 if across else 0.5), room)
    near = random.random_sample() * (room - way)
    ends = [near, near + way]
    if random.random_sample() < 0.5:
        ends.reverse()
    if across:
        return replace(window, left=ends[0]), replace(window, left=ends[1])
    return replace(window, top=ends[0]), replace(window, top=ends[1])


def _toward(random: Random, window: Window, width: float) -> Window:
    """Return a narrower window somewhere inside another one."""
    spare = window.width - width
    left = window.left + random.uniform(0.2, 0.8) * spare
    return Window(left, window.top + random.uniform(0.2, 0.8) * spare / _ASPECT, width)


@dataclass(frozen=True)
class Light:
    """A colour grade: gains on linear values, a gamma, a lifted black (0 to 255), saturation."""

    name: str
    exposure: float
    gamma: float
    red: float
    blue: float
    saturation: float
    lift: float = 0.0

    def curves(self) -> npt.NDArray[np.uint8]:
        """Return what each value of red, green and blue becomes, uint8 [3, 256]."""
        values = np.arange(256) / 255
        gains = self.exposure * np.array([self.red, 1.0, self.blue])[:, None]
        graded = np.minimum(gains * values, 1.0) ** self.gamma
        return np.rint(self.lift + (255 - self.lift) * graded).astype(np.uint8)


LIGHTS = (
    Light("day", 1.0, 1.0, 1.0, 1.0, 1.0),
    Light("sun", 1.06, 0.97, 1.06, 0.92, 1.12),
    Light("dusk", 0.85, 1.1, 1.15, 0.75, 1.05),
    Light("night", 0.55, 1.1, 0.72, 1.25, 0.7),
    Light("overcast", 0.92, 0.95, 0.97, 1.04, 0.55),
    Light("neon", 0.9, 1.1, 0.85, 1.15, 1.3),
    Light("faded", 0.9, 0.95, 1.06, 0.92, 0.6, 20.0),
    Light("noir", 0.95, 1.2, 1.0, 1.0, 0.0),
)
_OFTEN_DAY = 0.4


def choose_light(random: Random, other_than: str) -> Light:
    """Return a light; for a place that was seen before, one other than the last."""
    first = not other_than
    if first and random.random_sample() < _OFTEN_DAY:
        return LIGHTS[0]
    others = [light for light in LIGHTS if light.name != other_than]
    return others[random.randint(len(others))]


def vary_light(random: Random, light: Light) -> Light:
    """Return a light as it is in one shot of a scene: a little brighter, a little warmer."""
    exposure, red, blue = 1 + 0.05 * (2 * random.random_sample(3) - 1)
    return replace(
        light,
        exposure=light.exposure * float(exposure),
        red=light.red * float(red),
        blue=light.blue * float(blue),
    )


@dataclass(frozen=True)
class Flight:
    """A ship's way through the frame: number of the ship, and its centre and height in pixels."""

    ship: int
    begin: tuple[float, float, float]
    end: tuple[float, float, float]

    @property
    def angle(self) -> float:
        """The course in degrees, anticlockwise from upward, as ships are drawn."""
        across, down = self.end[0] - self.begin[0], self.end[1] - self.begin[1]
        return round(math.degrees(math.atan2(-across, -down)), 3)

    def at(self, frame: int, frames: int) -> tuple[float, float, float]:
        """Return centre and height at a frame."""
        place = frame / max(frames - 1, 1)
        x, y, height = (a + (b - a) * place for a, b in zip(self.begin, self.end, strict=True))
        return x, y, height


def choose_flight(random: Random, ships: int) -> Flight:
    """Return a flight across the frame, from left or right."""
    width, height = FRAME_SIZE
    sizes = random.uniform(26, 100) * np.exp(random.uniform(-0.35, 0.35, 2))
    margin = float(sizes.max())
    xs = [-random.uniform(0.0, 1.0) * margin, width + random.uniform(0.0, 1.0) * margin]
    if random.random_sample() < 0.5:
        xs.reverse()
    ys = random.uniform(0.1, 0.8, 2) * height
    ends = [(xs[k], float(ys[k]), float(sizes[k])) for k in (0, 1)]
    return Flight(int(random.randint(ships)), ends[0], ends[1])
