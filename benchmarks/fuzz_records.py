"""Damaged records: how they are made, and what each reader says of them.

A reader must refuse damaged records with one line that names the folder, or give every frame as it
is. What must never happen: a traceback, or a wrong picture under the number of another.
"""

import faulthandler
import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bladerunner_ae.errors import BladerunnerError
from bladerunner_ae.inspection import inspect_film
from bladerunner_ae.verification import decode_picture, verify
from tests.small_records import FILM_ID, PTS_STEP, card_maker, encode
from tests.synthetic_film import film_pictures
from tfrecords.card import CARD_NAME
from tfrecords.errors import RecordsError
from tfrecords.framing import frame_record, read_records
from tfrecords.schema import Frame, parse
from tfrecords.writer import FilmWriter

FRAMES, SHARDS, HEIGHT, WIDTH = 40, 4, 48, 64
OTHER_FILM = "fedcba9876543210"
_LIMIT_SECONDS = 300

NAMED = "refused, shard or card named"
REFUSED = "refused, folder named"
HARMLESS = "every frame right"
SILENT = "FAILED: wrong frames"
BROKEN = "FAILED: other error"
CLASSES = (NAMED, REFUSED, HARMLESS, SILENT, BROKEN)

Pictures = dict[int, NDArray[np.uint8]]


@dataclass(frozen=True)
class Found:
    """What one reader said of one damaged folder."""

    damage: str
    reader: str
    number: int
    kind: str
    detail: str

    @property
    def failed(self) -> bool:
        """Whether this must not be."""
        return self.kind in (SILENT, BROKEN)

    def __str__(self) -> str:
        return f"{self.damage} {self.number}, {self.reader}: {self.kind}: {self.detail}"


def write_film(folder: Path, film_id: str = FILM_ID, seed: int = 0) -> Pictures:
    """Writes a film; two of different identity and equal seed have files of equal size."""
    pictures: Pictures = {}
    with FilmWriter(folder, FRAMES, SHARDS) as writer:
        for index, picture in enumerate(film_pictures(FRAMES, HEIGHT, WIDTH, seed=seed)):
            data = encode(picture)
            frame = Frame(data, "jpeg", HEIGHT, WIDTH, index, PTS_STEP * index - 5, film_id)
            pictures[index] = decode_picture(frame)
            writer.write(frame)
        writer.commit(card_maker(HEIGHT, WIDTH), overwrite=False)
    return pictures


def _some_shard(folder: Path, random: np.random.Generator) -> Path:
    return sorted(folder.glob("*.tfrecord"))[random.integers(0, SHARDS)]


def _flip(folder: Path, random: np.random.Generator) -> None:
    path = _some_shard(folder, random)
    data = np.fromfile(path, np.uint8)
    places = random.integers(0, len(data), random.integers(1, 21))
    data[places] ^= random.integers(1, 256, len(places), np.uint8)
    data.tofile(path)


def _hole(folder: Path, random: np.random.Generator) -> None:
    path = _some_shard(folder, random)
    data = np.fromfile(path, np.uint8)
    start = random.integers(0, len(data))
    data[start : start + random.integers(16, 4096)] = 0
    data.tofile(path)


def _cut(folder: Path, random: np.random.Generator) -> None:
    path = _some_shard(folder, random)
    data = path.read_bytes()
    path.write_bytes(data[: random.integers(0, len(data))])


def _append(folder: Path, random: np.random.Generator) -> None:
    with _some_shard(folder, random).open("ab") as file:
        file.write(random.bytes(random.integers(1, 500)))


def _remove(folder: Path, random: np.random.Generator) -> None:
    _some_shard(folder, random).unlink()


def _exchange_shards(folder: Path, random: np.random.Generator) -> None:
    """Exchanges two shards and makes the card agree in size, so that only contents tell."""
    paths = sorted(folder.glob("*.tfrecord"))
    first, second = (paths[place] for place in random.choice(SHARDS, 2, replace=False))
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(one)
    _edit_sizes(folder)


def _exchange_records(folder: Path, random: np.random.Generator) -> None:
    """Exchanges two whole records of one shard: every checksum but the shard's holds."""
    path = _some_shard(folder, random)
    records = list(read_records(path))
    first, second = random.choice(len(records), 2, replace=False)
    records[first], records[second] = records[second], records[first]
    path.write_bytes(b"".join(map(frame_record, records)))


def _double_record(folder: Path, random: np.random.Generator) -> None:
    """Puts a record in the place of its neighbour; the card agrees in size."""
    path = _some_shard(folder, random)
    records = list(read_records(path))
    place = random.integers(1, len(records))
    records[place] = records[place - 1]
    path.write_bytes(b"".join(map(frame_record, records)))
    _edit_sizes(folder)


def _foreign_shard(folder: Path, random: np.random.Generator) -> None:
    """Puts another film's shard in; the frames have the right numbers."""
    name = _some_shard(folder, random).name
    shutil.copy(folder.with_name("foreign") / name, folder / name)
    _edit_sizes(folder)


def _edit_sizes(folder: Path) -> None:
    def edit(card: dict[str, Any]) -> None:
        for shard in card["shards"]:
            shard["bytes"] = (folder / shard["name"]).stat().st_size

    _edit(folder, edit)


def _edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / CARD_NAME
    card = json.loads(path.read_text("utf-8"))
    change(card)
    path.write_text(json.dumps(card), "utf-8")


def _edit_card(folder: Path, random: np.random.Generator) -> None:
    """Changes one value of the card that matters to readers."""

    def reverse(card: dict[str, Any]) -> None:
        names = [shard["name"] for shard in card["shards"]]
        for shard, name in zip(card["shards"], names[::-1], strict=True):
            shard["name"] = name
            shard["bytes"] = (folder / name).stat().st_size

    changes: list[Callable[[dict[str, Any]], None]] = [
        lambda card: card.update(height=HEIGHT + 1),
        lambda card: card.update(width="64"),
        lambda card: card.update(film_id=OTHER_FILM),
        lambda card: card.update(frames=FRAMES + 1),
        lambda card: card["shards"].pop(),
        lambda card: card["shards"][1].update(frames=9),
        lambda card: card["shards"][0].update(bytes=1),
        lambda card: card["shards"][2].update(name="frames-00001-of-00004.tfrecord"),
        lambda card: card.pop("time_base"),
        lambda card: card.update(shot_starts=[5]),
        lambda card: card.update(frame_rate="24/0"),
        lambda card: card.update(schema_version=99),
        reverse,
    ]
    _edit(folder, changes[random.integers(0, len(changes))])


def _spoil_card(folder: Path, random: np.random.Generator) -> None:
    """Flips, cuts or empties the card's own bytes."""
    path = folder / CARD_NAME
    data = bytearray(path.read_bytes())
    if random.integers(0, 3) == 0:
        data = data[: random.integers(0, len(data))]
    else:
        # A letter, so that the text may stay JSON and mean something else.
        for place in random.integers(0, len(data), random.integers(1, 6)):
            data[place] = random.integers(32, 127)
    path.write_bytes(data)


DAMAGES: dict[str, Callable[[Path, np.random.Generator], None]] = {
    "bytes flipped": _flip,
    "hole of zeros": _hole,
    "cut": _cut,
    "garbage behind": _append,
    "shard missing": _remove,
    "shards exchanged": _exchange_shards,
    "records exchanged": _exchange_records,
    "record twice": _double_record,
    "shard of another film": _foreign_shard,
    "card edited": _edit_card,
    "card spoilt": _spoil_card,
}


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
    from bladerunner_ae.data import read_images
    from tfrecords.card import check_shards, load_card

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
    """(class, detail) of what a reader made of a folder."""
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
    except (RecordsError, BladerunnerError) as error:
        return _judge_message(str(error), folder)
    except AssertionError as error:
        return SILENT, str(error)
    except Exception as error:
        return BROKEN, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    if sorted(found) != sorted(truth):
        return SILENT, f"{len(found)} frames, of {len(truth)}"
    wrong = [index for index in truth if np.abs(found[index].astype(int) - truth[index]).max() > 40]
    return (SILENT, f"other pictures: frames {wrong[:5]}") if wrong else (HARMLESS, "")


def _judge_message(message: str, folder: Path) -> tuple[str, str]:
    if "\n" in message or str(folder) not in message or "every record is whole when" in message:
        return BROKEN, f"message: {message!r}"
    named = ".tfrecord" in message or CARD_NAME in message
    return NAMED if named else REFUSED, message.replace(str(folder), "")


def attack(scratch: Path, rounds: int, seed: int) -> list[Found]:
    """Damages a film in each way `rounds` times and gives it to every reader.

    Args:
        scratch: a folder that does not exist yet.
        rounds: how often.
        seed: other seed, other places.
    """
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
    """Markdown: how each reader took each kind of damage, by class."""
    lines = [f"| damage | {' | '.join(READERS)} |", f"|---|{'---|' * len(READERS)}"]
    count = Counter((one.damage, one.reader, one.kind) for one in results)
    for damage in dict.fromkeys(one.damage for one in results):
        cells = [
            ", ".join(
                f"{count[damage, reader, kind]} {kind}"
                for kind in CLASSES
                if count[damage, reader, kind]
            )
            for reader in READERS
        ]
        lines.append(f"| {damage} | {' | '.join(cells)} |")
    return lines
