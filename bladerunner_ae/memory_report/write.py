"""The report as a file, of an exported model or at the end of a training."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bladerunner_ae.command_line.app import explain
from bladerunner_ae.evaluation.choice import MAX_FRAMES
from tfrecords import storage
from tfrecords.storage import Location
from tfrecords.wording import visible

if TYPE_CHECKING:
    from bladerunner_ae.model.autoencoder import Autoencoder
    from bladerunner_ae.model.networks import Networks

FILE_NAME = "report.html"
_AFTER_TRAINING = 2_000


def write_report(
    model: Location, records: Sequence[Location], output: Location, max_frames: int = MAX_FRAMES
) -> None:
    """Write the page of an exported autoencoder, completely or not at all.

    `model` is a SavedModel, the folder of its versions, or the run folder. At most `max_frames` are
    measured, some of every shot; 0: all.

    Raises:
        InputError: no such model, or the records have another size than it takes.
        RecordsError: the records are missing or damaged.
    """
    from bladerunner_ae.exports.loading import load_autoencoder

    _write(load_autoencoder(model), records, output, max_frames)


def report_training(
    networks: "Networks",
    config: Mapping[str, Any],
    step: int,
    records: Sequence[Location],
    run: Location,
    trained_steps: int | None = None,
) -> None:
    """Write RUN/report.html at the end of a training, from 2,000 frames at most.

    The training must not be lost to it: any failure becomes one line on stderr. `networks` are the
    averages of the weights where training keeps them, `config` is `RunConfig.to_json`, `step` is
    theirs, `trained_steps` how far the run has come, if that is further.
    """
    from bladerunner_ae.exports.model_card import make_model_card

    try:
        card = make_model_card(config, step, trained_steps=trained_steps)
        autoencoder = replace(networks.autoencoder, card=card, run=run)
        _write(autoencoder, records, run / FILE_NAME, _AFTER_TRAINING)
    except Exception as error:  # the trained run is worth more than any report
        print(f"no {FILE_NAME}: {visible(explain(error)[0])}", file=sys.stderr)


def is_reported(run: Location, step: int) -> bool:
    """Whether RUN/report.html exists and shows this step, not that of an earlier end."""
    from bladerunner_ae.memory_report.page import step_of

    page = run / FILE_NAME
    return storage.is_file(page) and step_of(storage.read_text(page, "replace")) == str(step)


def _write(
    autoencoder: "Autoencoder", records: Sequence[Location], output: Location, max_frames: int
) -> None:
    from bladerunner_ae.memory_report.gather import gather
    from bladerunner_ae.memory_report.page import make_page

    page = make_page(gather(autoencoder, records, max_frames))
    storage.make_parent(output)
    storage.write_text(output, page)
