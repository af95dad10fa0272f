"""Shows what a film's records are, finds all that is damaged, and makes pictures of the whole film.

The card in words and a table of the shards go to stdout. With --verify every record is read:
checksums, picture, size, number, time. Damage ends the command with exit code 2, one line for each
damage: shard, record, frame, time. Times count from the start of the film.

Examples:
  python tools/inspect_records.py data/my_film
  python tools/inspect_records.py --verify data/my_film data/another_film
  python tools/inspect_records.py data/my_film --contact_sheet=sheet.png --barcode=barcode.png
  python tools/inspect_records.py data/my_film --export_frames=frames --frames=100:200
  python tools/inspect_records.py data/my_film --json
"""

import os
import sys

if __package__ in (None, ""):  # `python tools/NAME.py` where the package is not installed
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import json
from contextlib import suppress
from typing import Any

from absl import flags

from bladerunner_ae.command_line.app import run_with_arguments
from bladerunner_ae.command_line.arguments import parse_png
from bladerunner_ae.errors import InputError, UsageError
from bladerunner_ae.inspection.folder import Inspection, inspect_film
from bladerunner_ae.inspection.pictures import (
    EXPORT_FORMATS,
    check_export,
    export_frames,
    parse_frames,
    write_barcode,
    write_contact_sheet,
)
from bladerunner_ae.inspection.text import describe
from bladerunner_ae.inspection.verify import verify
from tfrecords.card import CARD_NAME, load_card
from tfrecords.errors import RecordsError
from tfrecords.messages import counted, visible
from tfrecords.storage import location

_PICTURES = ("contact_sheet", "barcode", "export_frames")


def inspect(directory: str, values: Any) -> Inspection:
    """Looks at one film; says what it finds as text, unless JSON is wanted."""
    found = inspect_film(directory)
    if values.verify:
        verify(found)
    if not values.json:
        try:
            lines = describe(found)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise RecordsError(
                f"{location(directory) / CARD_NAME}: is damaged ({error!r}); run make_tfrecords "
                "again with --overwrite"
            ) from error
        print("\n".join(map(visible, lines)))
    return found


def check_outputs(directory: str, values: Any) -> None:
    """Refuses what cannot be written, before anything is read or printed."""
    for name in ("contact_sheet", "barcode"):
        parse_png(name, getattr(values, name))
    if not values.export_frames:
        if values["frames"].present:
            raise UsageError(
                f"--frames={values.frames}: says which frames --export_frames=FOLDER writes; give "
                "that too"
            )
        return
    with suppress(RecordsError):  # a card that cannot be read is told with all that is wrong
        card = load_card(directory)
        numbers = parse_frames(values.frames, card.frames)
        check_export(card, numbers, location(values.export_frames), values.export_format)


def make_pictures(found: Inspection, values: Any) -> int:
    """Makes what the flags ask for; returns how many frames could not be read for it."""
    if not any(getattr(values, name) for name in _PICTURES):
        return 0
    card, directory = found.card, found.directory
    if card is None:
        raise InputError(f"{directory}: pictures need the card; {found.damages[0].what}")
    unreadable = [0]
    if values.export_frames:
        numbers = parse_frames(values.frames, card.frames)
        folder = location(values.export_frames)
        lost = export_frames(directory, card, numbers, folder, values.export_format)
        unreadable.append(lost)
        _say(values, f"{folder}: {counted(len(numbers) - lost, 'frame')}")
    if values.contact_sheet:
        sheet = location(values.contact_sheet)
        unreadable.append(write_contact_sheet(directory, card, sheet, values.contact_sheet_frames))
        _say(values, f"{sheet}: contact sheet")
    if values.barcode:
        barcode = location(values.barcode)
        unreadable.append(write_barcode(directory, card, barcode, values.barcode_width))
        _say(values, f"{barcode}: barcode of {counted(card.frames, 'frame')}")
    return max(unreadable)


def _say(values: Any, line: str) -> None:
    print(visible(line), file=sys.stderr if values.json else sys.stdout)


def main(directories: list[str]) -> None:
    """Reads the flags and looks at one film after the other."""
    values = flags.FLAGS
    if not directories:
        raise UsageError("give the folder of a film's records, such as data/my_film (see --help)")
    if len(directories) > 1 and any(getattr(values, name) for name in _PICTURES):
        raise UsageError("pictures and frames are made of one film at a time; give one folder")
    check_outputs(directories[0], values)
    inspections, unreadable = [], 0
    for number, directory in enumerate(directories):
        if number and not values.json:
            print()
        inspections.append(inspect(directory, values))
        unreadable += make_pictures(inspections[-1], values)
    if values.json:
        print(json.dumps([found.to_json() for found in inspections], indent=2, ensure_ascii=False))
    _fail_if_damaged(inspections, unreadable)


def _fail_if_damaged(inspections: list[Inspection], unreadable: int) -> None:
    """Raises RecordsError, in one line, if anything is wrong with any film."""
    cure = "restore the files named or run make_tfrecords again with --overwrite"
    damaged = [found for found in inspections if found.damages]
    if damaged:
        count = sum(len(found.damages) for found in damaged)
        names = ", ".join(found.directory for found in damaged)
        raise RecordsError(f"{names}: {count} {'damages' if count > 1 else 'damage'}; {cure}")
    if unreadable:
        raise RecordsError(
            f"{inspections[0].directory}: {counted(unreadable, 'frame')} could not be read; "
            "--verify says why"
        )


def cli() -> None:
    """Runs the command."""
    flags.DEFINE_bool("verify", False, "Read every record and say all that is damaged.")
    flags.DEFINE_bool("json", False, "Print one JSON array with an object for each film instead.")
    flags.DEFINE_string("contact_sheet", None, "PNG to write: frames across the film.")
    flags.DEFINE_integer(
        "contact_sheet_frames",
        48,
        "How many frames it shows, evenly spread; 0: one of every shot.",
        lower_bound=0,
    )
    flags.DEFINE_string("barcode", None, "PNG to write: each frame's mean colour as a column.")
    flags.DEFINE_integer("barcode_width", 1920, "Columns of the barcode, at most.", lower_bound=1)
    flags.DEFINE_string(
        "export_frames", None, "Folder to write single frames into; made if need be."
    )
    flags.DEFINE_string(
        "frames",
        ":",
        "Which frames --export_frames writes: first:end (end not included), or numbers such as "
        "10,20,30; : is all.",
    )
    flags.DEFINE_enum(
        "export_format", "png", EXPORT_FORMATS, "As png, or as the records' own jpeg bytes."
    )
    run_with_arguments(main)


if __name__ == "__main__":
    cli()
