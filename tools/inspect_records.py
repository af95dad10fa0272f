"""Describes a film's records, finds all that is damaged, and makes pictures of the whole film.

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
from dataclasses import dataclass

from absl import flags

from bladerunner_ae.command_line.app import run_with_arguments
from bladerunner_ae.command_line.arguments import parse_png
from bladerunner_ae.errors import InputError, UsageError
from bladerunner_ae.inspection.inspect_folder import Inspection, inspect_film
from bladerunner_ae.inspection.pictures import (
    EXPORT_FORMATS,
    check_export,
    export_frames,
    parse_frames,
    write_barcode,
    write_contact_sheet,
)
from bladerunner_ae.inspection.screen import describe
from bladerunner_ae.inspection.verify_shards import verify
from tfrecords.card import CARD_NAME, load_card
from tfrecords.record_errors import DamagedError, RecordsError
from tfrecords.storage import Location, location
from tfrecords.wording import counted, visible

_PICTURES = ("contact_sheet", "barcode", "export_frames")


@dataclass(frozen=True)
class Request:
    """Values of the flags, see `cli`."""

    verify: bool
    json: bool
    contact_sheet: Location | None
    contact_sheet_frames: int
    barcode: Location | None
    barcode_width: int
    export_frames: Location | None
    frames: str
    export_format: str

    @property
    def pictures(self) -> bool:
        return any(getattr(self, name) for name in _PICTURES)

    def say(self, line: str) -> None:
        """Print a line, on stderr if stdout is for JSON."""
        print(visible(line), file=sys.stderr if self.json else sys.stdout)


def request_from_flags(values: flags.FlagValues) -> Request:
    if not values.export_frames and values["frames"].present:
        raise UsageError(
            f"--frames={values.frames}: says which frames --export_frames=FOLDER writes; give that "
            "too"
        )
    return Request(
        verify=values.verify,
        json=values.json,
        contact_sheet=parse_png("contact_sheet", values.contact_sheet),
        contact_sheet_frames=values.contact_sheet_frames,
        barcode=parse_png("barcode", values.barcode),
        barcode_width=values.barcode_width,
        export_frames=location(values.export_frames) if values.export_frames else None,
        frames=values.frames,
        export_format=values.export_format,
    )


def inspect(directory: str, request: Request) -> Inspection:
    """Inspect one film and print the result, unless JSON is wanted."""
    found = inspect_film(directory)
    if request.verify:
        verify(found)
    if not request.json:
        try:
            lines = describe(found)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            fix = "run make_tfrecords again with --overwrite"
            path = location(directory) / CARD_NAME
            raise DamagedError(path, f"is damaged ({error!r})", fix) from error
        print("\n".join(map(visible, lines)))
    return found


def check_outputs(directory: str, request: Request) -> None:
    """Refuse outputs that cannot be written, before anything is read or printed."""
    if request.export_frames is not None:
        with suppress(RecordsError):  # an unreadable card is reported with all other damage
            card = load_card(directory)
            numbers = parse_frames(request.frames, card.frames)
            check_export(card, numbers, request.export_frames, request.export_format)


def make_pictures(found: Inspection, request: Request) -> int:
    """Make the requested pictures; return the number of frames that could not be read for them."""
    if not request.pictures:
        return 0
    card, directory = found.card, found.directory
    if card is None:
        raise InputError(f"{directory}: pictures need the card; {found.damages[0].what}")
    unreadable = [0]
    if folder := request.export_frames:
        numbers = parse_frames(request.frames, card.frames)
        unreadable.append(export_frames(directory, card, numbers, folder, request.export_format))
        request.say(f"{folder}: {counted(len(numbers) - unreadable[-1], 'frame')}")
    if sheet := request.contact_sheet:
        count = request.contact_sheet_frames
        unreadable.append(write_contact_sheet(directory, card, sheet, count))
        request.say(f"{sheet}: contact sheet")
    if barcode := request.barcode:
        unreadable.append(write_barcode(directory, card, barcode, request.barcode_width))
        request.say(f"{barcode}: barcode of {counted(card.frames, 'frame')}")
    return max(unreadable)


def main(directories: list[str]) -> None:
    """Read the flags and inspect one film after the other."""
    if not directories:
        raise UsageError("give the folder of a film's records, such as data/my_film (see --help)")
    if len(directories) > 1 and any(flags.FLAGS[name].value for name in _PICTURES):
        raise UsageError("pictures and frames are made of one film at a time; give one folder")
    request = request_from_flags(flags.FLAGS)
    check_outputs(directories[0], request)
    inspections, unreadable = [], 0
    for number, directory in enumerate(directories):
        if number and not request.json:
            print()
        inspections.append(inspect(directory, request))
        unreadable += make_pictures(inspections[-1], request)
    if request.json:
        print(json.dumps([found.to_json() for found in inspections], indent=2, ensure_ascii=False))
    _fail_if_damaged(inspections, unreadable)


def _fail_if_damaged(inspections: list[Inspection], unreadable: int) -> None:
    """Raise RecordsError, in one line, if any film is damaged."""
    damaged = [found for found in inspections if found.damages]
    if damaged:
        names = ", ".join(found.directory for found in damaged)
        count = counted(sum(len(found.damages) for found in damaged), "damage")
        fix = "restore the files named or run make_tfrecords again with --overwrite"
        raise RecordsError(f"{names}: {count}; {fix}")
    if unreadable:
        raise RecordsError(
            f"{inspections[0].directory}: {counted(unreadable, 'frame')} could not be read; "
            "--verify says why"
        )


def cli() -> None:
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
