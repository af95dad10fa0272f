"""Damaged records and each reader's answer.

A reader must refuse damaged records with one line that names the folder, or give every frame
unchanged: never a traceback, or a wrong picture under the number of another.
"""

import faulthandler
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import markdown
from benchmarks.fuzz.damages import DAMAGES, FRAMES, OTHER_FILM, Pictures, write_film
from bladerunner_ae.errors import BladerunnerError
from bladerunner_ae.inspection.inspect_folder import inspect_film
from bladerunner_ae.inspection.verify_shards import decode_picture, verify
from tfrecords.card import CARD_NAME
from tfrecords.framing import read_records
from tfrecords.record_errors import RecordsError, UnexplainedLossError
from tfrecords.schema import parse

_LIMIT_SECONDS = 300

NAMED = "refused, shard or card named"
REFUSED = "refused, folder named"
HARMLESS = "every frame right"
SILENT = "FAILED: wrong frames"
BROKEN = "FAILED: other error"
CLASSES = (NAMED, REFUSED, HARMLESS, SILENT, BROKEN)


@dataclass(frozen=True)
class Found:
    """The answer of one reader about one damaged folder."""

    damage: str
    reader: str
    number: int
    kind: str
    detail: str

    @property
    def failed(self) -> bool:
        return self.kind in (SILENT, BROKEN)

    def __str__(self) -> str:
        return f"{self.damage} {self.number}, {self.reader}: {self.kind}: {self.detail}"


def _in_film_order(folder: Path) -> Pictures:
    from tfrecords.reader import film_frames

    found: Pictures = {}
    for number, batch in enumerate(film_frames(folder, batch_size=8)):
        indices = batch["index"].numpy().tolist()
        if indices != list(range(8 * number, 8 * number + len(indices))):
            raise AssertionError(f"frames {indices} in batch {number}")
        found |= dict(zip(indices, batch["image"].numpy(), strict=True))
    return found


def _training(folder: Path, **options: Any) -> Pictures:
    from tfrecords.reader import training_frames

    found: Pictures = {}
    for batch in training_frames(folder, batch_size=8, seed=1, **options).take(FRAMES // 8):
        indices = batch["index"].numpy().tolist()
        if len(found.keys() | indices) != len(found) + len(indices):
            raise AssertionError("a frame came twice in one epoch")
        found |= dict(zip(indices, batch["image"].numpy(), strict=True))
    return found


def _streamed(folder: Path) -> Pictures:
    return _training(folder, memory_limit=0, shuffle_buffer=16)


def _single_frames(folder: Path) -> Pictures:
    from tfrecords.card import check_shards, load_card
    from tfrecords.frames import read_images

    card = load_card(folder)
    check_shards(folder, card)
    return dict(enumerate(read_images(folder, card, range(card.frames))))


def _verified(folder: Path) -> Pictures:
    found = inspect_film(folder)
    verify(found, threads=2)
    if found.damages:
        raise RecordsError(f"{folder}: {found.damages[0]}")
    paths = [folder / row.shard.name for row in found.rows]
    frames = (parse(record) for path in paths for record in read_records(path))
    return {frame.index: decode_picture(frame) for frame in frames}


READERS: dict[str, Callable[[Path], Pictures]] = {
    "film order": _in_film_order,
    "training, in memory": _training,
    "training, streamed": _streamed,
    "single frames": _single_frames,
    "inspect --verify": _verified,
}


def read(reader: Callable[[Path], Pictures], folder: Path, truth: Pictures) -> tuple[str, str]:
    """Return (class, detail) of a reader's answer about a folder."""
    import tensorflow as tf

    from tfrecords.card import load_card
    from tfrecords.reader import find_damage

    try:
        try:
            found = reader(folder)
        except (tf.errors.DataLossError, tf.errors.InvalidArgumentError):
            # As training and evaluation do.
            if error := find_damage(folder, load_card(folder)):
                raise error from None
            raise
    except BladerunnerError as error:
        return judge_error(error, folder)
    except AssertionError as error:
        return SILENT, str(error)
    except Exception as error:
        return BROKEN, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    if sorted(found) != sorted(truth):
        return SILENT, f"{len(found)} frames, of {len(truth)}"
    wrong = [index for index in truth if np.abs(found[index].astype(int) - truth[index]).max() > 40]
    return (SILENT, f"other pictures: frames {wrong[:5]}") if wrong else (HARMLESS, "")


def judge_error(error: BladerunnerError, folder: Path) -> tuple[str, str]:
    """Return (class, detail) of a refusal; one that finds no cause is no answer to damage."""
    message = str(error)
    unexplained = isinstance(error, UnexplainedLossError)
    if "\n" in message or str(folder) not in message or unexplained:
        return BROKEN, f"message: {message!r}"
    named = ".tfrecord" in message or CARD_NAME in message
    return NAMED if named else REFUSED, message.replace(str(folder), "")


def attack(scratch: Path, rounds: int, seed: int) -> list[Found]:
    """Damage a film in each way `rounds` times, in a new folder, and give it to every reader."""
    truth = write_film(scratch / "whole")
    write_film(scratch / "foreign", OTHER_FILM, seed=1)
    results = [
        Found("none", name, 0, *read(reader, scratch / "whole", truth))
        for name, reader in READERS.items()
    ]
    for kind, (damage, function) in enumerate(DAMAGES.items()):
        for number in range(rounds):
            folder = scratch / "film"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(scratch / "whole", folder)
            function(folder, np.random.default_rng([seed, kind, number]))
            for name, reader in READERS.items():
                # A reader that hangs inside TensorFlow can only be shown and ended.
                faulthandler.dump_traceback_later(_LIMIT_SECONDS, exit=True)
                results.append(Found(damage, name, number, *read(reader, folder, truth)))
                faulthandler.cancel_dump_traceback_later()
    return results


def table(results: list[Found]) -> list[str]:
    """Return the classes of each reader's answers to each kind of damage, as a table."""
    count = Counter((one.damage, one.reader, one.kind) for one in results)
    rows = [
        [damage, *(
            ", ".join(f"{n} {kind}" for kind in CLASSES if (n := count[damage, reader, kind]))
            for reader in READERS
        )]
        for damage in dict.fromkeys(one.damage for one in results)
    ]  # fmt: skip
    return markdown.table(["damage", *READERS], rows)
