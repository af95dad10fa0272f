"""Earlier results in the place of a conversion: finished records, an unfinished run, other files.

No frame is read here, and nothing is written, except to complete what a killed conversion left.
"""

import json
from pathlib import Path
from typing import Any

from bladerunner_ae.conversion.options import ConversionOptions, changed_option
from bladerunner_ae.conversion.upload import UPLOAD_NAME
from bladerunner_ae.errors import InputError, ReplaceableError
from bladerunner_ae.film.reading.source import Source
from tfrecords import storage
from tfrecords.card import CARD_NAME, FilmCard, check_shards, load_card
from tfrecords.publication import tidy
from tfrecords.shards import is_all_shards
from tfrecords.storage import Location

# What else determines the bytes. It is named where no option explains the difference.
_NO_OPTIONS = {
    "geometry": "the film's picture is placed otherwise in the records",
    "tool_version": "another version of this program began it",
}


def finished_card(
    film: Path, directory: Location, options: ConversionOptions, overwrite: bool = False
) -> FilmCard | None:
    """Return the card of a finished conversion of the same film with the same options.

    Args:
        directory: folder for the film's records, local or remote.
        overwrite: whether existing records are to be replaced in any case.

    Returns:
        None if there is something to do: nothing is there yet, or half an upload, or it is to be
            replaced.

    Raises:
        InputError: something else is there: another film, other options, shards without their card,
            or no records at all (these are not even overwritten).
        RecordsError: the records are damaged.
    """
    if isinstance(directory, Path):
        tidy(directory)
    found = storage.names(directory)
    if not found and not storage.is_file(directory):
        return None
    if CARD_NAME not in found:
        if UPLOAD_NAME in found:
            return None
        if not is_all_shards(found):
            raise InputError(
                f"{directory}: exists and holds no records; choose another --output_dir or remove "
                "it"
            )
        if overwrite:
            return None
        raise ReplaceableError(
            f"{directory}: holds shards but their card {CARD_NAME} is missing; put it back, or use "
            "--overwrite to convert the film again"
        )
    if overwrite:
        return None
    card = load_card(directory)
    different = _differences(card, film, options)
    if different:
        raise ReplaceableError(
            f"{directory}: holds other records ({'; '.join(different)}); use --overwrite or "
            "another --output_dir"
        )
    check_shards(directory, card)
    return card


def _differences(card: FilmCard, film: Path, options: ConversionOptions) -> list[str]:
    """Return the points in which earlier records differ from those wanted now."""
    source = Source(film)
    # Records from before an option existed were made as its default makes them.
    before = ConversionOptions().to_json(source.kind) | card.options
    found = [
        changed_option(name, before.get(name), value)
        for name, value in options.to_json(source.kind).items()
        if before.get(name) != value
    ]
    # Reading a whole film only to compare it takes long; it is done when in doubt.
    same = all(card.source.get(name) == value for name, value in source.stamp.items())
    if not same and source.sha256 != card.source.get("sha256"):
        found.append(f"film: {card.source.get('name')} had another content than {film} has now")
    return found


def refuse_other_identity(
    directory: Location, before: dict[str, Any], identity: dict[str, Any]
) -> None:
    """Raise InputError if an unfinished run's identity, `before`, is not `identity`."""
    now = json.loads(json.dumps(identity))
    names = [name for name in dict.fromkeys((*before, *now)) if before.get(name) != now.get(name)]
    if not names:
        return
    if "film" in names:
        raise ReplaceableError(
            f"{directory}: an unfinished run of another film, or of an earlier version of this "
            "one, is there; --overwrite starts over"
        )
    different = [
        changed_option(name, before.get(name), now.get(name))
        for name in names
        if name not in _NO_OPTIONS
    ] or [_NO_OPTIONS[name] for name in names]
    raise ReplaceableError(
        f"{directory}: an unfinished run with other options is there ({'; '.join(different)}); "
        "give its options to resume it, or --overwrite, which starts over"
    )
