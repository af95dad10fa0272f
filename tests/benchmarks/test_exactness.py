"""A handful of the awkward films of `benchmarks/exactness`; the rest of them is slow."""

from pathlib import Path

import pytest

from benchmarks.exactness.__main__ import Row, measure, page
from benchmarks.exactness.film_list import FILMS, Film, make_masters

QUICK = ("open_h264.mp4", "vfr.mp4", "edit_list.mp4", "rotated90.mp4", "tff.mp4", "hlg.mp4")


@pytest.fixture(scope="module")
def masters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exactness")
    make_masters(folder)
    return folder


def rows() -> list[object]:
    """Every film as a parameter, most of them marked slow."""
    return [
        pytest.param(film, id=film.file, marks=() if film.file in QUICK else pytest.mark.slow)
        for film in FILMS
    ]


@pytest.mark.parametrize("film", rows())
def test_the_records_hold_what_the_display_shows(film: Film, masters: Path) -> None:
    row = measure(film, masters)
    assert row.problems == []
    assert row.milliseconds <= 1


def test_a_film_that_is_not_what_it_should_be_fails(masters: Path) -> None:
    """The measuring notices: other numbers, bars that are none, times of another film."""
    good = next(film for film in FILMS if film.file == "no_b.mp4")
    wrong = Film(
        "wrong", "wrong.mp4", good.arguments, range(1, 49), (*good.seconds, good.seconds[-1] * 2),
        bars=(16, 16),
    )  # fmt: skip
    row = measure(wrong, masters)
    assert [problem.split()[0] for problem in row.problems] == [
        "numbers",
        "kept",
        "times",
        "colours",
    ]


def test_the_table_says_what_failed() -> None:
    text = page([Row("good"), Row("bad", problems=["times"])], "python x.py", (90, 160))
    assert "Written by `python x.py`: 1 of 2 films are exact" in text
    assert "| ok |" in text and "**FAILED**: times" in text
