"""A film's metadata as text. libav gives bytes, and hardly any container names their encoding."""

from typing import Any

import av
from av.container import InputContainer

# Bytes that are no UTF-8 come as lone surrogates. PyAV does so by itself from 19 on, where this
# argument of `av.open` is gone.
OPENING: dict[str, Any] = (
    {"metadata_errors": "surrogateescape"} if int(av.__version__.split(".")[0]) < 19 else {}
)


def make_readable(container: InputContainer) -> None:
    """Make the metadata of a container and its streams readable, in place."""
    for labels in (container.metadata, *(stream.metadata for stream in container.streams)):
        found = readable_labels(labels)
        labels.clear()
        labels.update(found)


def readable_chapters(container: InputContainer) -> list[Any]:
    """Chapters of a container opened with the arguments `OPENING`, as PyAV describes them."""
    chapters: list[Any] = list(container.chapters())
    for chapter in chapters:
        if "metadata" in chapter:
            chapter["metadata"] = readable_labels(chapter["metadata"])
    return chapters


def readable_labels(labels: dict[str, str]) -> dict[str, str]:
    """The same keys and values as text that can be printed, stored and written as UTF-8."""
    return {_readable(key): _readable(value) for key, value in labels.items()}


def _readable(text: str) -> str:
    try:
        text.encode("utf-8")
        return text
    except UnicodeEncodeError:
        raw = text.encode("utf-8", "surrogateescape")
    # A tag of fixed length cuts UTF-8 off within a letter, and a disk can flip a bit.
    damaged = raw.decode("utf-8", "replace")
    bad = damaged.count("\ufffd")
    if bad <= sum(letter > "\x7f" for letter in damaged) - bad:
        return damaged
    # The usual encoding of what is older than UTF-8; it has no letters for five of the bytes.
    return raw.decode("cp1252", "replace")
