"""Numbers of things and changed options, as messages say them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tfrecords.errors import RecordsError
from tfrecords.messages import changed_option, counted, first_line
from tfrecords.publication import refuse_other_identity

BEFORE: dict[str, Any] = {
    "film": "0" * 64, "height": 72, "bars": None, "geometry": {"crop": 1}, "tool_version": "1",
}  # fmt: skip


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


@pytest.mark.parametrize(
    ("name", "before", "now", "words"),
    [
        ("height", 72, 144, "--height: 72 -> 144"),
        ("width", None, 128, "--width: not given -> 128"),
        ("image_format", "jpeg", "png", "--format: jpeg -> png"),
        ("bars", None, [138, 138, 0, 0], "--crop_bars: auto -> 138:138:0:0"),
        ("bars", [0, 0, 0, 0], None, "--crop_bars: none -> auto"),
        ("start", None, "3/2", "--start: the beginning -> 3/2"),
    ],
)
def test_a_changed_option_is_called_as_its_flag(
    name: str, before: Any, now: Any, words: str
) -> None:
    assert changed_option(name, before, now) == words


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"height": 144, "geometry": {"crop": 2}}, "other options is there (--height: 72 -> 144);"),
        ({"film": "f" * 64, "geometry": {}}, "of another film, or of an earlier version of this"),
        ({"geometry": {}}, "(the film's picture lies otherwise in the records);"),
        ({"tool_version": "2"}, "(another version of this program began it);"),
    ],
)
def test_an_unfinished_run_of_something_else(change: dict[str, Any], words: str) -> None:
    with pytest.raises(RecordsError) as caught:
        refuse_other_identity(Path("data/film"), BEFORE, BEFORE | change)
    message = str(caught.value)
    assert message.startswith("data/film: an unfinished run ")
    assert words in message and "--overwrite" in message
    assert "000" not in message and "fff" not in message
    refuse_other_identity(Path("data/film"), BEFORE, dict(BEFORE))
