"""A film's records through an exported autoencoder: all figures, baselines, samples, pictures."""

import math
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bladerunner_ae.errors import InputError
from bladerunner_ae.evaluation import prior_samples
from bladerunner_ae.evaluation.baselines import fit_baselines, training_frames
from bladerunner_ae.evaluation.choice import (
    MAX_FRAMES,
    Choice,
    choose,
    describe_choice,
    measured_shots,
)
from bladerunner_ae.evaluation.labels import HELD_OUT, SEEN, conversion_note, frame_labels
from bladerunner_ae.evaluation.measurement import (
    Plan,
    System,
    explained_damage,
    measure,
    stretches,
)
from bladerunner_ae.evaluation.sheets import (
    INTERPOLATION_NAME,
    PRIOR_NAME,
    interpolation_sheet,
    prior_sheet,
)
from bladerunner_ae.evaluation.summary import summarise
from bladerunner_ae.evaluation.vmaf import ROWS, missing_vmaf
from bladerunner_ae.exports.loading import Autoencoder, load_autoencoder
from bladerunner_ae.exports.model_card import load_model_card
from bladerunner_ae.model.autoencoder import LatentModel, load_latent_model
from bladerunner_ae.pictures.contact_sheet import spread_frames
from bladerunner_ae.pictures.png import to_png
from tfrecords import storage
from tfrecords.card import FilmCard, check_shards, load_card
from tfrecords.frames import read_images
from tfrecords.storage import Location

MODEL = "dream"
_INTERPOLATED = 12


@dataclass(frozen=True)
class EvaluationOptions:
    """What to measure.

    Attributes:
        batch_size: frames at once; the figures do not depend on it.
        max_frames: measure at most so many frames, some of every shot; 0: all.
        vmaf: whether to measure VMAF where ffmpeg can.
        baselines: whether to measure the mean frame and principal components too.
        pictures: folder for prior.png and interpolation.png, which are replaced; None: none.
    """

    batch_size: int = 64
    max_frames: int = MAX_FRAMES
    vmaf: bool = True
    baselines: bool = True
    pictures: Location | None = None


def evaluate_film(
    model: Location, records: Location, options: EvaluationOptions | None = None
) -> dict[str, Any]:
    """Runs a film's records through an exported autoencoder.

    Says on stderr what it is going to measure.

    Args:
        model: SavedModel, the folder of its versions, or the run folder.
        records: folder of a film's records at the model's raster.
        options: what to measure.

    Returns:
        Plain JSON values, explained in docs/evaluation.md: {"model", "film", "frames", "measured",
        "every", "sample", "raster", "latent_size", "groups", "baselines", "shots", "prior",
        "notes"}. The groups' labels are "seen" and "held out" for a film the model was trained on,
        "unseen film" for any other.

    Raises:
        InputError: no such model, or the records have another size than it takes.
        RecordsError: the records are missing or damaged.
        OutputError: VMAF could not be measured, or pictures could not be written.
    """
    return _Evaluation(model, records, options or EvaluationOptions()).run()


class _Evaluation:
    def __init__(self, model: Location, records: Location, options: EvaluationOptions) -> None:
        self._records, self._options = records, options
        self._card = load_card(records)
        check_shards(records, self._card)
        self._autoencoder = load_autoencoder(model)
        _check_raster(self._autoencoder, records, self._card)
        model_card = load_model_card(self._autoencoder.path)
        self._labels = frame_labels(self._card, model_card)
        self._latents, reason = load_latent_model(self._autoencoder.path)
        self._notes = [f"no latent rate and no samples: {reason}"] if reason else []
        self._notes += filter(None, [conversion_note(self._card, model_card)])

    def run(self) -> dict[str, Any]:
        card, options = self._card, self._options
        pieces = stretches(card, self._labels)
        vmaf = self._measures_vmaf()
        choice = self._choose(pieces)
        sample = _sample(choice, card, vmaf)
        print(f"measuring {sample['description']}", file=sys.stderr)
        fitted, images = self._training_images()
        if SEEN not in self._labels:
            self._notes.append("no baselines and no samples: the model has not seen this film")
        elif HELD_OUT not in self._labels:
            self._notes.append("no shots were held out: every frame measured is one it has seen")
        plan = Plan(
            systems=self._systems(images),
            labels=self._labels,
            choice=choice,
            latents=self._latents,
            vmaf=vmaf,
            batch_size=options.batch_size,
        )
        measured = measure(plan, self._records, card)
        summary = summarise(measured, self._labels, pieces)
        count = int(choice.frames.sum())
        return {
            "model": str(self._autoencoder.path),
            "film": card.source["name"],
            "frames": card.frames,
            "measured": count,
            "every": math.ceil(card.frames / count),
            "sample": sample,
            "raster": [card.height, card.width],
            "latent_size": self._latents.size if self._latents else None,
            "vmaf_rows": ROWS if plan.vmaf else None,
            **summary,
            "prior": self._prior(fitted, images),
            "notes": self._notes,
        }

    def _choose(self, pieces: list[tuple[int, int]]) -> Choice:
        groups = [str(self._labels[start]) for start, _ in pieces]
        choice = choose(pieces, groups, self._card.frames, self._options.max_frames)
        held_out = self._labels == HELD_OUT
        if held_out.any() and not (held_out & choice.frames).any():
            self._notes.append(
                f"none of the {held_out.sum()} frames held out is among the "
                f"{choice.frames.sum()} that were measured; give a larger --max_frames"
            )
        return choice

    def _training_images(self) -> tuple[list[int], NDArray[np.uint8] | None]:
        """(numbers, pictures) of the training frames that things are fitted to."""
        card = self._card
        seen = self._labels == SEEN
        wanted = self._options.baselines or self._latents is not None
        if not (wanted and seen.any()):
            return [], None
        chosen = training_frames(seen, card.height * card.width * 3)
        return chosen, self._read(chosen)

    def _read(self, frames: list[int]) -> NDArray[np.uint8]:
        with explained_damage(self._records, self._card):
            return read_images(self._records, self._card, frames)

    def _systems(self, images: NDArray[np.uint8] | None) -> dict[str, System]:
        systems: dict[str, System] = {MODEL: self._autoencoder}
        if images is not None and self._options.baselines:
            size = self._latents.size if self._latents else None
            systems |= {baseline.name: baseline for baseline in fit_baselines(images, size)}
        return systems

    def _measures_vmaf(self) -> bool:
        missing = missing_vmaf() if self._options.vmaf else ""
        if missing:
            self._notes.append(missing)
        return self._options.vmaf and not missing

    def _prior(self, fitted: list[int], images: NDArray[np.uint8] | None) -> dict[str, Any] | None:
        if self._latents is None:
            return None
        if images is None:
            if self._options.pictures is not None:
                self._write_pictures(
                    self._latents, prior_samples.draw_normal(self._latents), self._options.pictures
                )
            return None
        card = self._card
        held = np.flatnonzero(self._labels == HELD_OUT)
        held_out = self._read(held[prior_samples.spread(len(held), prior_samples.SAMPLES)].tolist())
        shot_of = np.searchsorted(card.shot_starts, fitted, side="right")
        film = prior_samples.FilmFrames(images, shot_of, held_out)
        drawn = prior_samples.draw(self._latents, film)
        if self._options.pictures is not None:
            self._write_pictures(self._latents, drawn, self._options.pictures)
        return {"scores": prior_samples.prior_scores(self._latents, film, drawn)}

    def _write_pictures(
        self, latents: LatentModel, drawn: prior_samples.Drawn, folder: Location
    ) -> None:
        card = self._card
        storage.make_directories(folder)
        storage.write_bytes(folder / PRIOR_NAME, to_png(prior_sheet(drawn)))
        chosen = spread_frames(card.shots(), card.frames, _INTERPOLATED)
        names = [f"frame {index}, {self._labels[index]}" for index in chosen]
        sheet = interpolation_sheet(latents, self._read(chosen), names)
        storage.write_bytes(folder / INTERPOLATION_NAME, to_png(sheet))


def _sample(choice: Choice, card: FilmCard, vmaf: bool) -> dict[str, Any]:
    """What is measured, as JSON values."""
    return {
        "description": describe_choice([(choice, card)], vmaf),
        "shots": measured_shots(choice, card),
        "of_shots": len(card.shot_starts),
        "vmaf_runs": len(choice.runs) if vmaf else 0,
        "vmaf_frames": sum(end - start for start, end in choice.runs) if vmaf else 0,
    }


def _check_raster(autoencoder: Autoencoder, records: Location, card: FilmCard) -> None:
    height, width = autoencoder.raster
    if (height, width) != (card.height, card.width):
        raise InputError(
            f"{records}: frames are {card.height}x{card.width} but the model takes "
            f"{height}x{width}; convert the film with --height={height} --width={width}"
        )
