"""Values of flags are read exactly, or refused with an example."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from bladerunner_ae.command_line.arguments import (
    parse_bars,
    parse_local,
    parse_rate,
    parse_time,
    refuse_frame_rate,
)
from bladerunner_ae.errors import UsageError


def parse_duration(text: str | None) -> Fraction | None:
    return parse_time("duration", text)


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        *[(parse_duration, *pair) for pair in [
            ("90", 90), ("1:30", 90), ("0:01:30.5", Fraction(181, 2)), ("2:00:00", 7200), ("0", 0),
            ("0.1", Fraction(1, 10)), ("1/3", Fraction(1, 3)), (None, None)]],
        *[(parse_bars, *pair) for pair in [
            ("auto", None), ("none", (0, 0, 0, 0)), ("138:138:0:2", (138, 138, 0, 2))]],
        *[(parse_rate, *pair) for pair in [
            ("24", 24), ("23.976", Fraction("23.976")), ("24000/1001", Fraction(24000, 1001))]],
    ],
)  # fmt: skip
def test_values(parse: Callable[[str], object], text: str, value: object) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "texts", "words"),
    [
        (parse_duration, ("", "-1", "1:2:3:4", "noon", "nan", "inf", "1:", "1/0", "1e400",
                          "1e999999999", "1e-999999999", "1000000001"),
         "--duration=.*: give seconds or hours:minutes:seconds"),
        (parse_bars, ("", "1:2:3", "1:2:3:4:5", "a:b:c:d", "-1:0:0:0", "1.5:0:0:0"),
         "--crop_bars=.*such as 138:138:0:0"),
        (parse_rate, ("", "0", "-24", "fast", "1/0", "1000001", "1e999999999"),
         "--frame_rate=.*such as 24 or 24000/1001"),
    ],
)  # fmt: skip
def test_other_texts(parse: Callable[[str], object], texts: tuple[str, ...], words: str) -> None:
    for text in texts:
        with pytest.raises(UsageError, match=f"^{words}"):
            parse(text)


def test_films_are_local() -> None:
    assert parse_local("film", "a/b.mp4") == Path("a/b.mp4")
    with pytest.raises(UsageError, match=r"^--film=s3://a/b\.mp4: films are read and written on"):
        parse_local("film", "s3://a/b.mp4")


def test_films_have_a_rate_of_their_own(tmp_path: Path) -> None:
    film = tmp_path / "a.mp4"
    film.touch()
    with pytest.raises(UsageError, match=f"^--frame_rate is for folders of images, and {film} is"):
        refuse_frame_rate(film, given=True)
    refuse_frame_rate(film, given=False)
    for other in (tmp_path, tmp_path / "missing.mp4", tmp_path / "%06d.png"):
        refuse_frame_rate(other, given=True)
