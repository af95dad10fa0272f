"""Writes the memory of a film as one page: what a network keeps of each shot, and what it loses.

The page needs nothing else: no network, no other file. Training writes it at its end, as
RUN/report.html. docs/report.md says what it shows.

Examples:
  python -m bladerunner_ae.report --model=RUN --data=DATA/my_film --output=report.html
  python -m bladerunner_ae.report --model=RUN --data=DATA/a --data=DATA/b --output=report.html
  python -m bladerunner_ae.report --model=RUN --data=DATA/another_film --max_frames=2000 --output=report.html
"""  # noqa: E501

import bladerunner_ae.command_line.signals  # noqa: F401  first: signals are one line from here on

# isort: split
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from bladerunner_ae.command_line.app import explain
from bladerunner_ae.command_line.app import run as run_command
from bladerunner_ae.command_line.arguments import parse_output
from bladerunner_ae.errors import UsageError
from bladerunner_ae.evaluation.choice import MAX_FRAMES
from tfrecords import storage
from tfrecords.messages import visible
from tfrecords.storage import Location, location

FILE_NAME = "report.html"
_AFTER_TRAINING = 2_000


def write_report(
    model: Location, records: Sequence[Location], output: Location, max_frames: int = MAX_FRAMES
) -> None:
    """Writes the page of an exported autoencoder.

    Args:
        model: SavedModel, the folder of its versions, or the run folder.
        records: folder of each film's records, at the model's raster.
        output: the page; written whole or not at all, in the place of one that is there.
        max_frames: look at so many frames at most, some of every shot; 0: at all.

    Raises:
        InputError: no such model, or the records have another size than it takes.
        RecordsError: the records are missing or damaged.
    """
    from bladerunner_ae.exports.dreamer import load_dreamer

    _write(load_dreamer(model), records, output, max_frames)


def report_training(
    networks: Any, config: Mapping[str, Any], step: int, records: Sequence[Location], run: Location
) -> None:
    """Writes RUN/report.html at the end of a training, which is not to be lost to it.

    It looks at 2,000 frames at most. Whatever goes wrong becomes one line on stderr.

    Args:
        networks: `Networks` to look at.
        config: `RunConfig.to_json` of the run.
        step: steps done.
        records: folder of each film's records.
        run: run folder.
    """
    try:
        from bladerunner_ae.exports.dreamer import trained_dreamer

        dreamer = trained_dreamer(networks, config, step, run)
        _write(dreamer, records, run / FILE_NAME, _AFTER_TRAINING)
    except Exception as error:  # the trained run is worth more than any of them
        print(f"no {FILE_NAME}: {visible(explain(error)[0])}", file=sys.stderr)


def is_reported(run: Location, step: int) -> bool:
    """Whether RUN/report.html is there and shows this step, not that of an earlier end."""
    from bladerunner_ae.memory_report.page import step_of

    page = run / FILE_NAME
    return storage.is_file(page) and step_of(storage.read_text(page, "replace")) == str(step)


def _write(dreamer: Any, records: Sequence[Location], output: Location, max_frames: int) -> None:
    from bladerunner_ae.memory_report.gather import gather
    from bladerunner_ae.memory_report.page import make_page

    page = make_page(gather(dreamer, records, max_frames))
    storage.make_parent(output)
    storage.write_text(output, page)


def main() -> None:
    """Reads the flags and writes the page."""
    values = flags.FLAGS
    output = parse_output("output", values.output, "HTML", ".html", ".htm")
    assert output is not None, "the flag is required"
    records = [location(folder) for folder in values.data]
    if len(set(map(str, records))) < len(records):
        raise UsageError("--data: names a folder twice")
    write_report(location(values.model), records, output, values.max_frames)
    print(output)


def cli() -> None:
    """Entry point: `python -m bladerunner_ae.report`."""
    flags.DEFINE_string(
        "model", None, "SavedModel, folder of its versions, or run folder.", required=True
    )
    flags.DEFINE_multi_string(
        "data", None, "Folder of a film's records (DATA/<film>); may be repeated.", required=True
    )
    flags.DEFINE_string("output", FILE_NAME, "HTML file to write.")
    flags.DEFINE_integer(
        "max_frames", MAX_FRAMES, "Look at so many frames at most, over all films, some of every "
        "shot; 0: at all.", lower_bound=0,
    )  # fmt: skip
    run_command(main, less_memory="a smaller --max_frames takes less")


if __name__ == "__main__":
    cli()
