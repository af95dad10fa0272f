"""What a conversion finds in its place: the finished records of an earlier one, or something else.

No frame is read here, and nothing is written but what a killed conversion left to be completed.
"""

from pathlib import Path

from bladerunner_ae.conversion.options import ConversionOptions
from bladerunner_ae.conversion.upload import UPLOAD_NAME
from bladerunner_ae.errors import InputError, ReplaceableError
from bladerunner_ae.film.reading.source import Source
from tfrecords import storage
from tfrecords.card import CARD_NAME, FilmCard, check_shards, load_card
from tfrecords.messages import changed_option
from tfrecords.publication import put_right
from tfrecords.shards import is_all_shards
from tfrecords.storage import Location


def finished_card(
    film: Path, directory: Location, options: ConversionOptions, overwrite: bool = False
) -> FilmCard | None:
    """The card of an earlier, finished conversion of the same film with the same options.

    Args:
        film: the film that is to be converted.
        directory: where its records belong, local or remote.
        options: how it is to be converted.
        overwrite: whether records that are there are to be replaced anyhow.

    Returns:
        None if there is something to do: nothing is there yet, or half an upload, or it is to be
        replaced.

    Raises:
        InputError: something else is there: another film, other options, shards without their
            card, or no records at all (these are not even overwritten).
        RecordsError: the records are damaged.
    """
    if isinstance(directory, Path):
        put_right(directory)
    found = storage.names(directory)
    if not found and not storage.is_file(directory):
        return None
    if CARD_NAME not in found:
        if UPLOAD_NAME in found:
            return None
        if is_all_shards(found):
            if overwrite:
                return None
            raise ReplaceableError(
                f"{directory}: holds shards but their card {CARD_NAME} is missing; put it back, or "
                "use --overwrite to convert the film again"
            )
        raise InputError(
            f"{directory}: exists and holds no records; choose another --output_dir or remove it"
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
    """In which points earlier records differ from what is asked for now."""
    source = Source(film)
    now = options.to_json(source.kind)
    # Records of before an option existed were made as its default makes them.
    before = ConversionOptions().to_json(source.kind) | card.options
    found = [
        changed_option(name, before.get(name), value)
        for name, value in now.items()
        if before.get(name) != value
    ]
    # Reading a whole film again only to compare it takes long; it is done when in doubt.
    same = all(card.source.get(name) == value for name, value in source.stamp.items())
    if not same and source.sha256 != card.source.get("sha256"):
        found.append(f"film: {card.source.get('name')} had another content than {film} has now")
    return found
