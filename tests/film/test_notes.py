"""Sentences of notes."""

from string import Formatter
from typing import Any

import pytest

from bladerunner_ae.film.notes import Note, NoteKind, joined, word


@pytest.mark.parametrize(
    ("sentence", "facts", "expected"),
    [
        ("{a:frame} {a:is} lost", {"a": 1}, "1 frame is lost"),
        ("{a:frame} {a:is} lost", {"a": 2}, "2 frames are lost"),
        ("{a} of {b:.1f}", {"a": 3, "b": 2.04}, "3 of 2.0"),
        ("{a:g}, {b}", {"a": 1000.0, "b": "{no field}"}, "1000, {no field}"),
        ("{a}; {b:, }", {"a": ("x", "y"), "b": (1, 2)}, "x and y; 1, 2"),
    ],
)
def test_word(sentence: str, facts: dict[str, Any], expected: str) -> None:
    assert word(sentence, facts) == expected


def test_joined_notes_are_one() -> None:
    one, two = NoteKind.DAMAGED.note(frames=1), NoteKind.CUT_IN_FRAME.note()
    assert joined([]) is None and joined([one]) is one
    assert str(joined([one, two])) == (
        "1 frame is damaged and left out; the film is cut off in the middle of a frame"
    )


@pytest.mark.parametrize("kind", NoteKind)
def test_missing_facts_are_an_error(kind: NoteKind) -> None:
    fields = {field for _, field, _, _ in Formatter().parse(kind.value) if field}
    if fields:
        with pytest.raises(KeyError):
            str(Note(kind))
    else:
        assert str(Note(kind)) == kind.value
