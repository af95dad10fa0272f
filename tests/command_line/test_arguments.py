"""What people type: read exactly, or refused with an example."""

from fractions import Fraction
from pathlib import Path

import pytest

from bladerunner_ae.command_line.arguments import parse_bars, parse_local, parse_rate, parse_time
from bladerunner_ae.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("1:30", 90), ("0:01:30.5", Fraction(181, 2)), ("2:00:00", 7200), ("0", 0),
     ("0.1", Fraction(1, 10)), ("1/3", Fraction(1, 3))],
)  # fmt: skip
def test_times(text: str, seconds: Fraction) -> None:
    assert parse_time("start", text) == seconds


def test_no_time_stays_none() -> None:
    assert parse_time("start", None) is None


@pytest.mark.parametrize("text", ["", "-1", "1:2:3:4", "noon", "nan", "inf", "1:", "1/0"])
def test_times_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--duration=.*: give seconds or hours:minutes:seconds"):
        parse_time("duration", text)


def test_films_are_local() -> None:
    assert parse_local("film", "a/b.mp4") == Path("a/b.mp4")
    with pytest.raises(UsageError, match=r"^--film=s3://a/b\.mp4: films are read and written on"):
        parse_local("film", "s3://a/b.mp4")


def test_bars() -> None:
    assert parse_bars("auto") is None
    assert parse_bars("none") == (0, 0, 0, 0)
    assert parse_bars("138:138:0:2") == (138, 138, 0, 2)


@pytest.mark.parametrize("text", ["", "1:2:3", "1:2:3:4:5", "a:b:c:d", "-1:0:0:0", "1.5:0:0:0"])
def test_bars_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--crop_bars=.*such as 138:138:0:0"):
        parse_bars(text)


@pytest.mark.parametrize(
    ("text", "rate"),
    [("24", 24), ("23.976", Fraction("23.976")), ("24000/1001", Fraction(24000, 1001))],
)
def test_rates(text: str, rate: Fraction) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "0", "-24", "fast", "1/0", "1000001"])
def test_rates_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--frame_rate=.*such as 24 or 24000/1001"):
        parse_rate(text)
