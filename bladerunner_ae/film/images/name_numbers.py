"""Numbers in the names of images: those that all names have, and their possible meanings."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

Values = tuple[int, ...]

MOST_NUMBERS = 12
"""Names with more numbers are not taken apart further."""

_DIGITS = re.compile(r"\d+")
_SEPARATORS = re.compile(r"[\s_\-.()\[\]{}#@,;+=~']+")
_MOMENT = re.compile(
    r"(?<!\d)((?:19|20)\d\d)([-_.]?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])"
    r"(?:(?:[-_. T]{0,3}|\sat\s)([01]\d|2[0-3]|\d(?=\D))([-_.:]?)([0-5]\d)"
    r"(?:\6([0-5]\d)(\d{3})?)?(?:\s?([AaPp])[Mm])?)?(?!\d)"
)
_YEAR_LAST = re.compile(r"(?<!\d)([0-3]\d)([-_.])([0-3]\d)\2((?:19|20)\d\d)(?!\d)")
# Seconds since 1970, in thousandths or finer, of the years 2001 to 2033.
_CLOCKS = tuple((10**digits, 2 * 10**digits) for digits in (12, 15, 18))
_FEWEST_CLOCKED = 3
# Stands before a date and time that has been brought into one number.
_TIME_MARK = "\0"


class UnclearOrderError(ValueError):
    """The names do not say in which order the images come; the message says why."""


@dataclass(frozen=True)
class Column:
    """A number that all names have.

    Attributes:
        stable: whether the text around it is the same in all names.
        word: the letters before it in the first name, in lower case.
        is_time: whether it is a date, perhaps with a time.
    """

    values: Values
    starts: Values
    stable: bool
    word: str
    is_time: bool = False


class _Number(NamedTuple):
    start: int
    digits: str
    field: int
    place: int
    before: str
    after: str
    minus: str


def read_columns(names: Sequence[str]) -> Iterator[Column]:
    """Numbers that all names have, by place from the left, right, or between separators."""
    names = _years_first(names)
    moments = [_MOMENT.search(name) for name in names]
    times = all(moments)
    if times:
        names = [
            name[: found.start()] + _TIME_MARK + _as_number(found) + name[found.end() :]
            for name, found in zip(names, moments, strict=True)
            if found
        ]
    if len({_DIGITS.sub("0", name) for name in names}) == 1:
        yield from _alike(names, times)
        return
    parsed = [_numbers(name) for name in names]
    seen = set[tuple[Values, bool]]()
    for row in _rows(parsed):
        for values in _variants(row):
            column = Column(
                values,
                tuple(number.start for number in row),
                len({(number.before, number.after) for number in row}) == 1,
                row[0].before.strip(_TIME_MARK).lower(),
                (times and all(number.before.endswith(_TIME_MARK) for number in row))
                or _is_clock(values),
            )
            if (values, column.stable) not in seen:
                seen.add((values, column.stable))
                yield column
    yield from _decimals(names, parsed)


def _alike(names: Sequence[str], times: bool) -> Iterator[Column]:
    """Numbers of names that differ in their digits only, as most do: the fast case."""
    template = _numbers(names[0])[:MOST_NUMBERS]
    table = list(zip(*(_DIGITS.findall(name) for name in names), strict=True))
    for number, digits in zip(template, table, strict=False):
        if len(set(digits)) == 1:
            continue
        values = tuple(map(int, digits))
        starts = (number.start,) * len(names)
        word = number.before.strip(_TIME_MARK).lower()
        is_time = (times and number.before.endswith(_TIME_MARK)) or _is_clock(values)
        yield Column(values, starts, True, word, is_time)
        if number.minus and not number.minus[:-1].isalnum():
            yield Column(tuple(-value for value in values), starts, True, word)
    for (one, other), (whole, part) in zip(pairwise(template), pairwise(table), strict=False):
        if names[0][one.start + len(one.digits) : other.start] == ".":
            values = _as_decimals(zip(whole, part, strict=True))
            yield Column(values, (one.start,) * len(names), True, one.before.lower())


def _rows(parsed: Sequence[list[_Number]]) -> Iterator[list[_Number]]:
    shortest = min(map(len, parsed))
    for place in range(min(shortest, MOST_NUMBERS)):
        yield [numbers[place] for numbers in parsed]
    if any(len(numbers) != shortest for numbers in parsed):
        for place in range(min(shortest, MOST_NUMBERS)):
            yield [numbers[-1 - place] for numbers in parsed]
    for from_right in (False, True):
        tables = []
        for numbers in parsed:
            last = numbers[-1].field
            tables.append(
                {
                    (last - one.field if from_right else one.field, one.place): one
                    for one in numbers[:MOST_NUMBERS]
                }
            )
        for key in tables[0]:
            if all(key in table for table in tables):
                yield [table[key] for table in tables]


def _numbers(name: str) -> list[_Number]:
    found, start = list[_Number](), 0
    borders = [(match.start(), match.end()) for match in _SEPARATORS.finditer(name)]
    for field_number, (end, following) in enumerate([*borders, (len(name), len(name))]):
        field = name[start:end]
        runs = list(_DIGITS.finditer(field))
        for place, run in enumerate(runs):
            left = runs[place - 1].end() if place else 0
            right = runs[place + 1].start() if place + 1 < len(runs) else len(field)
            before = name[: start + run.start()]
            minus = before[-2:] if before.endswith("-") else ""
            found.append(
                _Number(start + run.start(), run[0], field_number, place,
                        field[left : run.start()], field[run.end() : right], minus)
            )  # fmt: skip
        start = following
    return found


def _variants(row: Sequence[_Number]) -> Iterator[Values]:
    """Values of a column; also as negative numbers, if a hyphen may be a minus."""
    values = tuple(int(number.digits) for number in row)
    yield values
    hyphens = [bool(number.minus) for number in row]
    if any(hyphens):
        # After a letter in every name it only separates: "frame-1".
        signs = [
            bool(number.minus) and (not all(hyphens) or not number.minus[:-1].isalnum())
            for number in row
        ]
        signed = tuple(-v if sign else v for v, sign in zip(values, signs, strict=True))
        if signed != values:
            yield signed


def _decimals(names: Sequence[str], parsed: Sequence[list[_Number]]) -> Iterator[Column]:
    """Numbers with a decimal point, such as times in seconds."""
    for place in range(min(*map(len, parsed), MOST_NUMBERS) - 1):
        pairs = [(numbers[place], numbers[place + 1]) for numbers in parsed]
        if all(
            name[one.start + len(one.digits) : other.start] == "."
            for name, (one, other) in zip(names, pairs, strict=True)
        ):
            yield Column(
                _as_decimals((one.digits, other.digits) for one, other in pairs),
                tuple(one.start for one, _ in pairs),
                len({(one.before, other.after) for one, other in pairs}) == 1,
                pairs[0][0].before.lower(),
            )


def _as_decimals(pairs: Iterable[tuple[str, str]]) -> Values:
    pairs = list(pairs)
    digits = max(len(part) for _, part in pairs)
    return tuple(int(whole + part.ljust(digits, "0")) for whole, part in pairs)


def _years_first(names: Sequence[str]) -> Sequence[str]:
    """Names whose dates end with the year, with the year in front."""
    found = [_YEAR_LAST.search(name) for name in names]
    dates = [date.group(1, 3, 4) for date in found if date]
    if len(dates) < len(names) or len(set(dates)) == 1:
        return names
    day_first = any(int(first) > 12 for first, _, _ in dates)
    if day_first == any(int(second) > 12 for _, second, _ in dates):
        raise UnclearOrderError(f"the day and the month of {names[0]} cannot be told apart")
    return [
        name[: date.start()]
        + "-".join(date.group(4, *((3, 1) if day_first else (1, 3))))
        + name[date.end() :]
        for name, date in zip(names, found, strict=True)
        if date
    ]


def _is_clock(values: Values) -> bool:
    low, high = min(values), max(values)
    return len(values) >= _FEWEST_CLOCKED and any(a <= low and high < b for a, b in _CLOCKS)


def _as_number(moment: re.Match[str]) -> str:
    year, _, month, day, hour, _, minute, second, thousandths, half = moment.groups()
    if half:
        hour = str(int(hour) % 12 + 12 * (half in "pP"))
    parts = ((hour or "").zfill(2), minute or "00", second or "00", thousandths or "000")
    return year + month + day + "".join(parts)
