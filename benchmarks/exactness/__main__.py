"""Convert a film of every awkward kind and compare the records with what a display would show.

That is what the bundled ffmpeg makes of the same file in a process of its own: frames and their
times, turned upright, deinterlaced, tone-mapped, cropped and scaled alike. The frames carry
numbers, and their times are known from how the film was made.

Example:
  python -m benchmarks.exactness --output=docs/measured/exactness.md
"""

import io
import tempfile
import time
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
from absl import flags
from numpy.typing import NDArray
from PIL import Image

from benchmarks.exactness.film_list import FILMS, Film, make, make_masters
from benchmarks.judging.player import decode, url
from benchmarks.markdown import publish, table
from benchmarks.runs import say
from bladerunner_ae.command_line.app import run as run_command
from bladerunner_ae.conversion.convert import convert_film, plan_conversion
from bladerunner_ae.conversion.options import ConversionOptions
from bladerunner_ae.film.notes import NoteKind
from bladerunner_ae.geometry import Rectangle, Size
from tests.helpers.number_panel import read_number
from tfrecords.card import FilmCard
from tfrecords.framing import read_records
from tfrecords.schema import Frame, parse

Pictures = NDArray[np.uint8]

RASTER = (90, 160)
MOST_MILLISECONDS = 1.0
MOST_LEVELS = 2.0

# Light of an ordinary display, as players make it of high dynamic range. The peak must be given:
# the filters before `tonemap` lose the film's own.
_TONE_MAP = (
    "format=gbrp16le,setparams=colorspace=gbr:range=pc,zscale=t=linear:npl=100,format=gbrpf32le,"
    "zscale=p=bt709,tonemap=hable:desat=0:peak={peak},zscale=t=bt709:m=bt709:r=tv,format=yuv444p16,"
    "scale=flags=accurate_rnd+full_chroma_int:in_color_matrix=bt709"
)
_SCALING = "area+accurate_rnd+full_chroma_int"


@dataclass
class Row:
    """One line of the table; times in milliseconds, levels of 255 (max, 99.9 %, mean)."""

    film: str
    shown: str = ""
    held: str = ""
    milliseconds: float = float("nan")
    untimed: bool = False
    levels: tuple[float, float, float] = (float("nan"),) * 3
    reading: str = ""
    problems: list[str] = field(default_factory=list)

    def cells(self) -> list[str]:
        greatest, most, mean = self.levels
        star = " \\*" if self.untimed else ""
        return [
            self.film, self.shown, self.held, f"{self.milliseconds:.2f}{star}",
            f"{greatest:.0f}, {most:.0f}, {mean:.2f}", self.reading,
            "ok" if not self.problems else f"**FAILED**: {'; '.join(self.problems)}",
        ]  # fmt: skip


@dataclass
class Shown:
    """The film on a display; sizes are (height, width) of the upright picture.

    Attributes:
        size: with square pixels.
        stored: as stored.
        seconds: when each frame is shown, on the clock of the file.
        pictures: uint8 [frames, height, width, 3], as records would have them.
    """

    size: tuple[int, Fraction]
    stored: Size
    seconds: list[Fraction]
    pictures: Pictures


def show(film: Film, path: Path, bars: tuple[int, int], picture: Rectangle) -> Shown:
    """Return what the film shows according to ffmpeg, less the rows of `bars`, (top, bottom).

    `picture` is the place of the picture in a record.
    """
    filters = ["showinfo"]
    if film.interlaced:
        filters.append("bwdif=mode=send_frame:deint=interlaced")
    if any(bars):
        filters.append(f"crop=iw:ih-{sum(bars)}:0:{bars[0]}:exact=1")
    filters.append(f"scale={picture.width}:{picture.height}:flags={_SCALING}")
    if film.peak_nits is not None:
        filters.append(_TONE_MAP.format(peak=film.peak_nits / 100))
    filters += ["format=rgb24", f"pad={RASTER[1]}:{RASTER[0]}:{picture.left}:{picture.top}"]
    name = path / "%04d.png" if path.is_dir() else path
    raw, found = decode(*film.input.split(), "-i", url(name), "-an", filters=",".join(filters))
    return Shown(
        (found.height, found.width * found.aspect),
        (found.height, found.width),
        found.seconds,
        np.frombuffer(raw, np.uint8).reshape(-1, *RASTER, 3),
    )


def convert(path: Path, output: Path) -> tuple[FilmCard, list[Frame]]:
    """Convert a film; return its card and all records in order."""
    options = ConversionOptions(height=RASTER[0], width=RASTER[1], image_format="png", num_shards=3)
    plan = plan_conversion(path, output, options)
    card = convert_film(plan, overwrite=True)
    names = [plan.directory / shard.name for shard in card.shards]
    return card, [parse(record) for name in names for record in read_records(name)]


def measure(film: Film, folder: Path) -> Row:
    """Make, convert and compare one film."""
    row = Row(film.name, untimed=film.untimed)
    path = make(film, folder)
    card, frames = convert(path, folder / "records")
    crop, place = (Rectangle(**card.geometry[name]) for name in ("crop", "picture"))
    shown = show(film, path, film.bars, place)
    pictures = np.stack(
        [np.asarray(Image.open(io.BytesIO(frame.encoded)).convert("RGB")) for frame in frames]
    )
    row.shown = _describe_shown(shown)
    row.held = _check_frames(film, shown, frames, pictures, row.problems)
    _check_geometry(film, shown, crop, place, row.problems)
    row.milliseconds = _worst_time(film, card, shown, frames)
    if not row.milliseconds <= MOST_MILLISECONDS:
        row.problems.append("times")
    if len(pictures) == len(shown.pictures):
        row.levels = _levels(pictures, shown.pictures)
        if row.levels[1] > MOST_LEVELS:
            row.problems.append("colours")
        if not _each_is_nearest(pictures, shown.pictures):
            row.problems.append("a frame is more like another one of the display's")
    single = [note for note in card.notes if note.startswith(NoteKind.SINGLE_PASS.opening)]
    row.reading = single[0].removeprefix("read in a ") if single else "several decoders"
    return row


def _describe_shown(shown: Shown) -> str:
    seconds = shown.seconds
    rate = (len(seconds) - 1) / (seconds[-1] - seconds[0])
    height, width = shown.size[0], round(shown.size[1])
    return f"{len(seconds)} at {float(rate):.3f}/s, {height}x{width}"


def _check_frames(
    film: Film, shown: Shown, frames: list[Frame], pictures: Pictures, problems: list[str]
) -> str:
    """Compare number, indices and the numbers in the pictures; return what there is, in words."""
    count = len(film.seconds) if film.numbers is None else len(film.numbers)
    if not len(frames) == len(shown.seconds) == len(shown.pictures) == count:
        problems.append(f"{len(frames)} frames, ffmpeg {len(shown.pictures)}, made {count}")
    if [frame.index for frame in frames] != list(range(len(frames))):
        problems.append("indices")
    held = f"{len(frames)}, indices 0..{frames[-1].index}"
    if film.numbers is None:
        return f"{held}, no numbers"
    numbers = [_number(picture) for picture in pictures]
    if numbers != list(film.numbers):
        problems.append(f"numbers {numbers}")
    return f"{held}, numbers {numbers[0]}..{numbers[-1]}"


def _number(picture: Pictures) -> int | None:
    try:
        return read_number(picture)
    except ValueError:
        return None


def _check_geometry(
    film: Film, shown: Shown, crop: Rectangle, place: Rectangle, problems: list[str]
) -> None:
    """Compare the part that is kept, and its shape in the record, with the display's."""
    (top, bottom), (height, width) = film.bars, shown.stored
    if crop != Rectangle(top, 0, height - top - bottom, width):
        problems.append(f"kept {crop}")
    across = shown.size[1]
    down = shown.size[0] * Fraction(crop.height, height)
    scale = min(RASTER[0] / down, RASTER[1] / across)
    # Edges lie at even pixels.
    if abs(down * scale - place.height) > 2 or abs(across * scale - place.width) > 2:
        problems.append(f"shape {place.height}x{place.width}")


def _worst_time(film: Film, card: FilmCard, shown: Shown, frames: list[Frame]) -> float:
    """Return the largest error in milliseconds, on the file's clock and from the first frame."""
    held = [frame.pts * card.time_base for frame in frames]
    numbers = range(len(held)) if film.numbers is None else film.numbers
    if not len(held) == len(shown.seconds) == len(numbers):
        return float("nan")
    made = [film.seconds[number] for number in numbers]
    shift = shown.seconds[0] - held[0] if film.untimed else 0
    errors = [abs(one + shift - other) for one, other in zip(held, shown.seconds, strict=True)]
    errors += [
        abs((one - held[0]) - (other - made[0])) for one, other in zip(held, made, strict=True)
    ]
    return float(1000 * max(errors))


def _levels(pictures: Pictures, reference: Pictures) -> tuple[float, float, float]:
    """Return (greatest, 99.9th percentile, mean) of the difference, in levels of 255."""
    difference = np.abs(pictures.astype(np.int16) - reference)
    return float(difference.max()), float(np.percentile(difference, 99.9)), float(difference.mean())


def _each_is_nearest(pictures: Pictures, reference: Pictures) -> bool:
    """Return whether no picture is more like a neighbour of its own reference."""

    def distance(one: int, other: int) -> float:
        return float(np.abs(pictures[one].astype(np.int16) - reference[other]).mean())

    return all(
        distance(number, number) <= distance(number, other)
        for number in range(len(pictures))
        for other in (number - 1, number + 1)
        if 0 <= other < len(pictures)
    )


def page(rows: list[Row], command: str, raster: Size) -> str:
    """Return a row for each film as Markdown; `raster` is that of the records."""
    good = sum(not row.problems for row in rows)
    heads = ["film", "the display shows (rows x columns)", "the records hold", "times off, ms",
             "colours off: max, 99.9 %, mean", "read by", "verdict"]  # fmt: skip
    lines = [
        "# What the records hold of awkward films",
        "",
        f"Written by `{command}`: {good} of {len(rows)} films are exact: every frame is there, in "
        f"order, no time is off by more than {MOST_MILLISECONDS:.0f} ms, and 99.9 % of all values "
        f"are within {MOST_LEVELS:.0f} of 255 levels of ffmpeg's own turned, deinterlaced, "
        f"tone-mapped and scaled picture (records of {raster[0]}x{raster[1]}, PNG).",
        "",
        *table(heads, [row.cells() for row in rows], " --- "),
    ]
    if any(row.untimed for row in rows):
        lines += [
            "",
            "\\* AVI numbers packets and times no frame. Records count from 0, as the sound does; "
            "ffmpeg shows all frames later by what its decoder holds back. Only distances count.",
        ]
    return "\n".join([*lines, ""])


def main() -> int:
    """Measure all films, or some, and report; return 1 if any is not exact."""
    options = flags.FLAGS
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.scratch or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        make_masters(folder)
        for film in FILMS:
            if options.only in film.name or options.only in film.file:
                start = time.monotonic()
                try:
                    rows.append(measure(film, folder))
                except Exception as error:  # one film must not end the table
                    rows.append(Row(film.name, problems=[f"{type(error).__name__}: {error}"]))
                say(f"{' | '.join(rows[-1].cells())} ({time.monotonic() - start:.1f} s)")
    given = [f"--{name}={options[name].value}" for name in ("output", "only", "scratch")
             if options[name].value]  # fmt: skip
    command = " ".join(["python -m benchmarks.exactness", *given])
    publish(page(rows, command, RASTER), options.output)
    return int(any(row.problems for row in rows))


def cli() -> None:
    flags.DEFINE_string("output", None, "Markdown file for the table.")
    flags.DEFINE_string("only", "", "Films with this in their name or file name.")
    flags.DEFINE_string("scratch", None, "Folder that keeps films and records.")
    run_command(main)


if __name__ == "__main__":
    cli()
