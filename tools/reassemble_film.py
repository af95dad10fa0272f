"""Show a film to a network and write it as the network dreams it.

Frame by frame, with the original's exact timing, black bars, shape and soundtrack (copied where
possible). The film is verified before it gets its name. The model need not have been trained on the
same film.

--output's suffix decides the kind of file: .mp4, .m4v, .mov or .mkv.

Examples:
  python tools/reassemble_film.py --film=my.mp4 --model=RUN --output=dream.mp4
  python tools/reassemble_film.py --film=my.mp4 --model=RUN/export/autoencoder --output=dream.mp4 \
--side_by_side --data=DATA/my
  python tools/reassemble_film.py --film=other.mkv --model=RUN --output=dream.mkv --max_height=720
"""

import os
import sys

if __package__ in (None, ""):  # `python tools/NAME.py` where the package is not installed
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import json
from pathlib import Path

from absl import flags

from bladerunner_ae.command_line.app import run as run_command
from bladerunner_ae.command_line.arguments import (
    parse_bars,
    parse_local,
    parse_rate,
    refuse_frame_rate,
)
from bladerunner_ae.command_line.tensorflow_import import import_tensorflow, need_tensorflow
from bladerunner_ae.errors import InputError, UsageError
from bladerunner_ae.exports.loading import Autoencoder, find_saved_model, load_autoencoder
from bladerunner_ae.film.info import FilmInfo
from bladerunner_ae.film.reading.bars import find_bars
from bladerunner_ae.film.reading.probe import probe_film
from bladerunner_ae.film.writing.encoder import PRESETS, Encoding
from bladerunner_ae.film.writing.ffmpeg import ffmpeg_program
from bladerunner_ae.geometry import FITS, Geometry, size_text
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
from tfrecords.storage import Location, location
from tfrecords.wording import counted, visible


def geometry_from_records(folder: Location, info: FilmInfo) -> Geometry:
    """Return the placement of the film in its records, from their card.

    Raises RecordsError if there are no finished records, InputError if they are of another film.
    """
    card = load_card(folder)
    try:
        geometry = Geometry.from_json(card.geometry)
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise InputError(
            f"{folder}: its card does not say how the film is placed in the records ({error!r}); "
            "run make_tfrecords again with --overwrite"
        ) from error
    other_size = info.path.is_file() and info.path.stat().st_size != card.source.get("bytes")
    if geometry.stored != info.picture.stored or other_size:
        raise InputError(
            f"{folder}: are records of another film ({card.source['name']}) than {info.path}; "
            "leave --data out"
        )
    return geometry


def describe_outputs(
    info: FilmInfo,
    autoencoder: Autoencoder,
    geometry: Geometry,
    output: Path,
    options: ReassemblyOptions,
) -> list[str]:
    """Return a line for the model, for each film that would be written and for what it lacks."""
    lines = [f"model {autoencoder.path}, {size_text(autoencoder.raster)}"]
    sounds = plan_sounds(info, output, options)
    for (path, sound), layout in zip(sounds.items(), film_layouts(geometry, options), strict=False):
        height, width = layout.output
        size = size_text((height, 2 * width if path != output else width))
        frames = f"about {info.timing.frames_estimate}" if info.timing.frames_estimate else "all"
        tracks = [
            f"{track.codec} re-encoded as {track.encoding.name}"
            if track.encoding
            else f"{track.codec} copied"
            for track in sound.tracks
        ]
        lines.append(f"{path}: {frames} frames, {size}; sound {', '.join(tracks) or 'none'}")
        lines += [f"left out: {words}" for words in sound.left_out]
    return lines


def side_by_side_path(output: Path, path: str | None, wanted: bool) -> Path | None:
    """Return the path of the film of original and dream, if it is wanted."""
    if path:
        return parse_local("side_by_side_output", path)
    return output.with_name(f"{output.stem}_side_by_side{output.suffix}") if wanted else None


def print_result(result: Reassembly, film: Path, as_json: bool) -> None:
    """Print the films on stdout, and the problems of the original on stderr."""
    if result.jumps:
        print(visible(f"note: {film}: {result.jumps}"), file=sys.stderr)
    if result.problem:
        frames = counted(result.films[0].frames_read, "frame")
        warning = f"{film}: {result.problem}; what could be read was written: {frames}"
        print(visible(f"warning: {warning}"), file=sys.stderr)
    if as_json:
        print(json.dumps([one.to_json() for one in result.films], indent=2, ensure_ascii=False))
    else:
        print(*(visible(one.report()) for one in result.films), sep="\n")


def main() -> None:
    """Read the flags, check everything that can be checked at once, dream, report."""
    values = flags.FLAGS
    film, output = parse_local("film", values.film), parse_local("output", values.output)
    options = ReassemblyOptions(
        side_by_side=side_by_side_path(output, values.side_by_side_output, values.side_by_side),
        keep_raster=values.keep_raster,
        max_height=values.max_height,
        batch_size=values.batch_size,
        encoding=Encoding(values.crf, values.preset),
        overwrite=values.overwrite,
        keep_damaged=values.keep_damaged,
    )
    bars, rate = parse_bars(values.crop_bars), parse_rate(values.frame_rate)
    if values.data:
        for name in ("crop_bars", "fit"):
            if values[name].present:
                raise UsageError(
                    f"--{name}={values[name].value}: --data gives the geometry of the records; "
                    "leave one of them out"
                )
    refuse_frame_rate(film, values["frame_rate"].present)
    need_tensorflow()
    ffmpeg_program()
    info = probe_film(film, rate)
    check_outputs(film, output, options)
    find_saved_model(location(values.model))
    geometry = geometry_from_records(location(values.data), info) if values.data else None
    for note in info.notes:
        print(visible(f"note: {film}: {note}"), file=sys.stderr)
    import_tensorflow()
    autoencoder = load_autoencoder(values.model)
    if geometry is None:
        bars = find_bars(info) if bars is None else bars
        try:
            geometry = choose_geometry(info, autoencoder.raster, bars, values.fit)
        except InputError as error:
            raise InputError(f"{film}: {error}") from error
    if values.dry_run:
        lines = describe_outputs(info, autoencoder, geometry, output, options)
        print("\n".join(map(visible, lines)))
        return
    print_result(reassemble_film(info, autoencoder, output, options, geometry), film, values.json)


def cli() -> None:
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
        "Black bars to keep from the network: auto, none, or pixels as top:bottom:left:right. "
        "Not with --data.",
    )
    flags.DEFINE_enum(
        "fit",
        "auto",
        ["auto", *FITS],
        "How the network sees a film of another shape. contain: whole, in margins that are cut off "
        "again; cover: only the middle, and the dream is black around it; stretch: distorted; "
        "auto: stretch if the shapes differ by less than 8 %, else contain. Not with --data.",
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
    flags.DEFINE_bool("dry_run", False, "Print what would be written, and stop.")
    flags.DEFINE_bool("json", False, "Print one JSON array with an object for each film instead.")
    less_memory = "a smaller --max_height or --batch_size takes less, and so does no --side_by_side"
    run_command(main, less_memory)


if __name__ == "__main__":
    cli()
