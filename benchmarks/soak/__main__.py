"""Converts a film of feature length, unbroken and killed again and again, and compares.

The demo film is repeated to 117 minutes, 168,480 frames of 1280x720, without encoding it anew. One
conversion runs through; of another the process is killed (SIGKILL) at random moments and started
again. The shards of both must have the same SHA-256, and the cards must be equal.

Example:
  python -m benchmarks.soak --kills=20 --output=docs/measured/soak.md
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import imageio_ffmpeg

ROOT = Path(__file__).resolve().parent.parent.parent
FRAMES = 168_480
RATE = 24
SAMPLE_SECONDS = 0.5


@dataclass
class Watched:
    """A process that ended or was killed: seconds it ran, and its memory in MiB over time."""

    seconds: float
    code: int
    memory: list[tuple[float, float]] = field(default_factory=list)


def long_film(film: Path, path: Path, frames: int) -> Path:
    """The film's picture again and again, copied, cut to so many frames."""
    if not path.exists():
        names = path.with_suffix(".txt")
        names.write_text(f"file '{film.resolve()}'\n" * (frames // 1000 + 1))
        subprocess.run(
            [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-f", "concat", "-safe", "0",
             "-i", str(names), "-map", "0:v", "-c", "copy", "-frames:v", str(frames), str(path)],
            check=True,
        )  # fmt: skip
    return path


def convert(film: Path, output: Path, kill_after: float | None = None) -> Watched:
    """Runs the conversion, at most for so many seconds, and samples its memory."""
    command = [sys.executable, "tools/make_tfrecords.py", f"--film={film}",
               f"--output_dir={output}", "--height=144", "--width=256"]  # fmt: skip
    start = time.monotonic()
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    memory = []
    while process.poll() is None:
        elapsed = time.monotonic() - start
        if kill_after is not None and elapsed >= kill_after:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            break
        memory.append((elapsed, resident(process.pid)))
        pause = SAMPLE_SECONDS if kill_after is None else min(SAMPLE_SECONDS, kill_after - elapsed)
        time.sleep(max(pause, 0.01))
    return Watched(time.monotonic() - start, process.returncode, memory)


def resident(process: int) -> float:
    """Memory of a process in MiB, 0 if it has just ended."""
    try:
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0


def killed_conversion(
    film: Path, output: Path, kills: int, longest: float, seed: int
) -> list[Watched]:
    """Runs the conversion and kills it `kills` times at random moments, then lets it end."""
    moments = random.Random(seed)
    runs = []
    while len(runs) < kills:
        runs.append(convert(film, output, moments.uniform(0.5, longest)))
        print(f"kill {len(runs)} after {runs[-1].seconds:.1f} s", file=sys.stderr, flush=True)
        if runs[-1].code == 0:
            raise SystemExit("the conversion ended before all kills; lower --longest")
    runs.append(convert(film, output))
    return runs


def load(folder: Path) -> dict[str, Any]:
    """The card of a finished conversion."""
    (card,) = folder.glob("*/film.json")
    return dict(json.loads(card.read_text("utf-8")))


def curve(memory: list[tuple[float, float]], points: int = 10) -> str:
    """Memory at some moments, as text."""
    if not memory:
        return ""
    step = max(len(memory) // points, 1)
    return ", ".join(f"{value:.0f} MiB at {moment:.0f} s" for moment, value in memory[::step])


def report(card: dict[str, Any], unbroken: Watched, killed: list[Watched], equal: bool) -> str:
    """The results as Markdown."""
    total = sum(shard["bytes"] for shard in card["shards"])
    values = [value for _, value in unbroken.memory if value]
    half = len(values) // 2
    lines = [
        "# A film of feature length",
        "",
        f"Written by `python -m benchmarks.soak --kills={len(killed) - 1}`: {card['frames']} "
        f"frames of 1280x720, {card['frames'] / RATE / 60:.0f} minutes, to records of 144x256, "
        f"on {os.cpu_count()} cores.",
        "",
        f"* Unbroken: {unbroken.seconds:.0f} s, {card['frames'] / unbroken.seconds:.0f} frames/s; "
        f"{len(card['shards'])} shards, {total / 2**20:.0f} MiB.",
        f"* Memory: peak {max(values):.0f} MiB; of the first half {max(values[:half]):.0f} MiB, "
        f"of the second {max(values[half:]):.0f} MiB. {curve(unbroken.memory)}.",
        f"* Killed {len(killed) - 1} times, after "
        + ", ".join(f"{run.seconds:.1f}" for run in killed[:-1])
        + f" s; the last run took {killed[-1].seconds:.0f} s.",
        f"* Shards and card of both {'are equal' if equal else '**DIFFER**'}.",
        "",
        "| shard | frames | first frame | bytes | SHA-256 |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {shard['name']} | {shard['frames']} | {shard['first_frame']} | {shard['bytes']} | "
        f"{shard['sha256'][:16]} |"
        for shard in card["shards"]
    ]
    return "\n".join([*lines, ""])


def main() -> None:
    """Converts, kills, compares, reports; exit code 1 if the results differ."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--film", type=Path, default=ROOT / ".cache/big_buck_bunny_trailer.mp4")
    parser.add_argument("--scratch", type=Path, default=ROOT / "build/soak")
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument(
        "--longest", type=float, default=26.0, help="seconds before a kill, at most"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    scratch = arguments.scratch
    scratch.mkdir(parents=True, exist_ok=True)
    film = long_film(arguments.film, scratch / "film.mp4", arguments.frames)
    for name in ("unbroken", "killed"):
        shutil.rmtree(scratch / name, ignore_errors=True)
    killed = killed_conversion(
        film, scratch / "killed", arguments.kills, arguments.longest, arguments.seed
    )
    unbroken = convert(film, scratch / "unbroken")
    if unbroken.code or killed[-1].code:
        raise SystemExit(f"a conversion failed: {unbroken.code}, {killed[-1].code}")
    card, other = load(scratch / "unbroken"), load(scratch / "killed")
    text = report(card, unbroken, killed, card == other)
    print(text)
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(text, "utf-8")
    sys.exit(card != other)


if __name__ == "__main__":
    main()
