"""The run folder: what a run was asked to do, written before it starts, checked when it resumes."""

import dataclasses
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bladerunner_ae
from bladerunner_ae.errors import (
    BladerunnerError,
    InputError,
    OutputError,
    ReplaceableError,
    UsageError,
    system_error,
)
from bladerunner_ae.runs import config as configuration
from bladerunner_ae.runs.config import ModelConfig, TrainConfig
from bladerunner_ae.runs.files import CONFIG_NAME, set_aside, settle
from bladerunner_ae.runs.films import CONVERSION_KEYS, conversion_differences
from tfrecords import storage
from tfrecords.hidden_names import hidden_path
from tfrecords.lock import FileLock
from tfrecords.storage import Location
from tfrecords.system_failures import is_out_of_memory, system_failure

# What reading a file raises that holds something else than a run's configuration; of values that no
# flag may have either, a `UsageError`.
_DAMAGE = (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError,
           UsageError)  # fmt: skip
# What may change between one start and the next of the same run: how often it reports, how long
# it goes on, the warm-up, which is cut to a third of a short run, and who watches over it.
_FREE = ("steps", "warmup_steps", "checkpoint_every", "sample_every", "log_every",
         "evaluate_every", "steps_per_execution", "watchdog", "profile_steps")  # fmt: skip


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run's weights.

    Attributes:
        preset: name the rest started from.
        objective: name in `objectives.REGISTRY`.
        weights: the objective's weights, all of them.
        model, train: see `config`.
        films: of each film {"name", "film_id", "frames", "conversion", "weight", "held_out"}; for
            the first four see `film_identity`, the weight says how often its frames are seen
            relative to the others', held out are [[first frame, frame after the last]] kept from
            training. Early runs did not write the conversion down.
        reading: {"order": "memory" or "streamed", "balance": "none" or "shots"}; both decide in
            which order frames are seen. Runs of the first version did not write it down.
        fine_tune: {"run", "step", "refit_linear_path"} of the run whose weights this one began
            with (`training/fine_tuning.py`); empty if it began with new ones.
    """

    preset: str
    objective: str
    weights: dict[str, float]
    model: ModelConfig
    train: TrainConfig
    films: list[dict[str, Any]]
    reading: dict[str, str]
    fine_tune: dict[str, Any] = dataclasses.field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        values["model"] = configuration.to_json(self.model)
        values["train"] = configuration.to_json(self.train)
        return {"tool_version": bladerunner_ae.__version__, **values}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "RunConfig":
        """What `to_json` gave; raises `InputError` where it does not fit this version."""
        kept = {key: value for key, value in values.items() if key != "tool_version"}
        kept["model"] = configuration.from_json(ModelConfig, kept.get("model", {}))
        kept["train"] = configuration.from_json(TrainConfig, kept.get("train", {}))
        kept["films"] = films_of(kept)
        check_films(kept["films"])
        kept.setdefault("reading", {})
        for name in ("film", "held_out"):
            kept.pop(name, None)
        unknown = kept.keys() - {field.name for field in dataclasses.fields(cls)}
        if unknown:
            raise InputError(f"does not fit this version: unknown {', '.join(sorted(unknown))}")
        for name, wanted in (
            ("preset", str),
            ("objective", str),
            ("weights", dict),
            ("reading", dict),
            ("fine_tune", dict),
        ):
            if name in kept and not isinstance(kept[name], wanted):
                raise TypeError(f"'{name}' is no {wanted.__name__}")
        if not all(isinstance(weight, int | float) for weight in kept["weights"].values()):
            raise TypeError("'weights' holds something else than numbers")
        if not all(isinstance(value, str) for value in kept["reading"].values()):
            raise TypeError("'reading' holds something else than text")
        return cls(**kept)

    def differences(self, other: "RunConfig") -> list[str]:
        """In which points `other`, an earlier run, differs from this one: "seed: 0 -> 1"."""
        found = [
            f"{name}: {getattr(other, name)} -> {getattr(self, name)}"
            for name in ("preset", "objective")
            if getattr(self, name) != getattr(other, name)
        ]
        if self.objective == other.objective:  # else weights are other ones anyway
            found += [
                f"{name}: {other.weights.get(name, 'none')} -> {self.weights.get(name, 'gone')}"
                for name in sorted(self.weights.keys() | other.weights.keys())
                if self.weights.get(name) != other.weights.get(name)
            ]
        found += configuration.differences(self.model, other.model)
        found += configuration.differences(self.train, other.train, ignore=_FREE)
        found += _film_differences(self.films, other.films)
        for key, flag in (("run", "fine_tune_from"), ("refit_linear_path", "refit_linear_path")):
            ours, theirs = self.fine_tune.get(key), other.fine_tune.get(key)
            if ours != theirs:
                found.append(f"{flag}: {theirs} -> {ours}")
        return found + [
            f"{name}: {other.reading[name]} -> {self.reading[name]}"
            for name in sorted(self.reading.keys() & other.reading.keys())
            if self.reading[name] != other.reading[name]
        ]


def films_of(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns `RunConfig.films` from a run's or a model's JSON, which may know one film only."""
    if "films" in values:
        return [dict(film) for film in values["films"]]
    if "film" not in values:
        return []
    return [{**values["film"], "weight": 1.0, "held_out": values.get("held_out", [])}]


_NEEDED = frozenset({"name", "film_id", "frames", "weight", "held_out"})


def check_films(films: list[dict[str, Any]], needed: frozenset[str] = _NEEDED) -> None:
    """Raises ValueError or TypeError if what is said of films is damaged.

    Args:
        films: what `films_of` gave.
        needed: what must be said of each; the default is what a run needs to be resumed.
    """
    for film in films:
        missing = needed - film.keys()
        if film.get("conversion"):
            missing |= CONVERSION_KEYS - film["conversion"].keys()
        if missing:
            raise ValueError(f"of a film there is no {', '.join(sorted(missing))}")
        texts = film.get("name", ""), film["film_id"]
        numbers = film["frames"], film.get("weight", 1.0)
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("the name of a film is no text")
        if not isinstance(film["frames"], int) or not all(0 < n < 2**53 for n in numbers):
            raise ValueError("the frames or the weight of a film are out of range")
        for first, end in film.get("held_out", ()):
            if not 0 <= first <= end <= film["frames"]:
                raise ValueError("frames held out are not of the film")


def _film_differences(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> list[str]:
    def listed(films: list[dict[str, Any]], key: str) -> str:
        return ", ".join(str(film[key]) for film in films)

    name = "film" if len(ours) == len(theirs) == 1 else "films"
    if [film["film_id"] for film in ours] != [film["film_id"] for film in theirs]:
        return [f"{name}: {listed(theirs, 'name')} -> {listed(ours, 'name')}"]
    found = []
    if [film["weight"] for film in ours] != [film["weight"] for film in theirs]:
        found.append(f"data_weights: {listed(theirs, 'weight')} -> {listed(ours, 'weight')}")
    for our, their in zip(ours, theirs, strict=True):
        if converted := conversion_differences(our, their):
            found.append(f"{our['name']} was converted otherwise: {', '.join(converted)}")
        elif our["held_out"] != their["held_out"]:
            which = f"held_out of {our['name']}" if len(ours) > 1 else "held_out"
            found.append(f"{which}: {their['held_out']} -> {our['held_out']}")
    return found


@contextmanager
def writing(run: Location) -> Iterator[None]:
    """Keeps other processes from writing a run folder, and explains what the disk refuses.

    The lock lies beside the folder, which need not be there yet. Remote stores know no locks:
    nothing keeps two processes from writing one remote run.

    Raises:
        RecordsError: another process is writing the run.
        OutputError: the disk became full, say, or a remote store failed, or the folder is gone.
        InputError: a file of the run cannot be written.
    """
    lock = _lock(run)
    try:
        yield
    except BladerunnerError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        if explained := _explained(error, run):
            raise explained from error
        if reason := storage.failure(error):
            raise OutputError(
                f"{run}: the remote store failed ({reason}); run the same command again"
            ) from error
        raise
    finally:
        if lock is not None:
            lock.release()


def _explained(error: Exception, run: Location) -> BladerunnerError | None:
    """Returns what a person should read in place of an error of a disk; None: it is none."""
    failure = system_failure(error)
    if failure is not None:
        named = "" if failure.path and not _lies_in(failure.path, run) else run
        return system_error(error, named)
    missing = isinstance(error, FileNotFoundError) or type(error).__name__ == "NotFoundError"
    if missing and isinstance(run, Path) and not (run / CONFIG_NAME).exists():
        return OutputError(
            f"{run}: was removed or renamed while it was written; put it back and run the same "
            "command again"
        )
    if isinstance(error, OSError) and error.filename and _lies_in(error.filename, run):
        return InputError(
            f"{run}: cannot be written ({error.strerror}: {error.filename}); remove what is in "
            "the way, or choose another --model_dir"
        )
    return None


def _lies_in(path: Any, run: Location) -> bool:
    return isinstance(run, Path) and run.resolve() in Path(os.fsdecode(path)).resolve().parents


def _lock(run: Location) -> FileLock | None:
    if not isinstance(run, Path):
        return None
    run = run.resolve()
    run.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(hidden_path(run, ".lock"), str(run))


def load_config(run: Location) -> RunConfig:
    """Reads RUN/config.json.

    Raises:
        InputError: the folder is no run, or its file is damaged.
    """
    path = run / CONFIG_NAME
    if not storage.is_file(path):
        storage.explain_missing(run)
        raise InputError(
            f"{run}: not a run folder (it has no {CONFIG_NAME}); give the --model_dir of a run"
        )
    try:
        return RunConfig.from_json(json.loads(storage.read_text(path)))
    except InputError as error:
        raise ReplaceableError(
            f"{path}: {error}; use the version of bladerunner_ae that wrote it, or train again "
            "with --overwrite"
        ) from None
    except _DAMAGE as e:
        raise ReplaceableError(
            f"{path}: damaged ({e}); put a copy of it back, or train again with --overwrite, "
            "which deletes the run"
        ) from None


def refuse_unexported(path: Location) -> None:
    """Raises InputError if a folder that holds no SavedModel is a run, as one before its end."""
    if storage.is_file(path / CONFIG_NAME):
        raise InputError(
            f"{path}: is a run without exported models, which are written at its end; let it go "
            "on, or while it stands still export its newest checkpoint with python -m "
            f"bladerunner_ae.export --model_dir={path}"
        )


def open_run(run: Location, config: RunConfig, overwrite: bool) -> RunConfig:
    """Makes the run folder, or checks that an existing one is the same run.

    Args:
        run: the folder.
        config: what this start was asked to do.
        overwrite: start over in place of an earlier run, whose files wait until this one has a
            checkpoint (`run_files`). All others in the folder stay.

    Returns:
        `config`, as written.

    Raises:
        InputError: the folder holds another run, or something that is no run.
    """
    if storage.is_file(run):
        raise InputError(f"{run}: is a file, not a folder; choose another --model_dir")
    if isinstance(run, Path):
        if run.is_symlink() and not run.exists():
            raise InputError(f"{run}: is a link that leads nowhere; mend it or choose another")
        settle(run)
    # What a start that was killed at once may leave behind is no reason to refuse the next.
    if set(storage.names(run)) - {storage.partial(Path(CONFIG_NAME)).name}:
        if storage.is_file(run / CONFIG_NAME) and not overwrite:
            earlier = load_config(run)
            different = config.differences(earlier)
            if different:
                raise ReplaceableError(
                    f"{run}: holds another run ({'; '.join(different)}); use another --model_dir, "
                    "the same flags and records as before, or --overwrite to start over"
                )
            config = dataclasses.replace(config, fine_tune=earlier.fine_tune)
        elif overwrite and storage.is_file(run / CONFIG_NAME):
            set_aside(run)
        else:
            raise InputError(f"{run}: not empty and not a run; choose another --model_dir")
    storage.make_directories(run)
    write_json(run / CONFIG_NAME, config.to_json())
    return config


def write_json(path: Location, values: Any) -> None:
    """Writes JSON whole or not at all, so that no half file is ever read."""
    storage.write_text(path, json.dumps(values, indent=2) + "\n")
