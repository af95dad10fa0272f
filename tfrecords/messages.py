"""Words that messages share: numbers of things, options that changed, names as they are shown."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

# Options whose flag has another name; all others are called as their flag is.
_FLAGS = {"bars": "crop_bars", "image_format": "format"}
# Not printable to Python, but parts of words, in scripts such as Persian's, and of emoji.
_JOINERS = "\u200c\u200d"
# What a flag that was left out means, where that is not plain.
_LEFT_OUT = {"bars": "auto", "start": "the beginning", "duration": "to the end"}


def visible(text: str, lines: bool = False) -> str:
    """Returns text without anything that a terminal would obey, such as \\x1b, but its escape.

    Escapes of what lies beyond ASCII are those of JSON, where alone such a character may lie.

    Args:
        text: such as a name of a film or a note of a card, which anybody may have written.
        lines: leave line breaks and tabs as they are: the text is more than one line.
    """
    if text.isprintable():
        return text
    kept = "\n\r\t" if lines else ""
    return "".join(one if one in kept or _is_shown(one) else _escape(one) for one in text)


def _is_shown(letter: str) -> bool:
    return letter.isprintable() or letter in _JOINERS or unicodedata.category(letter) == "Zs"


def _escape(letter: str) -> str:
    if ord(letter) < 0x80:
        return letter.encode("unicode_escape").decode("ascii")
    return json.dumps(letter)[1:-1]


def counted(number: int, thing: str) -> str:
    """Returns such as "1 frame" or "2 frames".

    Args:
        number: how many.
        thing: one of them, a word that takes an s.
    """
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def first_line(error: BaseException, longest: int = 200) -> str:
    """Return the first line of an error's message, or its type if it has none."""
    text = str(getattr(error, "message", None) or error)
    text = text.removeprefix("Graph execution error:")  # TensorFlow's headline; the cause follows
    lines = text.strip().splitlines() or [type(error).__name__]
    return lines[0][:longest].rstrip(".: ")


def changed_option(name: str, before: Any, now: Any) -> str:
    """Returns such as "--height: 72 -> 144".

    Args:
        name: of the option.
        before, now: its JSON values; None where the flag was left out.
    """
    values = " -> ".join(_value(name, value) for value in (before, now))
    return f"--{_FLAGS.get(name, name)}: {values}"


def _value(name: str, value: Any) -> str:
    if value is None:
        return _LEFT_OUT.get(name, "not given")
    if isinstance(value, list):
        return ":".join(map(str, value)) if any(value) else "none"
    return str(value)
