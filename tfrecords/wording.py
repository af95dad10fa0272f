"""Words that messages share: numbers of things, options that changed, names as they are shown."""

from __future__ import annotations

import re
from typing import Any

# Options whose flag has another name; all others are called as their flag is.
_FLAGS = {"bars": "crop_bars", "image_format": "format"}
# What a flag that was left out means, where that is not plain.
_LEFT_OUT = {"bars": "auto", "start": "the beginning", "duration": "to the end"}


# Control characters, which a terminal would obey, and those that turn the direction of writing.
_CONTROLS = "\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069"
_ANY_CONTROL = re.compile(f"[{_CONTROLS}]")
_CONTROL_WITHIN_LINES = re.compile(f"(?![\\n\\r\\t])[{_CONTROLS}]")


def visible(text: str, lines: bool = False) -> str:
    """Returns text with every character that a terminal would obey as an escape, such as \\x1b.

    Those beyond ASCII, which alone JSON may hold as they are, become escapes of JSON's.

    Args:
        text: such as a name of a film or a note of a card, which anybody may have written.
        lines: leave line breaks and tabs as they are: the text is more than one line.
    """
    pattern = _CONTROL_WITHIN_LINES if lines else _ANY_CONTROL
    return pattern.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x7F:
        return found[0].encode("unicode_escape").decode("ascii")
    return f"\\u{code:04x}"


def counted(number: int, thing: str) -> str:
    """Returns such as "1 frame" or "2 frames".

    Args:
        number: how many.
        thing: one of them, a word that takes an s.
    """
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


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
