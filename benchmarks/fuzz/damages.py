"""Records of a small film, and the ways to damage them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bladerunner_ae.inspection.verify_shards import decode_picture
from tests.helpers.small_records import FILM_ID, PTS_STEP, card_maker, encode
from tests.helpers.synthetic_film import film_pictures
from tfrecords.card import CARD_NAME
from tfrecords.framing import frame_record, read_records
from tfrecords.schema import Frame
from tfrecords.writer import FilmWriter

FRAMES, SHARDS, HEIGHT, WIDTH = 40, 4, 48, 64
OTHER_FILM = "fedcba9876543210"

Pictures = dict[int, NDArray[np.uint8]]


def write_film(folder: Path, film_id: str = FILM_ID, seed: int = 0) -> Pictures:
    """Write a film; two of different identity and equal seed have files of equal size."""
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
    """Exchange two shards and make the card agree in size, so that only the contents differ."""
    paths = sorted(folder.glob("*.tfrecord"))
    first, second = (paths[place] for place in random.choice(SHARDS, 2, replace=False))
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(one)
    _edit_sizes(folder)


def _exchange_records(folder: Path, random: np.random.Generator) -> None:
    """Exchange two whole records of one shard: every checksum but the shard's holds."""
    path = _some_shard(folder, random)
    records = list(read_records(path))
    first, second = random.choice(len(records), 2, replace=False)
    records[first], records[second] = records[second], records[first]
    path.write_bytes(b"".join(map(frame_record, records)))


def _double_record(folder: Path, random: np.random.Generator) -> None:
    """Put a record in the place of its neighbour; the card agrees in size."""
    path = _some_shard(folder, random)
    records = list(read_records(path))
    place = random.integers(1, len(records))
    records[place] = records[place - 1]
    path.write_bytes(b"".join(map(frame_record, records)))
    _edit_sizes(folder)


def _foreign_shard(folder: Path, random: np.random.Generator) -> None:
    """Put another film's shard in; the frames have the right numbers."""
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
    """Change one value of the card that matters to readers."""

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
