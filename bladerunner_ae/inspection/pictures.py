"""Pictures of a whole film made of its records: contact sheet, barcode, single frames.

Damage does not stop any of them: unreadable frames are marked and counted.
"""

import io
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bladerunner_ae.command_line.progress import Progress
from bladerunner_ae.errors import InputError, OutputError, UsageError
from bladerunner_ae.inspection.inspect_folder import clock, film_seconds, film_time, frame_seconds
from bladerunner_ae.inspection.verify_shards import Picture, decode_picture, in_threads
from bladerunner_ae.output_files import refuse_unwritable
from bladerunner_ae.pictures.barcode import UNREADABLE, barcode_colours, mean_of
from bladerunner_ae.pictures.contact_sheet import make_frame_sheet, spread_frames
from tfrecords import storage
from tfrecords.card import FilmCard, Shard
from tfrecords.framing import ShardScan
from tfrecords.record_errors import RecordsError
from tfrecords.schema import Frame, parse
from tfrecords.storage import Location
from tfrecords.system_failures import system_failure

BARCODE_HEIGHT = 200
EXPORT_FORMATS = ("png", "jpeg")


def write_contact_sheet(directory: str, card: FilmCard, output: Location, count: int = 48) -> int:
    """Write a PNG of frames across the film, each with its number and time below.

    `count` frames are evenly spread; 0: the middle of every shot. Unreadable ones are magenta;
    their number is returned.
    """
    if count:
        chosen = spread_frames(card.shots(), card.frames, count)
    else:
        chosen = [(start + end) // 2 for start, end in card.shots()]
    found = dict(read_frames(directory, card, chosen))
    magenta = np.full((card.height, card.width, 3), UNREADABLE, np.uint8)
    pictures, captions, unreadable = [], [], 0
    for number in chosen:
        frame = found.get(number)
        time = frame_seconds(card, number) if frame is None else film_time(card, frame.pts)
        picture = _picture_or_none(frame)
        unreadable += picture is None
        pictures.append(magenta if picture is None else picture)
        captions.append(f"{number}   {clock(time)}")
    title = (
        f"{card.source.get('name', directory)}   {card.frames:,} frames   "
        f"{clock(film_seconds(card))}   {len(card.shot_starts):,} shots"
    )
    _save(make_frame_sheet(pictures, captions, title), output)
    return unreadable


def write_barcode(
    directory: str, card: FilmCard, output: Location, width: int = 1920, threads: int | None = None
) -> int:
    """Write a PNG in which every frame is one column of its mean colour, in film order.

    Colours are averaged as light, not as code values: a frame's column is what a projector would
    throw on the wall through a ground glass. In a film with more frames than columns each column is
    the mean of as many frames; in a short one each frame is a few columns wide. Black margins
    within the records do not count.

    `width` is the most columns; `threads` shards are read at once, by default one per processor.
    Returns the number of unreadable frames; a column with no other frame is magenta.
    """
    means = mean_light(directory, card, threads)
    colours = barcode_colours(means, width)
    colours = np.repeat(colours, max(width // len(colours), 1), axis=0)
    picture = np.broadcast_to(colours, (BARCODE_HEIGHT, *colours.shape))
    _save(Image.fromarray(np.ascontiguousarray(picture)), output)
    return int(np.isnan(means[:, 0]).sum())


def mean_light(directory: str, card: FilmCard, threads: int | None = None) -> NDArray[np.float64]:
    """Return the mean linear light of each frame, float64 [frames, 3] 0..1; NaN if unreadable."""
    means = np.full((card.frames, 3), np.nan)
    stop, lock = threading.Event(), threading.Lock()
    inside = _inside(card)
    with Progress("barcode", card.frames) as progress:

        def work(shard: Shard) -> None:
            for index, frame in _frames_of(directory, card, shard):
                if stop.is_set():
                    return
                picture = _picture_or_none(frame)
                if picture is not None:
                    means[index] = mean_of(picture[inside])
                with lock:
                    progress.update()

        in_threads(work, card.shards, stop, threads)
    return means


def parse_frames(text: str, frames: int) -> list[int]:
    """Parse --frames, "100:200" (200 not included), "100:", ":" or "10,20,30", in ascending order.

    Raises UsageError if it is neither, or the film has no such frame.
    """
    try:
        if ":" in text:
            first, last = text.split(":")
            chosen = list(range(int(first or 0), int(last or frames)))
        else:
            chosen = sorted({int(number) for number in text.split(",")})
    except ValueError:
        chosen = []
    if not chosen:
        raise UsageError(
            f"--frames={text}: give first:end (end not included), such as 100:200, or numbers such "
            "as 10,20,30"
        )
    if chosen[0] < 0 or chosen[-1] >= frames:
        raise UsageError(f"--frames={text}: the film has frames 0 to {frames - 1}")
    return chosen


def check_export(
    card: FilmCard, numbers: Sequence[int], folder: Location, image_format: str
) -> None:
    """Refuse, before anything is read, an export that `export_frames` cannot do.

    Raises InputError if there is an image of the same number, or no file can be written, UsageError
    if JPEG is wanted of records that are PNG.
    """
    if image_format == "jpeg" and card.encoding.get("format") == "png":
        raise UsageError("--export_format=jpeg: the records are PNG; use --export_format=png")
    if isinstance(folder, Path):
        refuse_unwritable(folder / "frame")
    wanted = {f"frame_{number:07d}" for number in numbers}
    there = [name for name in storage.names(folder) if name.rpartition(".")[0] in wanted]
    if there:
        raise InputError(f"{folder}: holds {min(there)} already; choose another folder")


def export_frames(
    directory: str, card: FilmCard, numbers: Sequence[int], folder: Location, image_format: str
) -> int:
    """Write single frames as frame_0000123.png and so on, which this project reads as a film.

    Args:
        numbers: frames to write, ascending.
        folder: made if need be; nothing in it is replaced.
        image_format: "png", or "jpeg" for the records' own bytes.

    Returns:
        The number of frames that cannot be read and are not written.

    Raises:
        InputError, UsageError: as `check_export`.
        OutputError: the folder cannot be written.
    """
    check_export(card, numbers, folder, image_format)
    suffix = {"jpeg": ".jpg", "png": ".png"}[image_format]
    written = 0
    with _naming(folder), Progress("export", len(numbers)) as progress:
        storage.make_directories(folder)
        for number, frame in read_frames(directory, card, numbers):
            data = _export_bytes(frame, image_format)
            if data is not None:
                storage.write_bytes(folder / f"frame_{number:07d}{suffix}", data)
                written += 1
            progress.update()
    return len(numbers) - written


def read_frames(
    directory: str, card: FilmCard, numbers: Iterable[int]
) -> Iterator[tuple[int, Frame]]:
    """Yield (number, frame) of the readable ones of `numbers`, ascending.

    Only shards that hold one of them are opened, and each is read up to the last one wanted.
    """
    wanted = set(numbers)
    for shard in card.shards:
        left = wanted.intersection(range(shard.first_frame, shard.first_frame + shard.frames))
        if not left:
            continue
        last = max(left)
        for index, frame in _frames_of(directory, card, shard, left.__contains__):
            if index in left and frame is not None:
                yield index, frame
            if index >= last:
                break


def _frames_of(
    directory: str,
    card: FilmCard,
    shard: Shard,
    wanted: Callable[[int], bool] = lambda index: True,
) -> Iterator[tuple[int, Frame | None]]:
    """Yield (number, frame) of a shard; None for one that is damaged, misplaced or not wanted."""
    try:
        for record in ShardScan(storage.join(directory, shard.name)):
            index = shard.first_frame + record.number
            if record.last or record.number >= shard.frames:
                return
            frame = None
            if record.data is not None and wanted(index):
                with suppress(RecordsError, ValueError):
                    frame = parse(record.data)
            mine = frame is not None and frame.index == index and frame.film_id == card.film_id
            yield index, frame if mine else None
    except OSError:
        return


def _picture_or_none(frame: Frame | None) -> Picture | None:
    try:
        return None if frame is None else decode_picture(frame)
    except ValueError:
        return None


def _inside(card: FilmCard) -> tuple[slice, slice]:
    """Return rows and columns of the record that the film's picture fills."""
    try:
        place = card.geometry["picture"]
        rows = slice(place["top"], place["top"] + place["height"])
        return rows, slice(place["left"], place["left"] + place["width"])
    except (KeyError, TypeError):
        return slice(None), slice(None)


def _export_bytes(frame: Frame, image_format: str) -> bytes | None:
    if frame.format == image_format:
        return frame.encoded
    picture = _picture_or_none(frame)
    if picture is None:
        return None
    file = io.BytesIO()
    Image.fromarray(picture).save(file, image_format, compress_level=4)
    return file.getvalue()


def _save(image: Image.Image, output: Location) -> None:
    file = io.BytesIO()
    image.save(file, "PNG")
    with _naming(output):
        storage.make_parent(output)
        storage.write_bytes(output, file.getvalue())


@contextmanager
def _naming(output: Location) -> Iterator[None]:
    """Turn an error of the disk into one line that names the output."""
    try:
        yield
    except OSError as error:
        failure = system_failure(error)
        raise OutputError(
            f"{output}: cannot be written ({error.strerror or error}); "
            f"{failure.cure if failure else 'choose another place'}"
        ) from error
