"""Words that messages share: counts, first lines of errors, text that is safe to print."""

from __future__ import annotations

import json
import unicodedata

# Not printable to Python, but parts of words, in scripts such as Persian's, and of emoji.
_JOINERS = "\u200c\u200d"


def visible(text: str, lines: bool = False) -> str:
    """Return text with everything that a terminal would interpret, such as \\x1b, escaped.

    `text` comes from outside, such as a film's name. Escapes beyond ASCII are those of JSON, the
    only place where such a character may be. `lines` keeps line breaks and tabs.
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
    """Return such as "1 frame" or "2 frames"; the plural takes an s."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def first_line(error: BaseException, longest: int = 200) -> str:
    """Return the first line of an error's message, or its type if it has none."""
    text = str(getattr(error, "message", None) or error)
    text = text.removeprefix("Graph execution error:")  # TensorFlow's headline; the cause follows
    lines = text.strip().splitlines() or [type(error).__name__]
    return lines[0][:longest].rstrip(".: ")
