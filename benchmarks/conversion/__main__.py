"""Measures the conversion of films against one ffmpeg that only decodes and scales.

Alternating runs of whole processes, on films of at least 5,000 frames, 1280x720 and 1920x1080:

* ffmpeg -threads 2 -i FILM -vf scale=256:144:flags=area,format=rgb24 -f null -
* two such ffmpeg at once, one on each half of the film: what dividing the work can gain at most
* python tools/make_tfrecords.py --film=FILM --height=144 --width=256

and, of what was written: peak memory, distance to the exact area mean in the film's own colour
matrix, and what JPEG costs. The demo film serves, repeated without encoding it anew.

Example:
  python -m benchmarks.conversion --rounds=5 --output=docs/measured/conversion.md
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.conversion.quality import quality  # noqa: E402
from bladerunner_ae.film.reading.container import open_film, picture_stream  # noqa: E402
from bladerunner_ae.film.reading.probe import probe_film  # noqa: E402

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
HEIGHT, WIDTH = 144, 256


@dataclass(frozen=True)
class Usage:
    """What a process took: seconds on the clock and of processors, and its peak memory in MiB."""

    wall: float
    processor: float
    memory: float


def start(*command: object) -> "subprocess.Popen[bytes]":
    """Starts a command that says nothing."""
    return subprocess.Popen(
        [str(part) for part in command], cwd=ROOT, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def run(*command: object) -> Usage:
    """Runs a command to its end, which must be a good one."""
    began = time.perf_counter()
    process = start(*command)
    memory, status = 0.0, 0
    while True:
        # Not `ru_maxrss`: a process inherits the peak of the one that started it.
        memory = max(memory, peak_memory(process.pid))
        ended, status, used = os.wait4(process.pid, os.WNOHANG)
        if ended:
            break
        time.sleep(0.02)
    wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"failed with {process.returncode}: {' '.join(map(str, command))}")
    return Usage(wall, used.ru_utime + used.ru_stime, memory)


def peak_memory(process: int) -> float:
    """The most memory that a process has had so far, in MiB; 0 if nobody knows."""
    try:
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0


def repeated(film: Path, frames: int, at_least: int, path: Path) -> Path:
    """The film's picture again and again, copied, until it has `at_least` frames."""
    if not path.exists():
        times = -(-at_least // frames)
        names = path.with_suffix(".txt")
        names.write_text(f"file '{film.resolve()}'\n" * times)
        run(
            FFMPEG,
            "-y",
            "-f",
            "concat",
            "-safe",
            "0",
            "-i",
            names,
            "-map",
            "0:v",
            "-c",
            "copy",
            path,
        )
    return path


def high_definition(film: Path, path: Path) -> Path:
    """The film at 1920x1080."""
    if not path.exists():
        scale = "scale=1920:1080:flags=lanczos"
        run(FFMPEG, "-y", "-i", film, "-an", "-vf", scale, "-c:v", "libx264", "-preset", "fast",
            "-crf", "20", path)  # fmt: skip
    return path


def base_command(film: Path) -> list[object]:
    """One ffmpeg that decodes and scales, and writes nothing."""
    scale = f"scale={WIDTH}:{HEIGHT}:flags=area,format=rgb24"
    return [FFMPEG, "-v", "error", "-threads", 2, "-i", film, "-vf", scale, "-f", "null", "-"]


def halves(film: Path, seconds: float) -> list[Path]:
    """The film in two parts, copied; the second begins at a key frame near the middle."""
    parts = [film.with_name(f"{film.stem}-{number}{film.suffix}") for number in (1, 2)]
    if not all(part.exists() for part in parts):
        middle = seconds / 2
        run(FFMPEG, "-y", "-i", film, "-t", middle, "-c", "copy", parts[0])
        run(FFMPEG, "-y", "-ss", middle, "-i", film, "-c", "copy", parts[1])
    return parts


def at_once(films: list[Path]) -> float:
    """Seconds that one ffmpeg for each film takes, all at once."""
    began = time.perf_counter()
    processes = [start(*base_command(film)) for film in films]
    if any([process.wait() for process in processes]):
        raise SystemExit(f"ffmpeg failed on a part of {films[0]}")
    return time.perf_counter() - began


def conversion(film: Path, folder: Path) -> Usage:
    """The whole command that makes a film's records."""
    shutil.rmtree(folder, ignore_errors=True)
    return run(sys.executable, "tools/make_tfrecords.py", f"--film={film}",
               f"--output_dir={folder}", f"--height={HEIGHT}", f"--width={WIDTH}")  # fmt: skip


def libraries() -> Usage:
    """The interpreter with the same libraries, doing nothing."""
    return run(sys.executable, "-c", "import tools.make_tfrecords")


def measure(name: str, film: Path, rounds: int, scratch: Path) -> list[str]:
    """One row of each table for a film."""
    frames = sum(1 for _ in packets(film))
    parts = halves(film, float(probe_film(film).timing.duration or 0))
    ours, theirs, limits = list[Usage](), list[Usage](), list[float]()
    for number in range(rounds):
        tasks = [lambda: ours.append(conversion(film, scratch / "records")),
                 lambda: theirs.append(run(*base_command(film))),
                 lambda: limits.append(at_once(parts))]  # fmt: skip
        for task in tasks if number % 2 else tasks[::-1]:
            task()
        print(f"{name}: ours {ours[-1].wall:.1f} s, ffmpeg {theirs[-1].wall:.1f} s, two on halves "
              f"{limits[-1]:.1f} s", file=sys.stderr)  # fmt: skip
    speed = [frames / statistics.median(use.wall for use in uses) for uses in (ours, theirs)]
    ratios = [their.wall / our.wall for our, their in zip(ours, theirs, strict=True)]
    highest = [their.wall / limit for their, limit in zip(theirs, limits, strict=True)]
    scaling, compression = quality(film, (HEIGHT, WIDTH), scratch)
    memory = max(use.memory for use in ours)
    row = [
        name, frames, f"{speed[0]:.0f}", f"{speed[1]:.0f}", f"**{statistics.median(ratios):.2f}**",
        f"{min(ratios):.2f}..{max(ratios):.2f}", f"{statistics.median(highest):.2f}",
        f"{memory - libraries().memory:.0f}",
        f"{statistics.median(scaling):.1f} ({min(scaling):.1f})",
        f"{statistics.median(compression):.1f} ({min(compression):.1f})",
    ]  # fmt: skip
    return [str(cell) for cell in row]


def packets(film: Path) -> Iterator[Fraction]:
    """One item for each frame of the picture, without decoding."""
    with open_film(film) as container:
        stream = picture_stream(container, film)
        yield from (Fraction(1) for packet in container.demux(stream) if packet.size)


def table(rows: list[list[str]], rounds: int) -> str:
    """The results as Markdown."""
    heads = ["film", "frames", "frames/s", "ffmpeg's frames/s", "ratio, median", "of single rounds",
             "two ffmpeg on halves", "peak memory over libraries' own, MiB",
             "scaling, dB: median (worst)", "JPEG, dB: median (worst)"]  # fmt: skip
    lines = ["| " + " | ".join(cells) + " |" for cells in [heads, ["---"] * len(heads), *rows]]
    command = f"python -m benchmarks.conversion --rounds={rounds}"
    return "\n".join([
        "# Film to records, against one ffmpeg", "",
        f"Written by `{command}` on {os.cpu_count()} cores ({processor()}). Alternating runs of",
        "whole processes; ffmpeg decodes and scales with `-threads 2` and writes nothing, ours",
        "writes the records. *Two ffmpeg on halves* is the same ratio for two such ffmpeg at once,",
        "one on each half of the film: about what dividing a film can gain on this machine.", "",
        *lines, "",
    ])  # fmt: skip


def processor() -> str:
    """The processor's name."""
    file = Path("/proc/cpuinfo")
    names = (
        [
            line.split(":")[1].strip()
            for line in file.read_text().splitlines()
            if line.startswith("model name")
        ]
        if file.exists()
        else []
    )
    return names[0] if names else "unknown processor"


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--film", type=Path, default=ROOT / ".cache/big_buck_bunny_trailer.mp4")
    parser.add_argument("--scratch", type=Path, default=ROOT / "build/benchmarks")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--frames", type=int, default=5000, help="at least so many")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    if not arguments.film.exists():
        raise SystemExit(
            f"{arguments.film}: no such film; run python tools/fetch_demo_film.py, or give --film"
        )
    scratch = arguments.scratch
    scratch.mkdir(parents=True, exist_ok=True)
    frames = sum(1 for _ in packets(arguments.film))
    films = {
        "1280x720": arguments.film,
        "1920x1080": high_definition(arguments.film, scratch / "high.mp4"),
    }
    rows = [
        measure(
            name,
            repeated(film, frames, arguments.frames, scratch / f"{name}.mp4"),
            arguments.rounds,
            scratch,
        )
        for name, film in films.items()
    ]
    text = table(rows, arguments.rounds)
    print(text)
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
