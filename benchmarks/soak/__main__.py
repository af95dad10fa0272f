"""Convert a film of feature length, unbroken and killed again and again, and compare.

The demo film is repeated to 117 minutes, 168,480 frames of 1280x720, its packets copied. One
conversion runs through; the process of another is killed (SIGKILL) at random moments and started
again. The shards of both must have the same SHA-256, and the cards must be equal.

Example:
  python -m benchmarks.soak --kills=20 --output=docs/measured/soak.md
"""

import json
import os
import random
import shutil
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

from absl import flags

from benchmarks.markdown import publish, table
from benchmarks.runs import (
    DEMO_FILM,
    FILM_FRAMES,
    ROOT,
    Json,
    conversion_command,
    memory_of,
    repeat_film,
    say,
    start,
)
from bladerunner_ae.command_line.app import run as run_command
from bladerunner_ae.errors import OutputError, UsageError

RATE = 24
SAMPLE_SECONDS = 0.5


@dataclass
class Watched:
    """A process that ended or was killed: seconds it ran, and its memory in MiB over time."""

    seconds: float
    code: int
    memory: list[tuple[float, float]] = field(default_factory=list)


def convert(film: Path, output: Path, kill_after: float | None = None) -> Watched:
    """Run the conversion, at most for so many seconds, and sample its memory."""
    began = time.monotonic()
    process = start(*conversion_command(film, output, 144, 256), start_new_session=True)
    memory = []
    while process.poll() is None:
        elapsed = time.monotonic() - began
        if kill_after is not None and elapsed >= kill_after:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            break
        memory.append((elapsed, memory_of(process.pid)))
        pause = SAMPLE_SECONDS if kill_after is None else min(SAMPLE_SECONDS, kill_after - elapsed)
        time.sleep(max(pause, 0.01))
    return Watched(time.monotonic() - began, process.returncode, memory)


def killed_conversion(
    film: Path, output: Path, kills: int, longest: float, seed: int
) -> list[Watched]:
    """Run the conversion and kill it `kills` times at random moments, then let it end."""
    moments = random.Random(seed)
    runs: list[Watched] = []
    while len(runs) < kills:
        runs.append(convert(film, output, moments.uniform(0.5, longest)))
        say(f"kill {len(runs)} after {runs[-1].seconds:.1f} s")
        if runs[-1].code == 0:
            raise UsageError("the conversion ended before all kills; lower --longest")
    return [*runs, convert(film, output)]


def load(folder: Path) -> Json:
    """Return the card of a finished conversion."""
    (card,) = folder.glob("*/film.json")
    return dict(json.loads(card.read_text("utf-8")))


def curve(memory: list[tuple[float, float]], points: int = 10) -> str:
    """Return the memory at some moments, in words."""
    samples = memory[:: max(len(memory) // points, 1)]
    return ", ".join(f"{value:.0f} MiB at {moment:.0f} s" for moment, value in samples)


def page(card: Json, unbroken: Watched, killed: list[Watched], equal: bool) -> str:
    shards = card["shards"]
    total = sum(shard["bytes"] for shard in shards)
    values = [value for _, value in unbroken.memory if value]
    half = len(values) // 2
    rows = [
        [*(shard[key] for key in ("name", "frames", "first_frame", "bytes")), shard["sha256"][:16]]
        for shard in shards
    ]
    lines = [
        "# A film of feature length",
        "",
        f"Written by `python -m benchmarks.soak --kills={len(killed) - 1}`: {card['frames']} "
        f"frames of 1280x720, {card['frames'] / RATE / 60:.0f} minutes, to records of 144x256, "
        f"on {os.cpu_count()} cores.",
        "",
        f"* Unbroken: {unbroken.seconds:.0f} s, {card['frames'] / unbroken.seconds:.0f} frames/s; "
        f"{len(shards)} shards, {total / 2**20:.0f} MiB.",
        f"* Memory: peak {max(values):.0f} MiB; of the first half {max(values[:half]):.0f} MiB, "
        f"of the second {max(values[half:]):.0f} MiB. {curve(unbroken.memory)}.",
        f"* Killed {len(killed) - 1} times, after "
        + ", ".join(f"{run.seconds:.1f}" for run in killed[:-1])
        + f" s; the last run took {killed[-1].seconds:.0f} s.",
        f"* Shards and card of both {'are equal' if equal else '**DIFFER**'}.",
        "",
        *table(["shard", "frames", "first frame", "bytes", "SHA-256"], rows),
        "",
    ]
    return "\n".join(lines)


def main() -> int:
    """Convert, kill, compare, report; return 1 if the results differ."""
    options = flags.FLAGS
    scratch = Path(options.scratch)
    scratch.mkdir(parents=True, exist_ok=True)
    times, frames = options.frames // 1000 + 1, options.frames
    film = repeat_film(Path(options.film), scratch / "film.mp4", times, "-frames:v", frames)
    for name in ("unbroken", "killed"):
        shutil.rmtree(scratch / name, ignore_errors=True)
    killed = killed_conversion(
        film, scratch / "killed", options.kills, options.longest, options.seed
    )
    unbroken = convert(film, scratch / "unbroken")
    if unbroken.code or killed[-1].code:
        raise OutputError(f"a conversion failed: {unbroken.code}, {killed[-1].code}")
    card, other = load(scratch / "unbroken"), load(scratch / "killed")
    publish(page(card, unbroken, killed, card == other), options.output)
    return int(card != other)


def cli() -> None:
    flags.DEFINE_string("film", str(DEMO_FILM), "Film that is repeated.")
    flags.DEFINE_string("scratch", str(ROOT / "build/soak"), "Folder for films and records.")
    flags.DEFINE_integer("frames", FILM_FRAMES, "Frames of the long film.")
    flags.DEFINE_integer("kills", 20, "Number of kills.")
    flags.DEFINE_float("longest", 26.0, "Most seconds before a kill.")
    flags.DEFINE_integer("seed", 0, "Another seed kills at other moments.")
    flags.DEFINE_string("output", None, "Markdown file for the results.")
    run_command(main)


if __name__ == "__main__":
    cli()
