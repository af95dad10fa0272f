"""The configuration of a run: everything that decides its weights, as RUN/config.json holds it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import bladerunner_ae
from bladerunner_ae.errors import InputError
from bladerunner_ae.runs.config import ModelConfig, TrainConfig
from bladerunner_ae.runs.fields import differences, from_json, to_json
from bladerunner_ae.runs.films import FilmUse, conversion_differences

# May change between one start and the next of the same run: how often it reports, how long it
# trains, the warm-up, which is cut to a third of a short run, and what the watchdog does.
_FREE = ("steps", "epochs", "minutes", "length", "warmup_steps", "checkpoint_every",
         "sample_every", "log_every", "evaluate_every", "steps_per_execution", "watchdog",
         "keep", "profile_steps")  # fmt: skip


@dataclass(frozen=True)
class Reading:
    """Order in which frames are seen: "memory" (one shuffle of all) or "streamed" from the shards.

    For `balance` see `tfrecords.mixture.BALANCES`.
    """

    order: str = "memory"
    balance: str = "none"


@dataclass(frozen=True)
class FineTuning:
    """The run whose weights another one begins with (`training/fine_tuning.py`).

    `step` is that of the checkpoint; None until it is loaded.
    """

    run: str
    step: int | None
    refit_linear_path: bool


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run's weights.

    Attributes:
        preset: name the rest started from.
        objective: name in `objectives.REGISTRY`.
        weights: the objective's weights, all of them.
        fine_tune: None: the run begins with new weights.
    """

    preset: str
    objective: str
    weights: dict[str, float]
    model: ModelConfig
    train: TrainConfig
    films: tuple[FilmUse, ...]
    reading: Reading
    fine_tune: FineTuning | None = None

    def to_json(self) -> dict[str, Any]:
        values = to_json(self)
        values["fine_tune"] = values["fine_tune"] or {}
        return {"tool_version": bladerunner_ae.__version__, **values}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "RunConfig":
        """Build what `to_json` gave; ValueError or TypeError if it is damaged."""
        if "film" in values:
            raise InputError("is of an early version")
        kept = {key: value for key, value in values.items() if key != "tool_version"}
        return from_json(cls, {**kept, "fine_tune": kept.get("fine_tune") or None})

    def differences(self, earlier: "RunConfig") -> list[str]:
        """List how this run differs from an earlier one: "seed: 0 -> 1"."""
        found = [
            f"{name}: {getattr(earlier, name)} -> {getattr(self, name)}"
            for name in ("preset", "objective")
            if getattr(self, name) != getattr(earlier, name)
        ]
        if self.objective == earlier.objective:  # else the weights have other names anyway
            found += [
                f"{name}: {earlier.weights.get(name, 'none')} -> {self.weights.get(name, 'gone')}"
                for name in sorted(self.weights.keys() | earlier.weights.keys())
                if self.weights.get(name) != earlier.weights.get(name)
            ]
        found += differences(self.model, earlier.model)
        found += differences(self.train, earlier.train, ignore=_FREE)
        found += _film_differences(self.films, earlier.films)
        for name, flag in (("run", "fine_tune_from"), ("refit_linear_path", "refit_linear_path")):
            ours, theirs = (getattr(c.fine_tune, name, None) for c in (self, earlier))
            if ours != theirs:
                found.append(f"{flag}: {theirs} -> {ours}")
        return found + differences(self.reading, earlier.reading)


def _film_differences(ours: Sequence[FilmUse], theirs: Sequence[FilmUse]) -> list[str]:
    def listed(films: Sequence[FilmUse], name: str) -> str:
        return ", ".join(str(getattr(film, name)) for film in films)

    if listed(ours, "film_id") != listed(theirs, "film_id"):
        what = "film" if len(ours) == len(theirs) == 1 else "films"
        return [f"{what}: {listed(theirs, 'name')} -> {listed(ours, 'name')}"]
    found = []
    if listed(ours, "weight") != listed(theirs, "weight"):
        found.append(f"data_weights: {listed(theirs, 'weight')} -> {listed(ours, 'weight')}")
    for our, their in zip(ours, theirs, strict=True):
        if converted := conversion_differences(our, their):
            found.append(f"{our.name} was converted otherwise: {', '.join(converted)}")
        elif our.held_out != their.held_out:
            which = f"held_out of {our.name}" if len(ours) > 1 else "held_out"
            found.append(f"{which}: {_spans(their)} -> {_spans(our)}")
    return found


def _spans(film: FilmUse) -> str:
    return str([list(span) for span in film.held_out])
