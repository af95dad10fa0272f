"""The speed at which records become batches, next to the ways that they replace.

Each way gives batches of 64 without end; they are measured in turns, a second or so each, and the
table shows medians and their ratio to plain decoding, the limit: the same JPEG bytes in memory, one
parallel map of tf.io.decode_jpeg, nothing else. A folder of PNGs is what the original of 2016 read,
one picture after the other in Python. A second table shows the cost of resuming in the middle of
pass 3 of a streamed set.

Examples:
  python -m benchmarks.reading --data=DATA/my_film
  python -m benchmarks.reading --data=DATA/my_film --quick --output=reading.md
"""

import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from PIL import Image

from benchmarks.markdown import median_ratio, publish, table
from bladerunner_ae.command_line.app import run as run_command
from bladerunner_ae.command_line.progress import Progress
from tfrecords.card import FilmCard, load_card

BATCH = 64
Way = Callable[[], Iterator[Any]]


def ways(records: Path, card: FilmCard, pngs: list[str]) -> dict[str, Way]:
    """Return the ways by name: each call gives an iterator of batches without end.

    `pngs` are paths of some of the film's frames as PNG files.
    """
    import tensorflow as tf

    from bladerunner_ae.model.pixels import to_float
    from tfrecords.mixture import FilmPart
    from tfrecords.reader import decode_image, mixed_frames
    from tfrecords.record_streams import film_records

    size = (card.height, card.width)
    auto = tf.data.AUTOTUNE
    frames = itertools.islice(film_records(records, card), 20_000)
    encoded = tf.constant([frame.encoded for frame in frames])
    ours = {
        in_memory: mixed_frames(
            [FilmPart(records, card)], batch_size=BATCH, seed=0, in_memory=in_memory
        )
        for in_memory in (True, False)
    }

    def floats(batch: dict[str, Any]) -> Any:
        return to_float(batch["image"])

    def read_png(path: Any) -> Any:
        image = tf.io.decode_png(tf.io.read_file(path), channels=3)
        return to_float(tf.ensure_shape(image, [*size, 3]))

    places = tf.data.Dataset.range(len(encoded)).repeat()
    plain = places.map(lambda place: decode_image(encoded[place], *size), auto)
    png_files = tf.data.Dataset.from_tensor_slices(pngs).repeat()

    def normalised(dataset: Any) -> Any:
        return dataset.map(floats, auto).prefetch(auto)

    return {
        "plain decode_jpeg, uint8 (the limit)": lambda: iter(plain.batch(BATCH).prefetch(auto)),
        "whole reader in memory, uint8": lambda: iter(ours[True]),
        "whole reader in memory, float32 -1..1": lambda: iter(normalised(ours[True])),
        "whole reader streamed, uint8": lambda: iter(ours[False]),
        "whole reader streamed, float32 -1..1": lambda: iter(normalised(ours[False])),
        "folder of PNGs, tf.data, float32": lambda: iter(
            png_files.map(read_png, auto).batch(BATCH).prefetch(auto)
        ),
        "folder of PNGs, Python loop with Pillow, float32": lambda: python_loop(pngs),
    }


def python_loop(pngs: list[str]) -> Iterator[Any]:
    """Yield batches as the code of 2016 made them: float32 [BATCH, height, width, 3]."""
    paths = itertools.cycle(pngs)
    while True:
        pictures = [np.asarray(Image.open(path)) for path in itertools.islice(paths, BATCH)]
        yield np.stack(pictures).astype(np.float32) / 127.5 - 1.0


def write_pngs(records: Path, card: FilmCard, folder: Path, count: int) -> list[str]:
    """Write evenly spread frames of a film as PNG files; return their paths."""
    from tfrecords.frames import read_images

    chosen = np.unique(np.linspace(0, card.frames - 1, count).astype(int)).tolist()
    paths = []
    for index, picture in zip(chosen, read_images(records, card, chosen), strict=True):
        paths.append(str(folder / f"{index:06d}.png"))
        Image.fromarray(picture).save(paths[-1])
    return paths


def measure(
    batches: dict[str, Iterator[Any]], rounds: int, seconds: float
) -> dict[str, list[float]]:
    """Measure frames per second of each way in turns.

    The iterators stay open; what they have prefetched meanwhile is dropped before each turn.
    """
    rates: dict[str, list[float]] = {name: [] for name in batches}
    with Progress("read", rounds * len(batches), "turns") as progress:
        for _, (name, iterator) in itertools.product(range(rounds), batches.items()):
            for _ in range(8):
                next(iterator)
            count, start = 0, time.perf_counter()
            while time.perf_counter() - start < seconds:
                next(iterator)
                count += BATCH
            rates[name].append(count / (time.perf_counter() - start))
            progress.update(1)
    return rates


def speed_table(rates: dict[str, list[float]]) -> list[str]:
    """Return the lines of a Markdown table; the first way is the limit."""
    limit = next(iter(rates.values()))
    rows = [
        [name, f"{statistics.median(found):,.0f}", f"{median_ratio(found, limit):.2f}"]
        for name, found in rates.items()
    ]
    return table(["way", "frames/s, median", "ratio to the limit"], rows)


def jump_table(records: Path, card: FilmCard) -> list[str]:
    """Return the cost of resuming in the middle of pass 3 of the streamed set."""
    from tfrecords.mixture import FilmPart
    from tfrecords.reader import mixed_frames

    part = FilmPart(records, card)
    total = sum(shard.bytes for shard in card.shards)
    rows = []
    for name, passes in (("from the start", 0.0), ("in the middle of pass 3", 2.5)):
        first = int(passes * card.frames / BATCH)
        start, before = time.perf_counter(), bytes_read()
        dataset = mixed_frames([part], batch_size=BATCH, seed=0, in_memory=False, first_batch=first)
        found = bytes_read() - before
        next(iter(dataset))
        seconds = time.perf_counter() - start
        rows.append(
            [name, f"{seconds:.2f}", f"{found / 2**20:.2f}", f"{passes * total / 2**20:,.0f}"]
        )
    heads = ["going on in a streamed set", "seconds to the first batch",
             "MiB read to find the place", "MiB skipped"]  # fmt: skip
    return table(heads, rows)


def bytes_read() -> int:
    """Return the bytes that this process has read from files so far; 0 except on Linux."""
    counters = Path("/proc/self/io")
    if not counters.exists():
        return 0
    return int(counters.read_text().split()[1])


def main() -> None:
    values = flags.FLAGS
    records = Path(values.data)
    card = load_card(records)
    rounds, seconds, count = (2, 0.3, 64) if values.quick else (values.rounds, 1.5, 2000)
    with tempfile.TemporaryDirectory() as folder:
        pngs = write_pngs(records, card, Path(folder), count)
        batches = {name: way() for name, way in ways(records, card, pngs).items()}
        rates = measure(batches, rounds, seconds)
    lines = [
        f"{card.frames:,} frames of {card.height}x{card.width}, {card.encoding['format']}; batches "
        f"of {BATCH}, {rounds} rounds, {os.cpu_count()} cores.",
        "",
        *speed_table(rates),
        "",
        *jump_table(records, card),
    ]
    publish("\n".join(lines), values.output)


def cli() -> None:
    flags.DEFINE_string("data", None, "Folder of a film's records (DATA/<film>).", required=True)
    flags.DEFINE_integer("rounds", 9, "How often each way has its turn.", lower_bound=1)
    flags.DEFINE_bool("quick", False, "Two short rounds: shows that it works, measures little.")
    flags.DEFINE_string("output", None, "File for the tables, in Markdown.")
    run_command(main)


if __name__ == "__main__":
    cli()
