"""Order of a film's images, found from all of their names together.

A name may hold several numbers: scene, frame, seed, date, scale. The number that counts the images
is the one that rises without holes over all of them; if no single one does, it may be several, the
leftmost of which weighs most (s01_f0001). In doubt nothing is decided.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, pairwise

from bladerunner_ae.film.images.name_numbers import Column, UnclearOrderError, Values, read_columns

_MOST_TOGETHER, _MOST_TO_COMBINE = 3, 6

# So many numbers may be missing for each image, and in any film: some frames of a long one may be
# all there is. Of seeds of 32 bits more are missing.
_MISSING_PER_IMAGE = 1000
_MISSING_ALLOWED = 1_000_000

# Of two orders the better one is taken if at least this part of its numbers is present, and the
# other is this many times less dense.
_CLEAR_DENSITY = 0.5
_CLEARLY_DENSER = 10

# What is written before the numbers of parts of a film, of its frames, and of things of which there
# are several for one frame.
_PART_WORDS = ("s", "sc", "scn", "scene", "shot", "sh", "seq", "sequence", "clip", "reel", "roll",
               "part", "take", "tk", "act", "cut", "ch", "chapter", "ep", "episode",
               "day")  # fmt: skip
_FRAME_WORDS = ("f", "fr", "frm", "frame", "img", "image", "pic", "picture", "photo", "page", "p",
                "n", "no")  # fmt: skip
_VARIANT_WORDS = {"x", "cam", "camera", "c", "view", "v", "ver", "eye", "layer", "tile", "face",
                  "channel", "lens"}  # fmt: skip


@dataclass(frozen=True)
class Order:
    """The order of some names.

    Attributes:
        places: of the names, in the order of the film.
        missing: how many numbers are missing between the first and the last.
        choice: the deciding one of several numbers, for the end of a sentence, or "".
        step: the distance between any two neighbours if constant, else 1.
    """

    places: Values
    missing: int
    choice: str = ""
    step: int = 1


@dataclass(frozen=True)
class _Reading:
    """One possible order: by a column, or by several of which the first weighs most."""

    columns: tuple[Column, ...]
    places: Values
    missing: int
    is_regular: bool

    @property
    def density(self) -> float:
        """Fraction of the numbers between the first and the last that is present, 0..1."""
        return 1.0 if self.is_regular else len(self.places) / (len(self.places) + self.missing)

    @property
    def is_stable(self) -> bool:
        return all(column.stable for column in self.columns)

    @property
    def is_time(self) -> bool:
        return self.columns[0].is_time


@lru_cache(maxsize=4)
def order_names(names: tuple[str, ...]) -> Order:
    """Find the order of images; raise UnclearOrderError if several are possible, or none."""
    for name in names:
        if not re.search(r"\d", name):
            raise UnclearOrderError(f"{name} has no number in its name")
    if len(names) == 1:
        return Order((0,), 0)
    columns = list(read_columns(names))
    changing = [column for column in columns if len(set(column.values)) > 1]
    readings = [_reading((column,)) for column in changing]
    singles = [one for one in readings if one is not None]
    found = _decided(names, singles, changing)
    rivals = {one.places for one in singles if one.is_stable} | {found.places}
    several = len(found.columns) > 1 or len(rivals) > 1 or not found.is_stable
    step = found.missing // (len(names) - 1) + 1 if found.is_regular else 1
    return Order(found.places, found.missing, _choice(names, found) if several else "", step)


def _decided(names: Sequence[str], singles: list[_Reading], changing: list[Column]) -> _Reading:
    """The reading that the names leave no doubt about."""
    stable = [one for one in singles if one.is_stable]
    counters = [one for one in stable if not one.is_time]
    if full := [one for one in counters if one.is_regular]:
        return _only(names, full)
    together = list(_together([column for column in changing if column.stable]))
    times = [one for one in (*stable, *together) if one.is_time]
    if full := [one for one in together if one.is_regular and not one.is_time]:
        return _undoubted(names, _only(names, [*full, *times]))
    clear = [one for one in counters if one.density >= _CLEAR_DENSITY]
    if times:
        return _only(names, [*times, *clear])
    for candidates in ([*counters, *together], singles):
        if candidates:
            return _undoubted(names, _densest(names, candidates))
    raise UnclearOrderError(_same_number(names, changing))


def _densest(names: Sequence[str], readings: list[_Reading]) -> _Reading:
    best = max(readings, key=lambda one: one.density)
    if best.missing > _MISSING_PER_IMAGE * len(names) + _MISSING_ALLOWED and not best.is_regular:
        raise UnclearOrderError(
            f"no number in their names counts them ({_seen(names, readings)}: "
            f"{best.missing:,} numbers would be missing)"
        )
    rivals = [
        one
        for one in readings
        if one.places != best.places
        and (one.density * _CLEARLY_DENSER > best.density or best.density < _CLEAR_DENSITY)
    ]
    return _only(names, [best, *rivals])


def _only(names: Sequence[str], readings: list[_Reading]) -> _Reading:
    """The first of readings that all give the same order."""
    if len({one.places for one in readings}) > 1:
        raise UnclearOrderError(
            f"several numbers in their names could count them ({_seen(names, readings)})"
        )
    return readings[0]


def _undoubted(names: Sequence[str], reading: _Reading) -> _Reading:
    """Refuse pairs of numbers that look like several variants of each frame."""
    for outer, inner in pairwise(reading.columns):
        groups = dict[int, set[int]]()
        for high, low in zip(outer.values, inner.values, strict=True):
            groups.setdefault(high, set()).add(low)
        sizes = {frozenset(group) for group in groups.values()}
        grid = len(sizes) == 1 and len(groups) > len(next(iter(sizes)))
        named = outer.word in _PART_WORDS or inner.word in _FRAME_WORDS
        variants = {outer.word, inner.word} & _VARIANT_WORDS
        if variants or outer.word in _FRAME_WORDS or (grid and not named):
            raise UnclearOrderError(
                f"there are several for each number ({_seen(names, [reading])}); leave one film's "
                "images in the folder"
            )
    return reading


def _reading(columns: tuple[Column, ...]) -> _Reading | None:
    """The order by some columns, or None if two names would share a place."""
    keys = list(zip(*(column.values for column in columns), strict=True))
    if len(set(keys)) < len(keys):
        return None
    places = tuple(sorted(range(len(keys)), key=keys.__getitem__))
    missing = _missing([keys[place] for place in places], columns)
    regular = not missing
    if len(columns) == 1 and len(keys) > 2:  # every tenth frame is an order without holes too
        values = [keys[place][0] for place in places]
        regular = len({late - early for early, late in pairwise(values)}) == 1
    return _Reading(columns, places, missing, regular)


def _missing(keys: Sequence[Values], columns: tuple[Column, ...]) -> int:
    """Number of values missing in ascending keys; dates and times do not count."""
    missing = 0
    for early, late in pairwise(keys):
        level = next(i for i, (a, b) in enumerate(zip(early, late, strict=True)) if a != b)
        if not columns[level].is_time:
            missing += late[level] - early[level] - 1
    return missing


def _together(columns: list[Column]) -> Iterator[_Reading]:
    """Orders by several columns, from left to right; those without holes by as few as possible."""
    ordered = sorted(columns, key=lambda column: column.starts[0])[:_MOST_TO_COMBINE]
    enough = list[set[int]]()
    for count in range(1, _MOST_TOGETHER + 1):
        for chosen in combinations(range(len(ordered)), count):
            if any(found <= set(chosen) for found in enough):
                continue
            reading = _reading(tuple(ordered[place] for place in chosen))
            if reading is not None and count > 1:
                yield reading
            if reading is not None and reading.is_regular:
                enough.append(set(chosen))


def _same_number(names: Sequence[str], changing: list[Column]) -> str:
    if not changing:
        return f"{names[0]} and {names[1]} have the same number"
    column = max(changing, key=lambda one: len(set(one.values)))
    first = dict[int, str]()
    for name, value in zip(names, column.values, strict=True):
        if value in first:
            return f"{first[value]} and {name} have the same number"
        first[value] = name
    raise AssertionError("a column without equal values is an order")


def _seen(names: Sequence[str], readings: Iterable[_Reading]) -> str:
    """The relevant numbers of the first name, and the range of each."""
    columns = {column.values: column for one in readings for column in one.columns}
    ranges = [f"{min(values)}..{max(values)}" for values in list(columns)[:_MOST_TOGETHER]]
    return f"such as {names[0]}; seen: {' and '.join(ranges)}"


def _choice(names: Sequence[str], reading: _Reading) -> str:
    first, last = (names[reading.places[place]] for place in (0, -1))
    if reading.is_time:
        return f"date and time, from {first} to {last}"
    numbers = " and ".join(
        f"{min(column.values)}..{max(column.values)}" for column in reading.columns
    )
    what = "the number" if len(reading.columns) == 1 else "the numbers"
    return f"{what} {numbers} in their names, from {first} to {last}"
