"""The films that a run learns from, and how their records were made.

The records of a film may be made in many ways: a part of it, cropped, at another quality, all with
the film's one digest. So a run records what tells them apart, which is neither their place nor the
number of their shards.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from bladerunner_ae.conversion.options import ConversionOptions, changed_option
from bladerunner_ae.errors import InputError
from bladerunner_ae.runs.fields import from_json, to_json
from tfrecords.card import FilmCard

# Together with the same total of bytes, frames of the same times make a difference unlikely enough.
_DECIDING = ("pts", "time_base", "encoding", "geometry", "bytes")


@dataclass(frozen=True)
class Conversion:
    """Properties of a film's records that tell them from other records of the same film.

    Attributes:
        sha256: of the checksums of all shards.
        bytes: of all shards.
        pts: of the first and the last frame, in units of `time_base`.
        time_base: fraction of a second, such as "1/24".
        geometry, encoding, options: see `FilmCard`; without the number of shards.
    """

    shards: int
    sha256: str
    bytes: int
    pts: tuple[int, int]
    time_base: str
    geometry: dict[str, Any]
    encoding: dict[str, Any]
    options: dict[str, Any]

    def __post_init__(self) -> None:
        Fraction(self.time_base)

    def seconds(self) -> tuple[Fraction, Fraction]:
        """Return the times of the first and the last frame."""
        first, last = self.pts
        return first * Fraction(self.time_base), last * Fraction(self.time_base)


@dataclass(frozen=True)
class FilmUse:
    """One film of a run.

    Attributes:
        film_id: digest of the film.
        conversion: None if unknown; records are then told apart by their number of frames alone.
        weight: how often its frames are seen, relative to those of the other films.
        held_out: (first frame, frame after the last) of each run of frames kept from training.
    """

    name: str
    film_id: str
    frames: int
    conversion: Conversion | None = None
    weight: float = 1.0
    held_out: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if not all(0 < number < 2**53 for number in (self.frames, self.weight)):
            raise ValueError(f"frames or weight of {self.name} are out of range")
        if not all(0 <= first <= end <= self.frames for first, end in self.held_out):
            raise ValueError(f"frames held out are not of {self.name}")

    @classmethod
    def of(
        cls, card: FilmCard, weight: float = 1.0, held_out: Sequence[tuple[int, int]] = ()
    ) -> "FilmUse":
        """Return the use of the film that has this card."""
        sums = "".join(f"{shard.frames} {shard.sha256}\n" for shard in card.shards)
        conversion = Conversion(
            shards=len(card.shards),
            sha256=hashlib.sha256(sums.encode()).hexdigest(),
            bytes=sum(shard.bytes for shard in card.shards),
            pts=(card.first_pts, card.last_pts),
            time_base=str(card.time_base),
            geometry=card.geometry,
            encoding=card.encoding,
            options={k: v for k, v in card.options.items() if k != "num_shards"},
        )
        name, digest, frames = card.source["name"], card.film_id, card.frames
        return cls(name, digest, frames, conversion, weight, tuple(held_out))

    def identity(self) -> dict[str, Any]:
        """Return the film and its conversion as JSON values, without the use made of it."""
        return {k: v for k, v in to_json(self).items() if k not in ("weight", "held_out")}

    @property
    def held_out_frames(self) -> int:
        """Number of frames kept from training."""
        return sum(end - start for start, end in self.held_out)


def films_of(card: Mapping[str, Any]) -> tuple[FilmUse, ...]:
    """Return the films of a model card or of a run's configuration in JSON.

    ValueError or TypeError if they are damaged, or of another version.
    """
    try:
        return tuple(from_json(FilmUse, film) for film in card.get("films", ()))
    except InputError as error:
        raise ValueError(str(error)) from None


def conversion_differences(ours: FilmUse, theirs: FilmUse) -> list[str]:
    """List how records differ from `theirs`: ["--quality: 95 -> 50"]; empty for the same frames.

    Records in equally many shards are the same if their checksums are. Otherwise no checksum can be
    compared; a record has the same length in any shard, so they are the same if they have as many
    bytes, and times, geometry and encoding are equal.
    """
    frames = _changed("frames", theirs.frames, ours.frames)
    now, before = ours.conversion, theirs.conversion
    if not now or not before:
        return frames
    if not frames and now.sha256 == before.sha256:
        return []
    facts = [
        line
        for name in _DECIDING
        for line in _changed(name, getattr(before, name), getattr(now, name))
    ]
    if not frames and not facts and now.shards != before.shards:
        return []
    defaults = ConversionOptions().to_json("images")
    old, new = ({**defaults, **conversion.options} for conversion in (before, now))
    changed = [
        changed_option(name, old.get(name), value)
        for name, value in new.items()
        if value != old.get(name)
    ]
    return changed or [*frames, *facts] or ["checksums of the shards"]


def _changed(name: str, before: Any, now: Any) -> list[str]:
    return [] if before == now else [f"{name}: {before} -> {now}"]


def division_differences(ours: Sequence[FilmUse], theirs: Sequence[FilmUse]) -> list[str]:
    """List the films whose number of shards differs, which decides the order of streamed frames."""
    return [
        f"shards of {our.name}: {their.conversion.shards} -> {our.conversion.shards}"
        for our, their in zip(ours, theirs, strict=True)
        if our.conversion and their.conversion
        if our.conversion.shards != their.conversion.shards
    ]


def same_moments(ours: FilmUse, theirs: FilmUse) -> bool | None:
    """Return whether two sets of records of one film hold the same moments, frame by frame.

    None if some moments are in both and some are not, so that frames do not correspond; False if
    none is in both.
    """
    if not ours.conversion or not theirs.conversion:
        return ours.frames == theirs.frames
    (first, last), (begin, end) = ours.conversion.seconds(), theirs.conversion.seconds()
    if (ours.frames, first, last) == (theirs.frames, begin, end):
        return True
    return False if last < begin or end < first else None
