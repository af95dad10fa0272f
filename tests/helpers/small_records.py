"""Folders of records small enough to make one for every test."""

import io
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from tests.helpers.number_panel import Picture
from tests.helpers.synthetic_film import film_pictures, shot_starts
from tfrecords.card import SCHEMA_VERSION, FilmCard, Shard
from tfrecords.framing import OVERHEAD, read_records
from tfrecords.schema import Frame
from tfrecords.writer import FilmWriter

FILM_ID = "0123456789abcdef"
PTS_STEP = 1001


def encode(picture: Picture, image_format: str = "jpeg") -> bytes:
    """Return a picture as a JPEG file of quality 95 in 4:4:4, or as a PNG file."""
    file = io.BytesIO()
    options = {"quality": 95, "subsampling": 0} if image_format == "jpeg" else {}
    Image.fromarray(picture).save(file, image_format, **options)
    return file.getvalue()


def small_frames(frames: int, first_byte: int = 0) -> Iterable[Frame]:
    """Yield frames whose pictures are not pictures but a few bytes of different length."""
    for index in range(frames):
        data = bytes([first_byte, index % 256]) * (1 + index % 7)
        yield Frame(data, "jpeg", 72, 128, index, PTS_STEP * index - 5, FILM_ID)


def card_maker(
    height: int = 72, width: int = 128, film_id: str = FILM_ID
) -> Callable[[list[Shard]], FilmCard]:
    """Return a function for `FilmWriter.commit`."""

    def make_card(shards: list[Shard]) -> FilmCard:
        frames = sum(shard.frames for shard in shards)
        return FilmCard(
            schema_version=SCHEMA_VERSION,
            tool_version="0.0",
            source={"name": "film.mp4", "sha256": film_id * 4, "bytes": 1, "mtime_ns": 2},
            film_id=film_id,
            frames=frames,
            frame_rate=Fraction(24000, 1001),
            time_base=Fraction(1, 24000),
            first_pts=-5,
            last_pts=PTS_STEP * (frames - 1) - 5,
            variable_rate=False,
            streams=[{"type": "video"}, {"type": "audio", "codec": "aac"}],
            colour={"matrix": "bt709"},
            geometry={"raster": [height, width]},
            height=height,
            width=width,
            encoding={"format": "jpeg", "quality": 95, "subsampling": "4:4:4"},
            options={"height": height},
            shot_starts=shot_starts(frames),
            shards=shards,
            notes=["made for a test: ümlaut"],
        )

    return make_card


def write_small_film(
    directory: Path,
    frames: int = 20,
    num_shards: int = 4,
    expected_frames: int | None = None,
    overwrite: bool = False,
    first_byte: int = 0,
) -> FilmCard:
    """Write `small_frames` and return the card; takes milliseconds."""
    expected = frames if expected_frames is None else expected_frames
    with FilmWriter(directory, expected, num_shards) as writer:
        for frame in small_frames(frames, first_byte):
            writer.write(frame)
        return writer.commit(card_maker(), overwrite)


def write_numbered_film(
    directory: Path,
    frames: int,
    height: int = 72,
    width: int = 128,
    num_shards: int = 4,
    image_format: str = "jpeg",
    film_id: str = FILM_ID,
) -> FilmCard:
    """Write the pictures of the synthetic film, which tell their numbers; about 1 ms a frame."""
    pictures = list(film_pictures(frames, height, width))
    return write_pictures(directory, pictures, num_shards, image_format, film_id)


def write_pictures(
    directory: Path,
    pictures: Sequence[Picture],
    num_shards: int = 4,
    image_format: str = "jpeg",
    film_id: str = FILM_ID,
) -> FilmCard:
    """Write pictures, uint8 [height, width, 3] each and all of one size, as a film."""
    height, width = pictures[0].shape[:2]
    num_shards = min(num_shards, len(pictures))
    with FilmWriter(directory, len(pictures), num_shards) as writer:
        for index, picture in enumerate(pictures):
            encoded = encode(picture, image_format)
            pts = PTS_STEP * index - 5
            writer.write(Frame(encoded, image_format, height, width, index, pts, film_id))
        return writer.commit(card_maker(height, width, film_id), overwrite=False)


def flip_byte(path: Path, position: int) -> None:
    """Invert one byte of a file; a negative position counts from its end."""
    data = np.fromfile(path, np.uint8)
    data[position] ^= 0xFF
    data.tofile(path)


def record_start(shard: Path, number: int) -> int:
    """Return the byte at which a record of a shard begins."""
    return sum(len(record) + OVERHEAD for record in list(read_records(shard))[:number])
