"""Which frames a run learnt from: the film, and how its records were made of it.

A film's records may be made in many ways: a part of it, cropped, of another quality. The film's
digest is the same for all of them, so a run writes down what tells them apart. Where the records
lie, and in how many shards, does not.
"""

import hashlib
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from bladerunner_ae.conversion.options import ConversionOptions, changed_option
from tfrecords.card import FilmCard

# What the same number of bytes in all, of frames of the same moments, makes certain enough.
_DECIDING = ("pts", "time_base", "encoding", "geometry", "bytes")
CONVERSION_KEYS = frozenset({*_DECIDING, "shards", "sha256", "options"})
"""What is said of every conversion."""


def film_identity(card: FilmCard) -> dict[str, Any]:
    """Returns what is remembered of a film and of its conversion, as JSON values.

    Returns:
        {"name", "film_id", "frames", "conversion": {"shards": how many, "sha256": of all shards'
        checksums, "bytes": of all shards, "pts": [first, last], "time_base", "geometry",
        "encoding", "options"}}.
    """
    sums = "".join(f"{shard.frames} {shard.sha256}\n" for shard in card.shards)
    return {
        "name": card.source["name"],
        "film_id": card.film_id,
        "frames": card.frames,
        "conversion": {
            "shards": len(card.shards),
            "sha256": hashlib.sha256(sums.encode()).hexdigest(),
            "bytes": sum(shard.bytes for shard in card.shards),
            "pts": [card.first_pts, card.last_pts],
            "time_base": str(card.time_base),
            "geometry": card.geometry,
            "encoding": card.encoding,
            "options": {k: v for k, v in card.options.items() if k != "num_shards"},
        },
    }


def held_out_frames(film: Mapping[str, Any]) -> int:
    """How many frames of a film, as a run's configuration tells of it, training never sees."""
    return sum(end - start for start, end in film.get("held_out", []))


def conversion_differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """In which points the records of a film differ from `theirs`, earlier ones of that film.

    Records of equally many shards are the same if their checksums are. Of other numbers of shards
    no checksum can be compared; a record has the same length in any shard, so they are the same if
    they have as many bytes, and times, geometry and encoding are alike.

    Args:
        ours, theirs: of `film_identity`; what was written by an early version has no conversion,
            and is told apart by its number of frames alone.

    Returns:
        Such as ["--quality: 95 -> 50"]; nothing if frames are the same, however asked for.
    """
    frames = _changed("frames", theirs.get("frames"), ours.get("frames"))
    now, before = ours.get("conversion"), theirs.get("conversion")
    if not now or not before:
        return frames
    if not frames and now["sha256"] == before["sha256"]:
        return []
    facts = [line for name in _DECIDING for line in _changed(name, before[name], now[name])]
    if not frames and not facts and now["shards"] != before["shards"]:
        return []
    left_out = ConversionOptions().to_json("images")
    options = [{**left_out, **conversion["options"]} for conversion in (before, now)]
    changed = [
        changed_option(name, options[0].get(name), value)
        for name, value in options[1].items()
        if value != options[0].get(name)
    ]
    return changed or [*frames, *facts] or ["checksums of the shards"]


def _changed(name: str, before: Any, now: Any) -> list[str]:
    return [] if before == now else [f"{name}: {before} -> {now}"]


def division_differences(
    ours: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]]
) -> list[str]:
    """In which films the number of shards differs, which decides the order of streamed frames.

    Args:
        ours, theirs: of `film_identity`, the same films in the same order.
    """
    pairs = [
        (our, their.get("conversion"), our.get("conversion"))
        for our, their in zip(ours, theirs, strict=True)
    ]
    return [
        f"shards of {our['name']}: {before['shards']} -> {now['shards']}"
        for our, before, now in pairs
        if before and now and before["shards"] != now["shards"]
    ]


def same_moments(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool | None:
    """Whether records of one film hold its same moments, frame by frame.

    Args:
        ours, theirs: of `film_identity`.

    Returns:
        None if some moments are in both and some are not, so that frames do not correspond; False
        if none is in both.
    """
    now, before = ours.get("conversion"), theirs.get("conversion")
    if not now or not before:
        return ours["frames"] == theirs["frames"]
    (first, last), (begin, end) = _seconds(now), _seconds(before)
    if (ours["frames"], first, last) == (theirs["frames"], begin, end):
        return True
    return False if last < begin or end < first else None


def _seconds(conversion: Mapping[str, Any]) -> tuple[Fraction, Fraction]:
    first, last = conversion["pts"]
    return first * Fraction(conversion["time_base"]), last * Fraction(conversion["time_base"])
