"""Measure the conversion of films against one ffmpeg that only decodes and scales.

Alternating runs of whole processes, on films of at least 5,000 frames, 1280x720 and 1920x1080:

* ffmpeg -threads 2 -i FILM -vf scale=256:144:flags=area,format=rgb24 -f null -
* two such ffmpeg at once, one on each half of the film: about the most that dividing the work gains
* python tools/make_tfrecords.py --film=FILM --height=144 --width=256

and peak memory. The film is the demo film, repeated, its packets copied.

Example:
  python -m benchmarks.conversion --rounds=5 --output=docs/measured/conversion.md
"""

import os
import shutil
import statistics
import sys
import time
from pathlib import Path

import imageio_ffmpeg
from absl import flags

from benchmarks.markdown import median, median_ratio, publish, table
from benchmarks.runs import (
    DEMO_FILM,
    ROOT,
    Usage,
    conversion_command,
    machine,
    repeat_film,
    run,
    say,
    start,
)
from bladerunner_ae.command_line.app import run as run_command
from bladerunner_ae.errors import InputError, OutputError
from bladerunner_ae.film.reading.container import open_film, picture_stream
from bladerunner_ae.film.reading.probe import probe_film

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
HEIGHT, WIDTH = 144, 256


def high_definition(film: Path, path: Path) -> Path:
    """Write the film at 1920x1080."""
    if not path.exists():
        scale = "scale=1920:1080:flags=lanczos"
        run(FFMPEG, "-y", "-i", film, "-an", "-vf", scale, "-c:v", "libx264", "-preset", "fast",
            "-crf", "20", path)  # fmt: skip
    return path


def base_command(film: Path) -> list[object]:
    """Return the command of one ffmpeg that decodes and scales, and writes nothing."""
    scale = f"scale={WIDTH}:{HEIGHT}:flags=area,format=rgb24"
    return [FFMPEG, "-v", "error", "-threads", 2, "-i", film, "-vf", scale, "-f", "null", "-"]


def halves(film: Path, seconds: float) -> list[Path]:
    """Write the film in two parts, copied; the second begins at a key frame near the middle."""
    parts = [film.with_name(f"{film.stem}-{number}{film.suffix}") for number in (1, 2)]
    if not all(part.exists() for part in parts):
        middle = seconds / 2
        run(FFMPEG, "-y", "-i", film, "-t", middle, "-c", "copy", parts[0])
        run(FFMPEG, "-y", "-ss", middle, "-i", film, "-c", "copy", parts[1])
    return parts


def at_once(films: list[Path]) -> float:
    """Return the seconds that one ffmpeg for each film takes, all at once."""
    began = time.perf_counter()
    processes = [start(*base_command(film)) for film in films]
    if any([process.wait() for process in processes]):
        raise OutputError(f"{films[0]}: ffmpeg failed on a part")
    return time.perf_counter() - began


def convert(film: Path, folder: Path) -> Usage:
    """Run the command that makes a film's records."""
    shutil.rmtree(folder, ignore_errors=True)
    return run(*conversion_command(film, folder, HEIGHT, WIDTH))


def measure(name: str, film: Path, rounds: int, scratch: Path) -> list[str]:
    """Return the row of a film."""
    frames = count_frames(film)
    parts = halves(film, float(probe_film(film).timing.duration or 0))
    ours, theirs, limits = list[Usage](), list[Usage](), list[float]()
    for number in range(rounds):
        tasks = [lambda: ours.append(convert(film, scratch / "records")),
                 lambda: theirs.append(run(*base_command(film))),
                 lambda: limits.append(at_once(parts))]  # fmt: skip
        for task in tasks if number % 2 else tasks[::-1]:
            task()
        say(f"{name}: ours {ours[-1].wall:.1f} s, ffmpeg {theirs[-1].wall:.1f} s, two on halves "
            f"{limits[-1]:.1f} s")  # fmt: skip
    speeds = [
        f"{frames / statistics.median(use.wall for use in uses):.0f}" for uses in (ours, theirs)
    ]
    ratios = [their.wall / our.wall for our, their in zip(ours, theirs, strict=True)]
    libraries = run(sys.executable, "-c", "import tools.make_tfrecords").memory
    return [
        name, str(frames), *speeds, f"**{median(ratios, 2)}**",
        f"{min(ratios):.2f}..{max(ratios):.2f}",
        f"{median_ratio((their.wall for their in theirs), limits):.2f}",
        f"{max(use.memory for use in ours) - libraries:.0f}",
    ]  # fmt: skip


def count_frames(film: Path) -> int:
    """Return the number of the picture's packets."""
    with open_film(film) as container:
        return sum(packet.size > 0 for packet in container.demux(picture_stream(container, film)))


def page(rows: list[list[str]], rounds: int) -> str:
    heads = ["film", "frames", "frames/s", "ffmpeg's frames/s", "ratio, median", "of single rounds",
             "two ffmpeg on halves", "peak memory over libraries' own, MiB"]  # fmt: skip
    processor = machine()["processor"]
    command = f"python -m benchmarks.conversion --rounds={rounds}"
    return "\n".join([
        "# Film to records, against one ffmpeg", "",
        f"Written by `{command}` on {os.cpu_count()} cores ({processor}). Alternating runs of",
        "whole processes; ffmpeg decodes and scales with `-threads 2` and writes nothing, ours",
        "writes the records. *Two ffmpeg on halves* is the same ratio for two such ffmpeg at once,",
        "one on each half of the film: about what dividing a film can gain on this machine.", "",
        *table(heads, rows, " --- "), "",
    ])  # fmt: skip


def main() -> None:
    options = flags.FLAGS
    film, scratch = Path(options.film).absolute(), Path(options.scratch).absolute()
    if not film.exists():
        raise InputError(
            f"{film}: no such film; run python tools/fetch_demo_film.py, or give --film"
        )
    scratch.mkdir(parents=True, exist_ok=True)
    times = -(-options.frames // count_frames(film))
    films = {"1280x720": film, "1920x1080": high_definition(film, scratch / "high.mp4")}
    rows = [
        measure(name, repeat_film(one, scratch / f"{name}.mp4", times), options.rounds, scratch)
        for name, one in films.items()
    ]
    publish(page(rows, options.rounds), options.output)


def cli() -> None:
    flags.DEFINE_string("film", str(DEMO_FILM), "Film of 1280x720 that is repeated.")
    flags.DEFINE_string("scratch", str(ROOT / "build/benchmarks"), "Folder for films and records.")
    flags.DEFINE_integer("rounds", 5, "Rounds of the three ways.", lower_bound=1)
    flags.DEFINE_integer("frames", 5000, "Frames of a film, at least.", lower_bound=1)
    flags.DEFINE_string("output", None, "Markdown file for the table.")
    run_command(main)


if __name__ == "__main__":
    cli()
