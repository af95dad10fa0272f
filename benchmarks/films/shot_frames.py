"""The frames of a planned film, as RGB, from photographs and from a clip.

All arithmetic on pixels is that of whole numbers, or Pillow's, which is too: the same pictures come
out on every machine. Clips are converted here rather than by libswscale, which rounds otherwise
from processor to processor.
"""

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

import av
import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.films.camera_moves import FRAME_SIZE, Box, Flight
from benchmarks.films.shot_plan import SetUp, Shot
from bladerunner_ae.errors import InputError

Pixels = npt.NDArray[np.uint8]
_KEPT = 16  # photographs in memory
_MOST_SHADE = 256


def load_photograph(path: Path, size: tuple[int, int]) -> Image.Image:
    """Return a photograph as RGB of the given size.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with Image.open(path) as image:
            return image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    except OSError as error:
        raise InputError(f"{path}: {error}; remove it and try again") from None


def crop(
    image: Image.Image, box: Box, kernel: Image.Resampling = Image.Resampling.BICUBIC
) -> Image.Image:
    """Return a window of an image at the frame's size, placed to fractions of a pixel."""
    return image.resize(FRAME_SIZE, kernel, box=box)


Planes = tuple[Image.Image, Image.Image, Image.Image]


class Clip:
    """A clip whose frames are read from any of them on; a context manager.

    Its frames are in presentation order, as numbered in its takes; 4:2:0, BT.709.
    """

    def __init__(self, path: Path) -> None:
        self._container = av.open(str(path))
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        times = (packet.pts for packet in self._container.demux(self._stream))
        self._times = sorted(time for time in times if time is not None)

    def read(self, first: int, frames: int) -> Iterator[Planes]:
        """Yield Y, Cb and Cr of so many frames."""
        begin, end = self._times[first], self._times[first + frames - 1]
        self._container.seek(begin, backward=True, stream=self._stream)
        for frame in self._container.decode(self._stream):
            if frame.pts is None or frame.pts < begin:
                continue
            yield _planes(frame)
            if frame.pts >= end:
                return

    def __enter__(self) -> "Clip":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._container.close()


def _planes(frame: av.VideoFrame) -> Planes:
    y, cb, cr = (
        Image.frombuffer(
            "L", (plane.width, plane.height), bytes(plane), "raw", "L", plane.line_size, 1
        )
        for plane in frame.planes
    )
    return y, cb, cr


def crop_planes(planes: Planes, box: Box) -> Pixels:
    """Return a window of a 4:2:0 picture at the frame's size, as RGB."""
    half: Box = (box[0] / 2, box[1] / 2, box[2] / 2, box[3] / 2)
    # The picture has twice the frame's pixels or more, where this kernel is quick and sharp.
    kernel = Image.Resampling.HAMMING
    y, cb, cr = (
        np.asarray(crop(plane, edges, kernel))
        for plane, edges in zip(planes, (box, half, half), strict=True)
    )
    return rgb(y, cb, cr)


def rgb(y: Pixels, cb: Pixels, cr: Pixels) -> Pixels:
    """Return BT.709 of limited range, three planes of one size, as RGB [height, width, 3]."""
    luma = 298 * (y.astype(np.int32) - 16) + 128
    blue, red = cb.astype(np.int32) - 128, cr.astype(np.int32) - 128
    channels = (luma + 459 * red, luma - 55 * blue - 136 * red, luma + 541 * blue)
    return _joined([each >> 8 for each in channels])


def _joined(channels: Sequence[npt.NDArray[np.int32]]) -> Pixels:
    """Return channels, held to 0..255, as one picture."""
    result = np.empty((*channels[0].shape, len(channels)), np.uint8)
    for number, channel in enumerate(channels):
        result[..., number] = np.minimum(np.maximum(channel, 0), 255)
    return result


def yuv420(picture: Pixels) -> Pixels:
    """Return RGB as BT.709 of limited range: Y above Cb above Cr, [height * 3 / 2, width]."""
    red, green, blue = (picture[..., k].astype(np.int32) for k in range(3))
    y = ((47 * red + 157 * green + 16 * blue + 128) >> 8) + 16
    width = y.shape[1]
    red, green, blue = (_sums_of_four(each) for each in (red, green, blue))
    cb = ((-26 * red - 86 * green + 112 * blue + 512) >> 10) + 128
    cr = ((112 * red - 102 * green - 10 * blue + 512) >> 10) + 128
    chroma = np.concatenate([cb.reshape(-1, width), cr.reshape(-1, width)])
    return np.concatenate([y, chroma]).astype(np.uint8)


def _sums_of_four(plane: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    rows = plane[::2] + plane[1::2]
    return rows[:, ::2] + rows[:, 1::2]


def grade(picture: Pixels, curves: Pixels, saturation: float) -> Pixels:
    """Return a picture in a light: `Light.curves`, then the saturation."""
    graded = [curves[k].take(picture[..., k]).astype(np.int32) for k in range(3)]
    luma = (54 * graded[0] + 183 * graded[1] + 19 * graded[2]) >> 8
    factor = round(saturation * 256)
    mixed = [luma + (((each - luma) * factor + 128) >> 8) for each in graded]
    return _joined(mixed)


def shade(picture: Pixels, brightness: int) -> Pixels:
    """Return a picture at brightness / 256."""
    return ((picture.astype(np.int32) * brightness) >> 8).astype(np.uint8)


def mix(one: Pixels, other: Pixels, part: int, parts: int) -> Pixels:
    """Return two pictures dissolved, `part` of `parts` on the way to the other one."""
    mixed = one.astype(np.int32) * (parts - part) + other.astype(np.int32) * part
    return (mixed // parts).astype(np.uint8)


class Fleet:
    """The ships that fly past: upright pictures with an alpha channel."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._turned = functools.lru_cache(maxsize=4)(self._turn)
        self._smaller = functools.lru_cache(maxsize=16)(self._reduce)

    def __len__(self) -> int:
        return len(self._paths)

    def _turn(self, ship: int, angle: float) -> tuple[Image.Image, int]:
        """Return a ship on its course, colours multiplied by alpha, and its height upright."""
        with Image.open(self._paths[ship]) as image:
            upright = image.convert("RGBA").convert("RGBa")
        turned = upright.rotate(angle, Image.Resampling.BICUBIC, expand=True)
        return turned, upright.height

    def _reduce(self, ship: int, angle: float, times: int) -> Image.Image:
        """Return a ship on its course, so many times as small."""
        turned, _ = self._turned(ship, angle)
        padded = (-(-turned.width // times) * times, -(-turned.height // times) * times)
        return turned.crop((0, 0, *padded)).reduce(times)

    def show(self, picture: Pixels, flight: Flight, frame: int, frames: int) -> Pixels:
        """Return a picture with the ship of a flight before it."""
        ship, upright = self._turned(flight.ship, flight.angle)
        x, y, height = flight.at(frame, frames)
        scale = upright / height  # pixels of the ship in one of the frame
        # The resampling below takes four pixels into account. One size serves the whole flight.
        times = int(upright / max(flight.begin[2], flight.end[2]))
        if times >= 2:
            ship, scale = self._smaller(flight.ship, flight.angle, times), scale / times
        left, top = x - ship.width / scale / 2, y - ship.height / scale / 2
        # The ship is resampled on the frame's grid, with a margin, so that it glides.
        first = (int(np.floor(left)) - 1, int(np.floor(top)) - 1)
        size = (int(np.ceil(ship.width / scale)) + 3, int(np.ceil(ship.height / scale)) + 3)
        data = tuple(
            round(value * 4096) / 4096
            for value in (scale, 0, (first[0] - left) * scale, 0, scale, (first[1] - top) * scale)
        )
        reduced = ship.transform(size, Image.Transform.AFFINE, data, Image.Resampling.BILINEAR)
        return _over(picture, np.asarray(reduced), first)


def _over(picture: Pixels, cover: Pixels, corner: tuple[int, int]) -> Pixels:
    """Return a picture with another one before it, which has a premultiplied alpha channel."""
    height, width = picture.shape[:2]
    left, top = max(corner[0], 0), max(corner[1], 0)
    right = min(corner[0] + cover.shape[1], width)
    bottom = min(corner[1] + cover.shape[0], height)
    if left >= right or top >= bottom:
        return picture
    part = cover[top - corner[1] : bottom - corner[1], left - corner[0] : right - corner[0]]
    part = part.astype(np.int32)
    result = picture.copy()
    behind = result[top:bottom, left:right].astype(np.int32) * (255 - part[..., 3:])
    result[top:bottom, left:right] = np.minimum(part[..., :3] + (behind + 127) // 255, 255)
    return result


class Studio:
    """Everything that shots are made of.

    Args:
        set_ups: those that the plan's numbers mean.
        photographs: the file of each set-up that is a photograph, by its name.
        clip: the clip of all other set-ups.
        ships: pictures of the ships.
    """

    def __init__(
        self,
        set_ups: Sequence[SetUp],
        photographs: dict[str, Path],
        clip: Clip,
        ships: Sequence[Path],
    ) -> None:
        self._set_ups, self._photographs, self._clip = set_ups, photographs, clip
        self._fleet = Fleet(ships)
        self._photograph = functools.lru_cache(maxsize=_KEPT)(self._load)

    def _load(self, number: int) -> Image.Image:
        set_up = self._set_ups[number]
        return load_photograph(self._photographs[set_up.name], (set_up.width, set_up.height))

    def shoot(self, shot: Shot) -> Iterator[Pixels]:
        """Yield the frames of a shot and of its tail, RGB [144, 256, 3], faded in and out."""
        frames = shot.frames + shot.tail
        curves, light = shot.light.curves(), shot.light
        for frame, picture in enumerate(self._raw(shot, frames)):
            if shot.mirrored:
                picture = picture[:, ::-1]
            if shot.flight is not None:
                picture = self._fleet.show(picture, shot.flight, frame, frames)
            yield shade_ends(grade(picture, curves, light.saturation), shot, frame)

    def _raw(self, shot: Shot, frames: int) -> Iterator[Pixels]:
        if self._set_ups[shot.set_up].is_clip:
            for frame, planes in enumerate(self._clip.read(shot.first, frames)):
                yield crop_planes(planes, shot.camera.box(frame, frames))
            return
        photograph = self._photograph(shot.set_up)
        for frame in range(frames):
            yield np.asarray(crop(photograph, shot.camera.box(frame, frames)))


def shade_ends(picture: Pixels, shot: Shot, frame: int) -> Pixels:
    """Return a frame of a shot as dark as its fades make it."""
    brightness = _MOST_SHADE
    if frame < shot.fade_in:
        brightness = _MOST_SHADE * (frame + 1) // (shot.fade_in + 1)
    elif shot.fade_out and frame >= shot.frames - shot.fade_out:
        brightness = _MOST_SHADE * (shot.frames - frame) // (shot.fade_out + 1)
    return picture if brightness == _MOST_SHADE else shade(picture, brightness)


def film_frames(shots: Sequence[Shot], studio: Studio) -> Iterator[Pixels]:
    """Yield all frames of a film, shots dissolved into each other where the plan says so."""
    tail: list[Pixels] = []
    for shot in shots:
        before, tail = tail, []
        for frame, picture in enumerate(studio.shoot(shot)):
            if frame >= shot.frames:
                tail.append(picture)
            elif frame < shot.dissolve:
                yield mix(before[frame], picture, frame + 1, shot.dissolve + 1)
            else:
                yield picture
