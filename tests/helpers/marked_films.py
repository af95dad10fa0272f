"""Films whose pixels tell their frame, whatever a reader says, to see which reach a training."""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from bladerunner_ae.runs.folder import open_run
from bladerunner_ae.runs.run_config import RunConfig
from bladerunner_ae.training import fit as training
from bladerunner_ae.training.trainer import Trainer
from tests.helpers.small_records import FILM_ID, write_pictures
from tests.helpers.tiny_training import FEW_LAYERS, tiny_flags, tiny_run
from tfrecords.card import save_card

Mark = tuple[int, int]
"""(place of the film, number of the frame in it)."""

SHOTS = ((7, 12, 5, 9, 11, 6, 10), (20, 8, 13, 19))
FILM_IDS = (FILM_ID, "fedcba9876543210")


def write_marked_film(folder: Path, place: int = 0, shots: Sequence[int] = ()) -> Path:
    """Write lossless records of 24x32 whose red is the frame's number, and green the film's.

    `shots` are the frames of each shot, 255 in all at most; by default `SHOTS` of that place.
    """
    shots = shots or SHOTS[place]
    frames = [np.full((24, 32, 3), (n, 100 + place, 0), np.uint8) for n in range(sum(shots))]
    card = write_pictures(folder, frames, 4, "png", FILM_IDS[place])
    starts = [0, *itertools.accumulate(shots[:-1])]
    save_card(folder, dataclasses.replace(card, shot_starts=starts))
    return folder


def marks(images: Iterable[Any]) -> list[Mark]:
    """Return which frames pictures are, uint8 [24, 32, 3] each."""
    return [(int(image[12, 16, 1]) - 100, int(image[12, 16, 0])) for image in images]


def divided(config: RunConfig) -> tuple[set[Mark], set[Mark]]:
    """Return the frames that a run may learn from, and those that it must not."""
    kept: set[Mark] = set()
    held: set[Mark] = set()
    for place, film in enumerate(config.films):
        outside = {n for start, end in film.held_out for n in range(start, end)}
        held |= {(place, n) for n in outside}
        kept |= {(place, n) for n in range(film.frames) if n not in outside}
    assert held and len(held) < len(kept), "or there is nothing to see"
    return kept, held


def check_learnt_from(found: Iterable[Mark], config: RunConfig, whole: bool = True) -> None:
    """Check that frames are a run's training frames, and if `whole`, that all of them are there."""
    kept, held = divided(config)
    found = set(found)
    leaked = sorted(found & held)
    assert not leaked, f"held out frames were learnt from: {leaked}"
    assert found <= kept, f"unknown frames: {sorted(found - kept)}"
    missing = sorted(kept - found)
    assert not (whole and missing), f"frames were never learnt from: {missing}"


class _Watching(Trainer):
    """Takes no step; only looks at what it would have learnt from."""

    seen: list[Mark]

    def fit(self, batches: tf.data.Dataset, steps_per_epoch: int, **_: Any) -> None:
        found = itertools.islice(batches, steps_per_epoch)
        self.seen = [mark for batch in found for mark in marks(batch["image"].numpy())]


@contextmanager
def _fitted() -> Iterator[list[Mark]]:
    """Give the frames that the linear path is fitted to meanwhile, in place of fitting it."""
    found: list[Mark] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "Trainer", _Watching)
        patch.setattr(
            training, "initialise_linear_path", lambda *arguments: found.extend(marks(arguments[2]))
        )
        yield found


def marked_run(folder: Path, films: int = 1, **flags: Any) -> tuple[RunConfig, list[Path]]:
    """Return the configuration and records of a training of 60 steps with these flags."""
    records = [folder / f"film{place}" for place in range(films)]
    for place, directory in enumerate(records):
        if not directory.exists():
            write_marked_film(directory, place)
    wanted = {"data": records, "steps": 60, "holdout": 0.2, **FEW_LAYERS, **flags}
    return tiny_run(tiny_flags(records[0], folder / "run", **wanted)), records


def watch_training(
    config: RunConfig, records: list[Path], run: Path, start: int = 0, service: str = ""
) -> tuple[list[Mark], list[Mark]]:
    """Return the frames that a run learns from `start` on, and those of its linear path."""
    open_run(run, config, overwrite=False)
    with _fitted() as fitted:
        trainer = training.build_trainer(config)
        training.fit(trainer, config, records, run, start, service)
    return trainer.seen, fitted  # type: ignore[attr-defined]
