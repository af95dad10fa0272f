"""Films what a network remembers: a film goes in, the same film as the network dreams it comes out.

Frame by frame, with the original's exact timing, black bars, shape and soundtrack (copied, not
encoded again). The film is verified before it gets its name. The model need not have been trained
on the same film.

--output's suffix decides the kind of file: .mp4, .m4v, .mov or .mkv.

Examples:
  python tools/reassemble_film.py --film=my.mp4 --model=RUN --output=dream.mp4
  python tools/reassemble_film.py --film=my.mp4 --model=RUN/export/autoencoder --output=dream.mp4 \
--side_by_side --data=DATA/my
  python tools/reassemble_film.py --film=other.mkv --model=RUN --output=dream.mkv --max_height=720
"""

import os
import sys

if __package__ in (None, ""):  # runs without installation too
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import bladerunner_ae.command_line.signals  # noqa: F401  first: signals are one line from here on

# isort: split
from pathlib import Path
from typing import Any

from absl import flags

from bladerunner_ae.command_line.app import run as run_command
from bladerunner_ae.command_line.arguments import parse_bars, parse_local, parse_rate
from bladerunner_ae.command_line.installed import need_tensorflow
from bladerunner_ae.errors import InputError
from bladerunner_ae.exports.loading import Autoencoder, find_saved_model, load_autoencoder
from bladerunner_ae.film.info import FilmInfo
from bladerunner_ae.film.reading.bars import find_bars
from bladerunner_ae.film.reading.probe import probe_film
from bladerunner_ae.film.writing.encoder import PRESETS, Encoding
from bladerunner_ae.film.writing.ffmpeg import ffmpeg_program
from bladerunner_ae.film.writing.sound import SoundTrack
from bladerunner_ae.geometry import FITS, Geometry
from bladerunner_ae.reassembly import (
    Reassembly,
    ReassemblyOptions,
    check_outputs,
    choose_geometry,
    film_layouts,
    plan_sounds,
    reassemble_film,
)
from tfrecords.card import load_card
from tfrecords.messages import counted, visible
from tfrecords.storage import Location, location


def geometry_from_records(folder: Location, info: FilmInfo) -> Geometry:
    """How the film lies in its records, from their card.

    Args:
        folder: DATA/<film>.
        info: the film.

    Raises:
        RecordsError: there are no finished records.
        InputError: they are those of another film.
    """
    card = load_card(folder)
    try:
        geometry = Geometry.from_json(card.geometry)
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise InputError(
            f"{folder}: its card does not say how the film lies in the records ({error!r}); run "
            "make_tfrecords again with --overwrite"
        ) from error
    other_size = info.path.is_file() and info.path.stat().st_size != card.source.get("bytes")
    if geometry.stored != info.picture.stored or other_size:
        raise InputError(
            f"{folder}: are records of another film ({card.source['name']}) than {info.path}; "
            "leave --data out"
        )
    return geometry


def plan(
    info: FilmInfo,
    autoencoder: Autoencoder,
    geometry: Geometry,
    output: Path,
    options: ReassemblyOptions,
) -> list[str]:
    """What would be written, in lines for a terminal."""
    lines = [f"model {autoencoder.path}, {_size(autoencoder.raster)}"]
    sounds = plan_sounds(info, output, options)
    for (path, sound), layout in zip(sounds.items(), film_layouts(geometry, options), strict=False):
        height, width = layout.output
        size = _size((height, 2 * width if path != output else width))
        frames = f"about {info.timing.frames_estimate}" if info.timing.frames_estimate else "all"
        tracks = [_fate(track) for track in sound.tracks]
        lines.append(f"{path}: {frames} frames, {size}; sound {', '.join(tracks) or 'none'}")
        lines += [f"left out: {words}" for words in sound.left_out]
    return lines


def _fate(track: SoundTrack) -> str:
    how = "copied" if track.encoding is None else f"re-encoded as {track.encoding.name}"
    return f"{track.codec} {how}"


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]} (height x width)"


def _options(values: Any) -> ReassemblyOptions:
    output = parse_local("output", values.output)
    side_by_side = None
    if values.side_by_side_output:
        side_by_side = parse_local("side_by_side_output", values.side_by_side_output)
    elif values.side_by_side:
        side_by_side = output.with_name(f"{output.stem}_side_by_side{output.suffix}")
    return ReassemblyOptions(
        side_by_side=side_by_side,
        keep_raster=values.keep_raster,
        max_height=values.max_height,
        batch_size=values.batch_size,
        encoding=Encoding(values.crf, values.preset),
        overwrite=values.overwrite,
        keep_damaged=values.keep_damaged,
    )


def _geometry(values: Any, info: FilmInfo, autoencoder: Autoencoder) -> Geometry:
    if values.data:
        return geometry_from_records(location(values.data), info)
    bars = parse_bars(values.crop_bars)
    if bars is None:
        bars = find_bars(info)
    return choose_geometry(info, autoencoder.raster, bars, values.fit)


def _report(result: Reassembly, film: Path) -> None:
    if result.jumps:
        print(visible(f"note: {film}: {result.jumps}"), file=sys.stderr)
    if result.problem:
        warning = (
            f"warning: {film}: {result.problem}; what could be read was written: "
            f"{counted(result.frames, 'frame')}"
        )
        print(visible(warning), file=sys.stderr)
    for line in result.report():
        print(visible(line))


def main() -> None:
    """Reads the flags, checks everything that can be checked at once, dreams, reports."""
    values = flags.FLAGS
    film, output = parse_local("film", values.film), parse_local("output", values.output)
    options = _options(values)
    parse_bars(values.crop_bars)
    need_tensorflow()
    ffmpeg_program()
    info = probe_film(film, parse_rate(values.frame_rate))
    check_outputs(film, output, options)
    find_saved_model(location(values.model))
    if values.data:
        geometry_from_records(location(values.data), info)
    for note in info.notes:
        print(visible(f"note: {film}: {note}"), file=sys.stderr)
    autoencoder = load_autoencoder(values.model)
    geometry = _geometry(values, info, autoencoder)
    if values.dry_run:
        print("\n".join(map(visible, plan(info, autoencoder, geometry, output, options))))
        return
    _report(reassemble_film(info, autoencoder, geometry, output, options), film)


def cli() -> None:
    """Runs the command."""
    flags.DEFINE_string("film", None, "Film file, or folder of numbered images.", required=True)
    flags.DEFINE_string(
        "model",
        None,
        "Run folder, its export/autoencoder, or one version of that (a SavedModel).",
        required=True,
    )
    flags.DEFINE_string("output", None, "Film to write: .mp4, .m4v, .mov or .mkv.", required=True)
    flags.DEFINE_bool(
        "side_by_side", False, "Also write OUTPUT_side_by_side: original left, dream right."
    )
    flags.DEFINE_string("side_by_side_output", None, "Where to write that film instead.")
    flags.DEFINE_string(
        "data", None, "Records of this film (DATA/<film>): their geometry is used, exactly."
    )
    flags.DEFINE_string(
        "crop_bars",
        "auto",
        "Black bars that the network does not see: auto, none, or pixels as top:bottom:left:right. "
        "Not with --data.",
    )
    flags.DEFINE_enum(
        "fit",
        "auto",
        ["auto", *FITS],
        "How the network sees a film of another shape than its own: contain whole, in margins that "
        "are cut off again; cover only the middle, so that the dream is black around it; stretch "
        "distorted; auto: stretch if the shapes differ by less than 8 %, else contain. Not with "
        "--data.",
    )
    flags.DEFINE_bool("keep_raster", False, "Write the model's own pixels, not the film's size.")
    flags.DEFINE_integer(
        "max_height", 0, "Write no film higher than this; 0: as the original.", lower_bound=0
    )
    flags.DEFINE_integer("batch_size", 32, "Frames at once, at most.", lower_bound=1)
    flags.DEFINE_integer("crf", 18, "Quality, 0 (lossless) to 51.", lower_bound=0, upper_bound=51)
    flags.DEFINE_enum("preset", "superfast", PRESETS, "How long x264 tries to make files small.")
    flags.DEFINE_string("frame_rate", "24", "Frames per second of a folder of images.")
    flags.DEFINE_bool("overwrite", False, "Replace existing films.")
    flags.DEFINE_bool("keep_damaged", False, "Write films of which most frames are damaged, too.")
    flags.DEFINE_bool("dry_run", False, "Say what would be written, and stop.")
    less_memory = "a smaller --max_height or --batch_size takes less, and so does no --side_by_side"
    run_command(main, less_memory)


if __name__ == "__main__":
    cli()
