"""The card of a film, film.json. Written last and by rename, it marks records as complete."""

from __future__ import annotations

import json
import os
from dataclasses import MISSING, asdict, dataclass, fields
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

from tfrecords import storage
from tfrecords.framing import read_records
from tfrecords.record_errors import DamagedError, RecordsError
from tfrecords.shards import is_shard_name
from tfrecords.wording import counted

SCHEMA_VERSION = 1
CARD_NAME = "film.json"
_LARGEST = 2**63


@dataclass(frozen=True)
class Shard:
    """One file of consecutive records; `first_frame` is the film's number of the first, from 0."""

    name: str
    frames: int
    first_frame: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class FilmCard:
    """The content of film.json.

    Attributes:
        source: of the film that was read: name, sha256, bytes, mtime_ns, kind ("film" or "images").
        film_id: first 16 hex digits of the source's SHA-256; every record carries it.
        frame_rate: frames per second; the average if frames differ in duration (`variable_rate`).
        time_base: seconds in one unit of `first_pts`, `last_pts` and `end_pts`.
        streams: one entry per stream of the source.
        geometry: placement of the source's picture in the records'.
        height, width: of the record pictures; their format, quality and subsampling are `encoding`.
        options: every option of the conversion that decides the bytes.
        shot_starts: first frame of each shot, ascending from 0.
        notes: sentences for people, such as that the source ended early.
        end_pts: end of the last frame; None if the film does not say, and on older cards.
    """

    schema_version: int
    tool_version: str
    source: dict[str, Any]
    film_id: str
    frames: int
    frame_rate: Fraction
    time_base: Fraction
    first_pts: int
    last_pts: int
    variable_rate: bool
    streams: list[dict[str, Any]]
    colour: dict[str, Any]
    geometry: dict[str, Any]
    height: int
    width: int
    encoding: dict[str, Any]
    options: dict[str, Any]
    shot_starts: list[int]
    shards: list[Shard]
    notes: list[str]
    end_pts: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the card as JSON values; fractions become text such as "24000/1001"."""
        values = asdict(self)
        for name in ("frame_rate", "time_base"):
            values[name] = str(values[name])
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> FilmCard:
        """Return the card with these JSON values; unknown keys are ignored.

        Raises:
            ValueError: names the key that is missing or of the wrong type, or the shards that do
                not add up.
        """
        known: dict[str, Any] = {}
        for field in fields(cls):
            if field.default is not MISSING and values.get(field.name) is None:
                continue
            if field.name not in values:
                raise ValueError(f"'{field.name}' is missing")
            value = values[field.name]
            wanted = _json_type(str(field.type))
            if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
                raise ValueError(f"'{field.name}' is {value!r}, not of type {wanted.__name__}")
            known[field.name] = value
        try:
            for name in ("frame_rate", "time_base"):
                known[name] = Fraction(known[name])
            known["shards"] = [_shard(values) for values in known["shards"]]
            _check_items("shot_starts", known["shot_starts"], int)
            _check_items("streams", known["streams"], dict)
            _check_items("notes", known["notes"], str)
            _check_items("source: name", [known["source"]["name"]], str)
            card = cls(**known)
            card._check_consistency()
        except (KeyError, TypeError, ArithmeticError) as error:
            raise ValueError(f"a shard, a shot or a fraction is malformed ({error!r})") from error
        return card

    def _check_consistency(self) -> None:
        numbers = (self.frames, self.height, self.width, self.frame_rate, self.time_base)
        if not all(0 < number < _LARGEST for number in numbers):
            raise ValueError("frames, height, width, frame rate or time base is out of range")
        if not all(abs(pts) < _LARGEST for pts in (self.first_pts, self.last_pts)):
            raise ValueError("a time is out of range")
        next_frame = 0
        for shard in self.shards:
            if shard.first_frame != next_frame or shard.frames < 1:
                raise ValueError(f"'shards': {shard.name} does not follow its predecessor")
            next_frame += shard.frames
        if next_frame != self.frames:
            raise ValueError(f"'shards' hold {next_frame} frames but 'frames' is {self.frames}")
        ascending = all(start < end for start, end in pairwise([*self.shot_starts, self.frames]))
        if self.shot_starts[:1] != [0] or not ascending:
            raise ValueError("'shot_starts' do not ascend from 0 to the last frame")

    def shots(self) -> list[tuple[int, int]]:
        """Return each shot as (first frame, frame after its last), in film order."""
        return list(pairwise([*self.shot_starts, self.frames]))


def _shard(values: dict[str, Any]) -> Shard:
    for field in fields(Shard):
        wanted = _json_type(str(field.type))
        _check_items(f"shards: {field.name}", [values[field.name]], wanted)
    shard = Shard(**{field.name: values[field.name] for field in fields(Shard)})
    if not is_shard_name(shard.name):  # or a path that leads out of the folder
        raise ValueError(f"'shards': {shard.name!r} is no name of a shard")
    if not 0 <= shard.bytes < _LARGEST:
        raise ValueError(f"'shards': {shard.name} has an impossible size")
    return shard


def _check_items(name: str, items: list[Any], wanted: type) -> None:
    for item in items:
        if not isinstance(item, wanted) or (wanted is int and isinstance(item, bool)):
            raise TypeError(f"'{name}' holds {str(item)[:40]}, not of type {wanted.__name__}")


def _json_type(annotation: str) -> type:
    name = annotation.split("[")[0].removesuffix(" | None")
    return {"int": int, "bool": bool, "str": str, "Fraction": str, "dict": dict, "list": list}[name]


def load_card(directory: storage.AnyPath) -> FilmCard:
    """Read the card of a folder of records, local or remote.

    Raises:
        RecordsError: the folder or its card is missing, or the card is damaged or of a newer
            version.
    """
    path = storage.join(directory, CARD_NAME)
    try:
        text = storage.read_bytes(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _missing_card(directory) from error
    try:
        values = json.loads(text)
        if not isinstance(values, dict):
            raise ValueError("it is not a JSON object")
        version = values.get("schema_version")
        # Checked first: what a newer card lacks or adds is no damage.
        if isinstance(version, int) and version > SCHEMA_VERSION:
            raise RecordsError(
                f"{path}: has schema version {version} but this program reads up to "
                f"{SCHEMA_VERSION}; update bladerunner_ae"
            )
        return FilmCard.from_json(values)
    # JSON and Unicode errors are ValueErrors too.
    except (ValueError, ArithmeticError, RecursionError) as error:
        fix = "run make_tfrecords again with --overwrite"
        raise DamagedError(path, f"is damaged ({error})", fix) from error


def _missing_card(directory: storage.AnyPath) -> RecordsError:
    if storage.is_file(directory):
        return RecordsError(f"{directory}: is a file; give the folder of a film's records")
    if not storage.is_directory(directory):
        return RecordsError(
            f"{directory}: there is no such folder; make it with tools/make_tfrecords.py"
        )
    if not storage.is_remote(directory):
        cards = sorted(Path(directory).glob(f"*/{CARD_NAME}"))
        if cards:
            return RecordsError(
                f"{directory}: holds folders of records, not records; give one of them, such as "
                f"{cards[0].parent}"
            )
    return DamagedError(
        directory,
        f"has no {CARD_NAME}, the card without which its records mean nothing",
        "put it back or run make_tfrecords again with --overwrite",
    )


def is_record_file(name: str) -> bool:
    """Return whether conversions write files of this name into a folder of records."""
    return name == CARD_NAME or name.startswith(f".{CARD_NAME}.") or is_shard_name(name)


def save_card(directory: storage.AnyPath, card: FilmCard) -> None:
    """Write the card into a local folder, complete or not at all."""
    path = Path(directory) / CARD_NAME
    temporary = path.with_name(f".{CARD_NAME}.{os.getpid()}")
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(card.to_json(), file, indent=2, ensure_ascii=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())  # or a power cut could leave the name without the content
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def check_shards(directory: storage.AnyPath, card: FilmCard) -> None:
    """Check, without reading records, that a folder holds the card's shards and no others.

    Raises:
        RecordsError: names the first shard that is missing or of the wrong size, and the record at
            which a short one breaks.
    """
    sizes = storage.file_sizes(directory)
    for shard in card.shards:
        path = storage.join(directory, shard.name)
        size = sizes.get(shard.name)
        if size is None:
            frames = f"frames {shard.first_frame} to {shard.first_frame + shard.frames - 1}"
            raise DamagedError(path, f"shard is missing ({frames})")
        if size != shard.bytes:
            records = sum(1 for _ in read_records(path))  # names the record that is cut, if one is
            raise DamagedError(
                path,
                f"holds {counted(records, 'record')} in {size} bytes but {CARD_NAME} says "
                f"{shard.frames} in {shard.bytes}",
            )
    known = {shard.name for shard in card.shards}
    for name in sorted(sizes):
        if is_shard_name(name) and name not in known:
            raise DamagedError(
                storage.join(directory, name),
                f"is no shard of this film, {CARD_NAME} lacks it",
                "remove it, or run make_tfrecords again with --overwrite if records were mixed up",
            )
