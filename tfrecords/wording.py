"""Words that messages share: numbers of things, and options that changed."""

from __future__ import annotations

import unicodedata
from typing import Any

# Options whose flag has another name; all others are called as their flag is.
_FLAGS = {"bars": "crop_bars", "image_format": "format"}
# Not printable to Python, but parts of words, in scripts such as Persian's, and of emoji.
_JOINERS = "\u200c\u200d"
# What a flag that was left out means, where that is not plain.
_LEFT_OUT = {"bars": "auto", "start": "the beginning", "duration": "to the end"}


def counted(number: int, thing: str) -> str:
    """Returns such as "1 frame" or "2 frames".

    Args:
        number: how many.
        thing: one of them, a word that takes an s.
    """
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def one_line(text: str) -> str:
    """Returns a text that fits into one line of a terminal and cannot steer it.

    Args:
        text: may hold names of files, which may hold anything but a slash: what is not printable,
            such as an end of line, becomes its escape (\\n, \\x1b).
    """
    return "".join(
        letter
        if letter.isprintable() or letter in _JOINERS or unicodedata.category(letter) == "Zs"
        else ascii(letter)[1:-1]
        for letter in text
    )


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
