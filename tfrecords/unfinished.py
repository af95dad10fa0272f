"""Which film, and with which options, an unfinished run was writing records of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tfrecords.errors import ReplaceableError
from tfrecords.hidden_names import hidden_path
from tfrecords.messages import changed_option

IDENTITY_NAME = "identity.json"
# What decides the bytes beside film and options. It is named where no option explains it.
_NO_OPTIONS = {
    "geometry": "the film's picture lies otherwise in the records",
    "tool_version": "another version of this program began it",
}


def states_folder(directory: Path) -> Path:
    """The hidden folder beside a folder of records that holds the states of an unfinished run."""
    return hidden_path(directory, ".state")


def unfinished_identity(directory: Path) -> dict[str, Any] | None:
    """The identity of an unfinished run that has left finished shards, or None.

    A run without finished shards, or whose identity cannot be read, has left nothing to go on from.
    """
    states = states_folder(directory)
    if not any(states.glob("part-*.json")):
        return None
    try:
        found = json.loads((states / IDENTITY_NAME).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def refuse_other_identity(
    directory: Path, before: dict[str, Any], identity: dict[str, Any]
) -> None:
    """Raises ReplaceableError if an unfinished run was not of the same identity.

    Args:
        directory: of the records, for the message.
        before: identity of the unfinished run.
        identity: JSON values of all that decides the bytes now.
    """
    now = json.loads(json.dumps(identity))
    names = [name for name in dict.fromkeys((*before, *now)) if before.get(name) != now.get(name)]
    if not names:
        return
    if "film" in names:
        what = "an unfinished run of another film, or of an earlier version of this one, is there"
        raise ReplaceableError(f"{directory}: {what}; --overwrite starts over")
    different = [
        changed_option(name, before.get(name), now.get(name))
        for name in names
        if name not in _NO_OPTIONS
    ] or [_NO_OPTIONS[name] for name in names]
    raise ReplaceableError(
        f"{directory}: an unfinished run with other options is there ({'; '.join(different)}); "
        "give its options to go on, or --overwrite, which starts over"
    )
