"""Counts and first lines of errors, as messages say them."""

from __future__ import annotations

import pytest

from tfrecords.wording import counted, first_line


def test_numbers_of_things() -> None:
    assert [counted(number, "frame") for number in (0, 1, 2)] == ["0 frames", "1 frame", "2 frames"]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("  no good.\nsecond line"), "no good"),
        (ValueError("Graph execution error:\n\nthe cause\nmore"), "the cause"),
        (ValueError(""), "ValueError"),
        (ValueError("x" * 300), "x" * 200),
    ],
)
def test_first_line_of_an_error(error: Exception, line: str) -> None:
    assert first_line(error) == line
