"""Evaluation of an exported autoencoder on a film: figures, baselines, samples, pictures."""

import math
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bladerunner_ae.evaluation import novelty, prior_samples
from bladerunner_ae.evaluation.baselines import fit_baselines, training_frames
from bladerunner_ae.evaluation.choice import (
    MAX_FRAMES,
    Choice,
    choose,
    describe_choice,
    few_frames,
    measured_shots,
)
from bladerunner_ae.evaluation.labels import HELD_OUT, SEEN, conversion_note, frame_labels
from bladerunner_ae.evaluation.measurement import (
    Scope,
    System,
    explained_damage,
    measure,
    stretches,
)
from bladerunner_ae.evaluation.perceptual import missing_perceptual
from bladerunner_ae.evaluation.sheets import (
    INTERPOLATION_NAME,
    PRIOR_NAME,
    interpolation_sheet,
    prior_sheet,
)
from bladerunner_ae.evaluation.summary import summarise
from bladerunner_ae.evaluation.vmaf import ROWS, missing_vmaf
from bladerunner_ae.exports.loading import load_autoencoder
from bladerunner_ae.model.autoencoder import Pictures
from bladerunner_ae.pictures.contact_sheet import make_contact_sheet, spread_frames
from bladerunner_ae.pictures.png import to_png
from bladerunner_ae.pictures.spread import spread
from tfrecords import storage
from tfrecords.card import check_shards, load_card
from tfrecords.frames import read_images
from tfrecords.storage import Location

MODEL = "dream"
_INTERPOLATED, _SHEET_FRAMES = 12, 18


@dataclass(frozen=True)
class EvaluationOptions:
    """Options of an evaluation.

    Attributes:
        batch_size: frames at once; the figures do not depend on it.
        max_frames: measure at most so many frames, some of every shot; 0: all.
        vmaf: measure VMAF if ffmpeg can.
        perceptual: measure perceptual and Frechet distance if the extra [perceptual] is installed.
        baselines: measure the mean frame and principal components too.
        pca: numbers of components to measure; (): as many as a frame has latent numbers.
        pictures: folder for prior.png and interpolation.png, which are replaced.
        contact_sheet: PNG of frames across the film, each next to its dream.
    """

    batch_size: int = 64
    max_frames: int = MAX_FRAMES
    vmaf: bool = True
    perceptual: bool = True
    baselines: bool = True
    pca: tuple[int, ...] = ()
    pictures: Location | None = None
    contact_sheet: Location | None = None


def evaluate_film(
    model: Location, records: Location, options: EvaluationOptions | None = None
) -> dict[str, Any]:
    """Run a film's records through an exported autoencoder; announce the sample on stderr.

    `model` is a SavedModel, the folder of its versions, or the run folder; `records` are at its
    raster. Returns plain JSON values, explained in docs/evaluation.md: {"model", "film", "frames",
    "measured", "every", "sample", "raster", "latent_size", "groups", "baselines", "shots", "prior",
    "notes"}. The groups are "seen" and "held out" for a film of the training, "unseen film" for any
    other; among those held out, "held out, no near copy" and "held out, new" are parts (`novelty`).

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
        self._autoencoder.check_raster(records, self._card)
        self._labels = frame_labels(self._card, self._autoencoder.card)
        self._has_latents = not self._autoencoder.missing_halves
        self._notes: list[str] = []
        if not self._has_latents:
            self._note(f"no latent rate and no samples: {self._autoencoder.missing_halves}")
        self._note(conversion_note(self._card, self._autoencoder.card))
        missing = missing_perceptual() if options.perceptual else ""
        self._note(missing)
        self._perceptual = options.perceptual and not missing

    def _note(self, text: str) -> None:
        if text:
            self._notes.append(text)

    def run(self) -> dict[str, Any]:
        card, options = self._card, self._options
        pieces = stretches(card, self._labels)
        missing = missing_vmaf() if options.vmaf else ""
        self._note(missing)
        vmaf = options.vmaf and not missing
        perceptual = self._perceptual
        choice = self._choose(pieces)
        sample = {
            "description": describe_choice([(choice, card)], vmaf, perceptual),
            "shots": measured_shots(choice, card),
            "of_shots": len(card.shot_starts),
            "vmaf_runs": len(choice.runs) if vmaf else 0,
            "vmaf_frames": sum(end - start for start, end in choice.runs) if vmaf else 0,
            "perceptual_frames": few_frames(choice) if perceptual else 0,
        }
        print(f"measuring {sample['description']}", file=sys.stderr)
        fitted, images = self._training_images()
        if SEEN not in self._labels:
            self._note("no baselines and no samples: the model has not seen this film")
        elif HELD_OUT not in self._labels:
            self._note("no shots were held out: every frame measured is one it has seen")
        latents = self._autoencoder if self._has_latents else None
        scope = Scope(
            systems=self._systems(images),
            labels=self._labels,
            choice=choice,
            latents=latents,
            vmaf=vmaf,
            perceptual=perceptual,
            batch_size=options.batch_size,
        )
        measured = measure(scope, self._records, card)
        summary = summarise(measured, self._labels, pieces, self._new_frames(choice))
        count = int(choice.frames.sum())
        result = {
            "model": str(self._autoencoder.path),
            "film": card.source["name"],
            "frames": card.frames,
            "measured": count,
            "every": math.ceil(card.frames / count),
            "sample": sample,
            "raster": [card.height, card.width],
            "latent_size": self._autoencoder.latent_size,
            "vmaf_rows": ROWS if vmaf else None,
            **summary,
            "prior": self._prior(fitted, images) if self._has_latents else None,
            "notes": self._notes,
        }
        if options.contact_sheet is not None:
            self._write_contact_sheet(options.contact_sheet)
        return result

    def _choose(self, pieces: list[tuple[int, int]]) -> Choice:
        groups = [str(self._labels[start]) for start, _ in pieces]
        choice = choose(pieces, groups, self._card.frames, self._options.max_frames)
        held_out = self._labels == HELD_OUT
        if held_out.any() and not (held_out & choice.frames).any():
            self._note(
                f"none of the {held_out.sum()} frames held out is among the "
                f"{choice.frames.sum()} that were measured; give a larger --max_frames"
            )
        return choice

    def _new_frames(self, choice: Choice) -> dict[str, NDArray[np.bool_]]:
        """Return the measured held-out frames that nothing seen is like, bool [frames] by name."""
        seen, held_out = self._labels == SEEN, self._labels == HELD_OUT
        chosen = np.flatnonzero(held_out & choice.frames)
        if not len(chosen) or not seen.any():
            return {}
        if seen.sum() > novelty.MOST_SEEN:
            self._note("a film too long to look for near copies of held-out frames")
            return {}
        with explained_damage(self._records, self._card):
            images = self._read(chosen.tolist())
            likeness = novelty.nearest_seen(self._records, self._card, images, seen)
        found = {}
        for name, limit in ((novelty.NO_COPY, novelty.COPY_DB), (novelty.NEW, novelty.NEW_DB)):
            found[name] = np.zeros(len(seen), bool)
            found[name][chosen[likeness < limit]] = True
        return found

    def _training_images(self) -> tuple[list[int], Pictures | None]:
        card, seen = self._card, self._labels == SEEN
        if not ((self._options.baselines or self._has_latents) and seen.any()):
            return [], None
        chosen = training_frames(seen, card.height * card.width * 3)
        return chosen, self._read(chosen)

    def _read(self, frames: list[int]) -> Pictures:
        with explained_damage(self._records, self._card):
            return read_images(self._records, self._card, frames)

    def _systems(self, images: Pictures | None) -> dict[str, System]:
        systems: dict[str, System] = {MODEL: self._autoencoder}
        if images is not None and self._options.baselines:
            size = self._autoencoder.latent_size
            sizes = self._options.pca or ((size,) if size else ())
            systems |= {baseline.name: baseline for baseline in fit_baselines(images, sizes)}
        return systems

    def _prior(self, fitted: list[int], images: Pictures | None) -> dict[str, Any] | None:
        if images is None:
            if self._options.pictures is not None:
                drawn = prior_samples.draw_normal(self._autoencoder)
                self._write_pictures(drawn, self._options.pictures)
            return None
        held = np.flatnonzero(self._labels == HELD_OUT)
        some = held[spread(len(held), min(len(held), prior_samples.SAMPLES))]
        shot_of = np.searchsorted(self._card.shot_starts, fitted, side="right")
        film = prior_samples.FilmFrames(images, shot_of, self._read(some.tolist()))
        drawn = prior_samples.draw(self._autoencoder, film)
        if self._options.pictures is not None:
            self._write_pictures(drawn, self._options.pictures)
        scores = prior_samples.prior_scores(self._autoencoder, film, drawn, self._perceptual)
        return {"scores": scores}

    def _write_pictures(self, drawn: prior_samples.Drawn, folder: Location) -> None:
        storage.make_directories(folder)
        storage.write_bytes(folder / PRIOR_NAME, to_png(prior_sheet(drawn)))
        frames, names = self._named_frames(_INTERPOLATED)
        sheet = interpolation_sheet(self._autoencoder, frames, names)
        storage.write_bytes(folder / INTERPOLATION_NAME, to_png(sheet))

    def _write_contact_sheet(self, path: Location) -> None:
        frames, names = self._named_frames(_SHEET_FRAMES)
        dreams = self._autoencoder.reconstruct(frames)
        storage.make_parent(path)
        pairs = list(zip(frames, dreams, names, strict=True))
        storage.write_bytes(path, to_png(make_contact_sheet(pairs)))

    def _named_frames(self, count: int) -> tuple[Pictures, list[str]]:
        """Read frames across the film and their captions."""
        chosen = spread_frames(self._card.shots(), self._card.frames, count)
        return self._read(chosen), [f"frame {index}, {self._labels[index]}" for index in chosen]
