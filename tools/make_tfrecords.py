"""Turns films into sharded TFRecords, one folder a film, with a card that describes them.

Every frame is kept, in the order of showing, upright, in the film's own shape and colours; black
bars are cut off. DATA/<film>/film.json is written last: its presence means the records are there.
Run again, a finished film is left alone. Of several films one that fails gets an `error:` line, the
others are converted, and the exit code is 2; a full disk stops all.

Examples:
  python tools/make_tfrecords.py --film=my_film.mp4 --output_dir=data
  python tools/make_tfrecords.py --film=a.mkv --film=b.mp4 --output_dir=data --height=144
  python tools/make_tfrecords.py --film=frames_folder --frame_rate=25 --output_dir=data --format=png
  python tools/make_tfrecords.py --film=my_film.mp4 --output_dir=data --start=0:10:00 --duration=90
  python tools/make_tfrecords.py --film=a.mkv --film=b.mp4 --output_dir=data --runner=beam \\
      --beam_options="--direct_running_mode=multi_processing --direct_num_workers=0"
"""

import os
import sys

if __package__ in (None, ""):  # `python tools/NAME.py` where the package is not installed
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absl import flags

from bladerunner_ae.command_line.app import explain
from bladerunner_ae.command_line.app import run as run_command
from bladerunner_ae.command_line.arguments import (
    parse_bars,
    parse_local,
    parse_rate,
    parse_time,
    refuse_rate_of_files,
)
from bladerunner_ae.conversion import upload
from bladerunner_ae.conversion.convert import convert_film, plan_conversion, warn
from bladerunner_ae.conversion.existing import finished_card
from bladerunner_ae.conversion.options import ConversionOptions
from bladerunner_ae.errors import InputError, UsageError
from bladerunner_ae.film.reading.source import Source, film_name
from bladerunner_ae.geometry import FITS
from tfrecords.card import FilmCard
from tfrecords.storage import Location, RemotePath, location
from tfrecords.wording import counted, visible


@dataclass(frozen=True)
class Request:
    """Values of the flags, see `cli`."""

    films: list[Path]
    output_dir: str
    spool_dir: str | None
    options: ConversionOptions
    strict: bool
    overwrite: bool
    threads: int
    keep_damaged: bool
    dry_run: bool
    runner: str
    beam_options: str

    @property
    def handling(self) -> dict[str, Any]:
        """Keyword arguments of both ways to convert."""
        names = ("strict", "overwrite", "threads", "keep_damaged")
        return {name: getattr(self, name) for name in names}


def request_from_flags(values: flags.FlagValues) -> Request:
    options = ConversionOptions(
        height=values.height,
        width=values.width,
        pixels=values.pixels,
        multiple=values.multiple,
        fit=values.fit,
        bars=parse_bars(values.crop_bars),
        image_format=values.format,
        quality=values.quality,
        num_shards=values.num_shards,
        start=parse_time("start", values.start),
        duration=parse_time("duration", values.duration),
        frame_rate=parse_rate(values.frame_rate),
        deinterlace=values.deinterlace,
    )
    films = [parse_local("film", film) for film in values.film]
    if values["frame_rate"].present:
        refuse_rate_of_files(values.frame_rate, films)
    names = [film_name(film) for film in films]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two films would both go to {values.output_dir}/{name}; rename one")
    if values.beam_options and values.runner != "beam":
        raise UsageError("--beam_options are for --runner=beam")
    return Request(
        films=films,
        options=options,
        **{name: getattr(values, name) for name in (
            "output_dir", "spool_dir", "strict", "overwrite", "threads", "keep_damaged", "dry_run",
            "runner", "beam_options",
        )},
    )  # fmt: skip


def convert(film: Path, request: Request) -> None:
    """Convert one film, or find it converted, and print a summary."""
    output_dir = location(request.output_dir)
    directory = output_dir / film_name(film)
    if not Source(film).exists:
        raise InputError(f"{film}: no such file or folder; check the path given to --film")
    card = finished_card(film, directory, request.options, request.overwrite)
    if card is not None:
        print(f"{summary(directory, card)}; up to date")
        return
    if isinstance(output_dir, RemotePath):
        output_dir = upload.spool_directory(output_dir, request.spool_dir)
    plan = plan_conversion(film, output_dir, request.options)
    print(visible(plan.describe()), file=sys.stderr)
    if request.dry_run:
        return
    if isinstance(directory, RemotePath):
        upload.prepare(directory)
        # Complete already if only the sending was stopped.
        card = finished_card(film, plan.directory, request.options, request.overwrite)
    card = card or convert_film(plan, **request.handling)
    if isinstance(directory, RemotePath):
        upload.publish(plan.directory, directory, request.overwrite)
    warn(card)
    print(summary(directory, card))


def converted(film: Path, request: Request) -> bool:
    """Convert one film of several; if that fails, print why, so that the others are converted.

    A reason that is not the film's, such as a full disk, is raised.
    """
    try:
        convert(film, request)
    except Exception as error:
        line, code = explain(error)
        if code > InputError.exit_code:
            raise
        print(f"error: {visible(line)}", file=sys.stderr)
        return False
    return True


def convert_with_beam(request: Request) -> int:
    """Convert films as a pipeline; return the exit code. Each that failed gets a line."""
    from bladerunner_ae.conversion import beam

    outcomes = beam.convert_films(
        request.films, request.output_dir, request.options, request.beam_options,
        **request.handling,
    )  # fmt: skip
    for outcome in outcomes:
        if outcome.card is not None:
            if not outcome.up_to_date:
                warn(outcome.card)
            line = summary(location(request.output_dir) / film_name(outcome.film), outcome.card)
            print(f"{line}; up to date" if outcome.up_to_date else line)
    failed = [outcome for outcome in outcomes if outcome.card is None]
    for outcome in failed:
        print(f"error: {visible(outcome.error)}", file=sys.stderr)
    return InputError.exit_code if failed else 0


def summary(directory: Location, card: FilmCard) -> str:
    """Return one line: place, number, size, speed."""
    speed = f"about {float(card.frame_rate):.3f}" if card.variable_rate else str(card.frame_rate)
    return (
        f"{directory}: {counted(card.frames, 'frame')} {card.height}x{card.width}, {speed} fps, "
        f"{counted(len(card.shot_starts), 'shot')}, {counted(len(card.shards), 'shard')}, "
        f"{sum(shard.bytes for shard in card.shards) / 2**20:.1f} MiB"
    )


def main() -> int:
    """Read the flags and convert one film after the other, or all in a pipeline."""
    request = request_from_flags(flags.FLAGS)
    if request.runner == "beam" and not request.dry_run:
        return convert_with_beam(request)
    if len(request.films) == 1:
        convert(request.films[0], request)
        return 0
    failed = [film for film in request.films if not converted(film, request)]
    return InputError.exit_code if failed else 0


def cli() -> None:
    text, whole = flags.DEFINE_string, flags.DEFINE_integer
    flags.DEFINE_multi_string(
        "film",
        None,
        "Film, or folder of numbered images, or a pattern of their "
        "names such as 'frames/%06d.png'; may be repeated.",
        required=True,
    )
    text("output_dir", None, "Folder that gets a folder for each film; may be remote (gs://).",
         required=True)  # fmt: skip
    text("spool_dir", None, "Where records for a remote folder lie until they are sent. Default: "
         "in the user's cache.")  # fmt: skip
    whole("height", None, "Rows of a record. Default: from the film's shape.", lower_bound=1)
    whole("width", None, "Columns of a record. Default: from the film's shape.", lower_bound=1)
    whole("pixels", 36864, "About how many pixels a record has without --height and --width.",
          lower_bound=1)  # fmt: skip
    whole("multiple", 16, "Sides that follow from the film are multiples of this.", lower_bound=1)
    flags.DEFINE_enum("fit", "contain", FITS, "How a film goes into a record of another shape.")
    text("crop_bars", "auto", "Black bars: auto, none, or top:bottom:left:right in pixels.")
    text("format", "jpeg", "jpeg (4:4:4) or png (lossless).")
    whole("quality", 95, "Quality of JPEG, 1 to 100.")
    whole("num_shards", 16, "Files for a film.")
    text("start", None, "Where in the film to begin: seconds or h:mm:ss. Default: its beginning.")
    text("duration", None, "How much of it to take: seconds or h:mm:ss. Default: to its end.")
    text("frame_rate", "24", "Frames per second of a folder of images.")
    text("deinterlace", "auto", "auto: whole frames of interlaced ones; off: fields as they are.")
    whole("threads", 0, "Decoders at once, 0: one for each core. The records are the same.",
          lower_bound=0)  # fmt: skip
    flags.DEFINE_enum("runner", "local", ("local", "beam"), "beam: shards are items of work of an "
                      "Apache Beam pipeline, for archives. The records are the same.")  # fmt: skip
    text("beam_options", "", "Beam's own flags, such as '--runner=FlinkRunner "
         "--flink_master=HOST:8081'. Default: all on this machine.")  # fmt: skip
    flags.DEFINE_bool("strict", False, "Refuse films that cannot be read to their end.")
    flags.DEFINE_bool("keep_damaged", False, "Convert films of which most frames are damaged, too.")
    flags.DEFINE_bool("overwrite", False, "Replace records that are there, or start over.")
    flags.DEFINE_bool("dry_run", False, "Say what would be done, and stop.")
    run_command(main, less_memory="--threads=1 takes less")


if __name__ == "__main__":
    cli()
