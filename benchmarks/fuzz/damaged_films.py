"""Damaged films and their outcomes; (seed, number) alone decides the film, damage and place."""

import gc
import hashlib
import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import dataclass
from fractions import Fraction
from io import StringIO
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from bladerunner_ae.conversion.convert import convert_film, plan_conversion
from bladerunner_ae.conversion.options import ConversionOptions
from bladerunner_ae.errors import BladerunnerError
from bladerunner_ae.film.notes import NoteKind
from bladerunner_ae.inspection.inspect_folder import inspect_film
from bladerunner_ae.inspection.verify_shards import verify
from tests.helpers.synthetic_film import make_film
from tfrecords.card import FilmCard
from tfrecords.framing import read_records
from tfrecords.schema import parse

Bytes = NDArray[np.uint8]

# Containers and codecs; key frames twice a second, so that a film has several runs.
FILMS: dict[str, dict[str, object]] = {
    "h264.mp4": {"codec": "libx264", "extra_ffmpeg_args": ("-g", "12")},
    "hevc.mkv": {
        "codec": "libx265",
        "extra_ffmpeg_args": ("-preset", "ultrafast", "-x265-params", "log-level=none:keyint=12"),
    },
    "h264.ts": {"codec": "libx264", "extra_ffmpeg_args": ("-g", "12")},
    "mpeg4.avi": {"codec": "mpeg4", "audio_codec": "mp3", "extra_ffmpeg_args": ("-g", "12")},
    "vp9.webm": {
        "codec": "libvpx-vp9",
        "audio_codec": "libopus",
        "extra_ffmpeg_args": ("-g", "12", "-deadline", "realtime", "-cpu-used", "8"),
    },
    "prores.mov": {"codec": "prores_ks", "audio_codec": "pcm_s16le"},
}

IDENTICAL = "identical to the undamaged film"
NOTED = "damage noted on the card"
REFUSED = "refused with one line"
UNDETECTABLE = "other pictures or times, undetectable: neither codec nor container has a checksum"
SILENT = "FAILED: frames are missing or damaged, and nothing says so"
BROKEN = "FAILED: traceback or more than one line"
CRASHED = "FAILED: crashed"
HUNG = "FAILED: no end within the time limit"
CLASSES = (IDENTICAL, NOTED, REFUSED, UNDETECTABLE, SILENT, BROKEN, CRASHED, HUNG)
FAILURES = (SILENT, BROKEN, CRASHED, HUNG)


@dataclass(frozen=True)
class Case:
    """One damaged film; with the seed, its number decides everything."""

    number: int
    film: str
    damage: str


@dataclass(frozen=True)
class Outcome:
    """The outcome of a case, one of `CLASSES`, and the process's resources after it.

    Attributes:
        detail: the note, message or difference.
        rss: resident memory in bytes.
    """

    kind: str
    detail: str
    rss: int = 0
    descriptors: int = 0
    threads: int = 0


@dataclass(frozen=True)
class Converted:
    """The frames of a film as records.

    Attributes:
        times: seconds of each frame.
        pictures: digest of each frame's compressed picture.
        notes: of the card.
    """

    times: tuple[Fraction, ...]
    pictures: tuple[bytes, ...]
    notes: tuple[str, ...]


def make_films(folder: Path, frames: int = 48) -> dict[str, Path]:
    """Make the undamaged films: two seconds of 96x128 with sound and frame numbers."""
    made = {}
    for name, arguments in FILMS.items():
        path = folder / name
        make_film(path, frames=frames, height=96, width=128, **arguments)  # type: ignore[arg-type]
        made[name] = path
    return made


def _flip(data: Bytes, random: np.random.Generator) -> Bytes:
    places = random.integers(0, len(data), random.integers(1, 101))
    data[places] ^= random.integers(1, 256, len(places), np.uint8)
    return data


def _flip_head(data: Bytes, random: np.random.Generator) -> Bytes:
    """Flip bytes where headers and indexes are: the first and the last two thousand."""
    end = min(2048, len(data) // 2)
    places = random.integers(-end, end, random.integers(1, 21))
    data[places] ^= random.integers(1, 256, len(places), np.uint8)
    return data


def _rot(data: Bytes, random: np.random.Generator) -> Bytes:
    """Flip single bits, from one in a million to one in a thousand."""
    count = max(int(8 * len(data) * 10 ** random.uniform(-6, -3)), 1)
    places = random.integers(0, 8 * len(data), count)
    np.bitwise_xor.at(data, places // 8, (1 << (places % 8)).astype(np.uint8))
    return data


def _cut(data: Bytes, random: np.random.Generator) -> Bytes:
    return data[: random.integers(0, len(data))]


def _hole(data: Bytes, random: np.random.Generator) -> Bytes:
    """Zero a run of bytes, as a sparse copy or an unfinished torrent leaves it."""
    start = random.integers(0, len(data))
    data[start : start + random.integers(1, max(len(data) // 4, 2))] = 0
    return data


def _exchange(data: Bytes, random: np.random.Generator) -> Bytes:
    """Exchange two blocks."""
    block = int(random.integers(16, 4096))
    first, second = (int(place) for place in random.integers(0, max(len(data) - block, 1), 2))
    one = data[first : first + block].copy()
    data[first : first + len(one)] = data[second : second + len(one)]
    data[second : second + len(one)] = one
    return data


DAMAGES: dict[str, Callable[[Bytes, np.random.Generator], Bytes]] = {
    "bytes flipped": _flip,
    "bytes flipped in headers": _flip_head,
    "bits rotten": _rot,
    "cut": _cut,
    "hole of zeros": _hole,
    "blocks exchanged": _exchange,
}


def make_case(number: int) -> Case:
    """Return a case: all pairs of films and damages in turn."""
    films, damages = list(FILMS), list(DAMAGES)
    film = films[number % len(films)]
    return Case(number, film, damages[number // len(films) % len(damages)])


def damaged_bytes(case: Case, film: Path, seed: int) -> bytes:
    """Return the damaged film of a case."""
    random = np.random.default_rng([seed, case.number])
    data = np.fromfile(film, np.uint8)
    return DAMAGES[case.damage](data, random).tobytes()


def convert(film: Path, folder: Path, find_bars: bool, threads: int = 2) -> Converted:
    """Convert a film into an empty folder and read the records back."""
    options = ConversionOptions(
        height=48, width=64, num_shards=3, bars=None if find_bars else (0, 0, 0, 0)
    )
    card = convert_film(plan_conversion(film, folder, options), threads=threads)
    (records,) = (path for path in folder.iterdir() if not path.name.startswith("."))
    found = inspect_film(records)
    verify(found, threads=1)
    if found.damages:
        raise AssertionError(f"records are damaged: {found.damages[0]}")
    return _read(records, card)


def _read(records: Path, card: FilmCard) -> Converted:
    frames = [
        parse(record) for shard in card.shards for record in read_records(records / shard.name)
    ]
    first = frames[0].pts
    return Converted(
        tuple((frame.pts - first) * card.time_base for frame in frames),
        tuple(hashlib.sha256(frame.encoded).digest() for frame in frames),
        tuple(card.notes),
    )


def run_case(
    case: Case, film: Path, whole: Converted, scratch: Path, seed: int, keep: bool = False
) -> Outcome:
    """Damage a film in an empty folder, convert it and judge the result.

    `whole` are the records of the undamaged film; `keep` leaves film and records there.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    path = scratch / case.film
    path.write_bytes(damaged_bytes(case, film, seed))
    errors = StringIO()
    try:
        with redirect_stderr(errors):
            found = convert(path, scratch / "data", find_bars=case.number % 2 == 1)
        kind, detail = judge(found, whole, path)
    except BladerunnerError as error:
        kind, detail = _judge_message(str(error), scratch)
    except Exception as error:
        kind, detail = BROKEN, f"{type(error).__name__}: {error}"
    if "Traceback" in errors.getvalue():
        kind, detail = BROKEN, f"traceback on stderr: {errors.getvalue().splitlines()[-1]}"
    if not keep:
        shutil.rmtree(scratch, ignore_errors=True)
    gc.collect()
    return Outcome(kind, detail, *_resources())


def _judge_message(message: str, scratch: Path) -> tuple[str, str]:
    if "\n" in message or str(scratch) not in message:
        return BROKEN, f"message: {message!r}"
    return REFUSED, message.replace(str(scratch), "")


def judge(found: Converted, whole: Converted, film: Path) -> tuple[str, str]:
    """Return (class, detail) of a finished conversion."""
    # That it was read in a single pass says how, not what is wrong.
    notes = [
        note
        for note in found.notes
        if note not in whole.notes and not note.startswith(NoteKind.SINGLE_PASS.opening)
    ]
    if found.pictures == whole.pictures and found.times == whole.times:
        return IDENTICAL, "; ".join(notes)
    if notes:
        return NOTED, "; ".join(notes)
    if len(found.pictures) != len(whole.pictures):
        return SILENT, f"{len(found.pictures)} of {len(whole.pictures)} frames"
    differing = sum(a != b for a, b in zip(found.pictures, whole.pictures, strict=True))
    times = sum(a != b for a, b in zip(found.times, whole.times, strict=True))
    detail = f"{differing} pictures and {times} times differ"
    complaint = ffmpeg_complaint(film)
    if differing and complaint:
        return SILENT, f"{detail}; ffmpeg: {complaint}"
    return UNDETECTABLE, detail


def ffmpeg_complaint(film: Path) -> str:
    """Return the first error of another judge, ffmpeg's decoder, about a film's picture, or ""."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-v", "error", "-nostdin",
               "-threads", "1", "-i", str(film), "-map", "0:v:0", "-f", "null", "-"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=30)
    codec = film.name.partition(".")[0]
    lines = [
        line
        for line in done.stderr.splitlines()
        if line.startswith("[") and codec in line.partition("]")[0]
    ]
    return lines[0] if lines else ""


def _resources() -> tuple[int, int, int]:
    """Return resident memory in bytes, descriptors and threads of this process (Linux)."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        descriptors = len(os.listdir("/proc/self/fd"))
        threads = len(os.listdir("/proc/self/task"))
    except (OSError, IndexError):
        return 0, 0, threading.active_count()
    return pages * os.sysconf("SC_PAGE_SIZE"), descriptors, threads
