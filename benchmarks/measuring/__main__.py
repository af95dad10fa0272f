"""The cost of measuring a feature film, next to a film of ten minutes.

Writes records of two films that differ in their length alone, trains a small network on each for a
step, and runs `evaluate` and `report` on both in turns. Besides times it counts what is read and
decoded, which does not depend on how busy the machine is.

Example:
  python -m benchmarks.measuring --work=build/measuring --output=docs/measured/measuring.md
"""

import atexit
import contextlib
import dataclasses
import importlib
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from absl import flags
from numpy.typing import NDArray

from benchmarks.markdown import publish, table
from benchmarks.runs import Usage, run, say
from bladerunner_ae.command_line.app import run as run_command
from tests.helpers.small_records import PTS_STEP, card_maker, encode
from tfrecords import storage, wording
from tfrecords.card import FilmCard, Shard, load_card
from tfrecords.schema import Frame
from tfrecords.writer import FilmWriter

SHORT, LONG = 14_400, 172_800
"""Frames of ten minutes and of two hours at 24 a second."""

HEIGHT, WIDTH = 24, 32
_PICTURES = 8  # of a shot, shown to and fro
_SHOT_FRAMES = (24, 1400)
_COMMANDS = ("evaluate", "report")
_READS = "read:"
_COUNTED = "import sys; from benchmarks.measuring.__main__ import counted; counted(sys.argv.pop(1))"


@dataclass
class Reads:
    """The reads of records: pictures decoded, and bytes and calls of shards."""

    frames: int = 0
    bytes: int = 0
    calls: int = 0


@contextlib.contextmanager
def counting_reads() -> Iterator[Reads]:
    """Count what this process reads frame by frame; a pass over a film is refused."""
    from tfrecords import frames as single_frames

    reads = Reads()
    decode, opening = single_frames.decode_image, storage.open_for_reading

    class Counted:
        def __init__(self, file: Any) -> None:
            self._file = file

        def read(self, size: int = -1) -> bytes:
            content: bytes = self._file.read(size)
            reads.bytes += len(content)
            reads.calls += 1
            return content

        def seek(self, place: int) -> int:
            return int(self._file.seek(place))

    @contextlib.contextmanager
    def open_counted(path: storage.AnyPath, buffering: int = storage.READ_BYTES) -> Iterator[Any]:
        with opening(path, buffering) as file:
            yield Counted(file) if os.fspath(path).endswith(".tfrecord") else file

    def decode_counted(*arguments: Any) -> Any:
        reads.frames += 1
        return decode(*arguments)

    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError("all frames of the film are read")

    with (
        mock.patch.object(single_frames, "decode_image", decode_counted),
        mock.patch.object(single_frames, "film_frames", refuse),
        mock.patch.object(storage, "open_for_reading", open_counted),
    ):
        yield reads


def write_film(
    folder: Path, frames: int, film_id: str, height: int = HEIGHT, width: int = WIDTH
) -> FilmCard:
    """Write records of a film of shots of very different length; a disc moves in each.

    Few pictures are drawn for a shot and shown to and fro, so that two hours take a minute.
    """
    random = np.random.default_rng(int(film_id, 16))
    starts = [0]
    while starts[-1] < frames:
        low, high = np.log(_SHOT_FRAMES)
        starts.append(starts[-1] + int(np.exp(random.uniform(low, high))))
    starts = [start for start in starts if start < frames]

    def make_card(shards: list[Shard]) -> FilmCard:
        card = card_maker(height, width, film_id)(shards)
        source = {**card.source, "name": f"{frames} frames.mp4"}
        return dataclasses.replace(card, shot_starts=starts, source=source)

    with FilmWriter(folder, frames, 16) as writer:
        for start, end in zip(starts, [*starts[1:], frames], strict=True):
            shown = [encode(picture) for picture in _shot(random, height, width)]
            shown += shown[-2:0:-1]
            for index in range(start, end):
                encoded = shown[(index - start) % len(shown)]
                pts = PTS_STEP * index - 5
                writer.write(Frame(encoded, "jpeg", height, width, index, pts, film_id))
        return writer.commit(make_card, overwrite=False)


def _shot(random: np.random.Generator, height: int, width: int) -> list[NDArray[np.uint8]]:
    rows, columns = np.mgrid[:height, :width] / height
    colours = random.uniform(0, 255, (3, 3))
    ground = colours[0] + (colours[1] - colours[0]) * rows[..., None]
    place, way = random.uniform(0, 1, 2), random.uniform(-0.04, 0.04, 2)
    pictures = []
    for step in range(_PICTURES):
        y, x = place + step * way
        inside = (rows - y) ** 2 + (columns - x * width / height) ** 2 < 0.06
        picture = np.where(inside[..., None], colours[2], ground)
        pictures.append(np.clip(picture, 0, 255).astype(np.uint8))
    return pictures


@dataclass(frozen=True)
class Cost:
    """The cost of one command, ffmpeg's included; `said` is its line about what it measures."""

    usage: Usage
    said: str
    reads: Reads


def counted(command: str) -> None:
    """Run a command of `bladerunner_ae`; its last line on stderr is what it read."""
    module = importlib.import_module(f"bladerunner_ae.{command}")
    with counting_reads() as reads:
        atexit.register(lambda: print(_READS, reads.frames, reads.bytes, reads.calls,
                                      file=sys.stderr))  # fmt: skip
        module.cli()


def measure(command: str, folder: Path, max_frames: int) -> Cost:
    """Run `evaluate` or `report` on a film that `prepare` made."""
    output = folder / {"evaluate": "figures.json", "report": "report.html"}[command]
    with tempfile.TemporaryFile() as log:
        usage = run(
            sys.executable, "-c", _COUNTED, command, f"--model={folder / 'run'}",
            f"--data={folder / 'film'}", f"--output={output}", f"--max_frames={max_frames}",
            log=log,
        )  # fmt: skip
        log.seek(0)
        lines = log.read().decode().splitlines()
    said = next(line for line in lines if line.startswith("measuring "))
    reads = next(line for line in lines if line.startswith(_READS)).removeprefix(_READS)
    return Cost(usage, said, Reads(*map(int, reads.split())))


def prepare(work: Path, frames: int) -> Path:
    """Return a folder with records, "film", and a network that has seen them, "run"."""
    folder = (work / str(frames)).absolute()
    if not (folder / "film").is_dir():
        write_film(folder / "film", frames, f"{frames:016x}")
    if not (folder / "run" / "export").is_dir():
        run(sys.executable, "-m", "bladerunner_ae.train", f"--data={folder / 'film'}",
            f"--model_dir={folder / 'run'}", "--preset=preview", "--steps=1", "--holdout=0.1",
            "--latent_size=50", "--noreport", "--overwrite")  # fmt: skip
    return folder


def page(costs: dict[str, dict[int, list[Cost]]], repeats: int) -> str:
    short, long = sorted(next(iter(costs.values())))
    rows = []
    for command, by_length in costs.items():
        medians = {
            frames: [
                statistics.median(getattr(cost.usage, name) for cost in found)
                for name in ("wall", "processor", "memory")
            ]
            for frames, found in by_length.items()
        }
        for frames in (short, long):
            pairs = zip(medians[long], medians[short], strict=True)
            ratios = [f"{one / other:.2f}" if frames == long else "1" for one, other in pairs]
            taken = by_length[frames][0].reads
            read = f"{taken.bytes / 2**20:.1f} MiB in {taken.calls:,} reads"
            rows.append([command, f"{frames:,}", *ratios, f"{taken.frames:,}", read])
    heads = ["command", "frames of the film", "time, ratio", "CPU time, ratio",
             "peak memory, ratio", "frames decoded", "read of the records"]  # fmt: skip
    lines = [
        "# Measuring a feature film beside a film of ten minutes",
        "",
        "Written by `benchmarks/measuring`: two films of synthetic records that differ in their "
        f"length alone, {HEIGHT}x{WIDTH}, a network of one step on each. Ratios are of medians "
        f"over {wording.counted(repeats, 'run')} of each command, the two films in turns; the "
        f"longer film has {long / short:.0f} times as many frames.",
        "",
        *table(heads, rows),
        "",
    ]
    for command in costs:
        lines += [f"`{command}`: {costs[command][frames][0].said}  " for frames in (short, long)]
    lines += [
        "",
        "Decoded are the frames measured and those that baselines and samples are fitted to "
        "(`evaluate`, at most 2,048 and 512) or that the page shows (`report`, at most 292). "
        f"Measured on {platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, other work beside it.",
    ]
    return "\n".join(lines)


def main() -> None:
    """Make what is missing, measure, write the page."""
    options = flags.FLAGS
    folders = {frames: prepare(Path(options.work), frames) for frames in map(int, options.frames)}
    for folder in folders.values():
        say(f"{folder}: {len(load_card(folder / 'film').shot_starts)} shots")
    costs: dict[str, dict[int, list[Cost]]] = {
        command: {frames: [] for frames in folders} for command in _COMMANDS
    }
    for _ in range(options.repeats):
        for command in _COMMANDS:
            for frames, folder in folders.items():
                costs[command][frames].append(measure(command, folder, options.max_frames))
                say(f"{command} {frames}: {costs[command][frames][-1]}")
    publish(page(costs, options.repeats), options.output)


def cli() -> None:
    flags.DEFINE_string("work", "build/measuring", "Folder for records and networks.")
    flags.DEFINE_list("frames", [str(SHORT), str(LONG)], "Frames of the two films.")
    flags.DEFINE_integer("max_frames", 5_000, "Frames that a command measures at most.")
    flags.DEFINE_integer("repeats", 3, "Runs of each command.", lower_bound=1)
    flags.DEFINE_string("output", None, "Markdown file for the page.")
    run_command(main)


if __name__ == "__main__":
    cli()
