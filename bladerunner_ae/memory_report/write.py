"""The report as a file: of an exported model, or at the end of a training."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from bladerunner_ae.command_line.app import explain
from bladerunner_ae.evaluation.choice import MAX_FRAMES
from tfrecords import storage
from tfrecords.messages import visible
from tfrecords.storage import Location

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
