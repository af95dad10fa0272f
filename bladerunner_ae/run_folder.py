"""The run folder: what a run was asked to do, written before it starts, checked when it resumes."""

import dataclasses
import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bladerunner_ae
from bladerunner_ae import config as configuration
from bladerunner_ae.config import ModelConfig, TrainConfig
from bladerunner_ae.errors import BladerunnerError, InputError, OutputError
from tfrecords import storage
from tfrecords.errors import RecordsError
from tfrecords.lock import FileLock
from tfrecords.storage import Location

CONFIG_NAME = "config.json"
# What may change between one start and the next of the same run: how often it reports, how long
# it goes on, and the warm-up, which is cut to a third of a short run.
_FREE = ("steps", "warmup_steps", "checkpoint_every", "sample_every", "log_every")


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run's weights.

    Attributes:
        preset: name the rest started from.
        objective: name in `objectives.REGISTRY`.
        weights: the objective's weights, all of them.
        model, train: see `config`.
        film: {"name", "film_id", "frames"} of the records.
        held_out: [[first frame, frame after the last]] kept from training.
    """

    preset: str
    objective: str
    weights: dict[str, float]
    model: ModelConfig
    train: TrainConfig
    film: dict[str, Any]
    held_out: list[list[int]]

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
        return cls(**kept)

    def differences(self, other: "RunConfig") -> list[str]:
        """In which points `other`, an earlier run, differs from this one: "seed: 0 -> 1"."""
        found = [
            f"{name}: {getattr(other, name)} -> {getattr(self, name)}"
            for name in ("preset", "objective", "weights", "held_out")
            if getattr(self, name) != getattr(other, name)
        ]
        found += configuration.differences(self.model, other.model)
        found += configuration.differences(self.train, other.train, ignore=_FREE)
        if self.film["film_id"] != other.film["film_id"]:
            found.append(f"film: {other.film['name']} -> {self.film['name']}")
        return found


@contextmanager
def writing(run: Location) -> Iterator[None]:
    """Keeps other processes from writing a run folder meanwhile, and explains a full disk.

    The lock lies beside the folder, because starting over deletes the folder. Remote stores know
    no locks: nothing keeps two processes from writing one remote run.

    Raises:
        RecordsError: another process is writing the run.
        OutputError: the disk became full, or a remote store failed.
    """
    lock = _lock(run)
    try:
        yield
    except (BladerunnerError, RecordsError):
        raise
    except Exception as error:
        # TensorFlow has errors of its own for it, which all quote the operating system.
        if os.strerror(errno.ENOSPC) in str(error):
            raise OutputError(
                f"{run}: the disk is full; free some space and run the same command again"
            ) from error
        if reason := storage.failure(error):
            raise OutputError(
                f"{run}: the remote store failed ({reason}); run the same command again"
            ) from error
        raise
    finally:
        if lock is not None:
            lock.release()


def _lock(run: Location) -> FileLock | None:
    if not isinstance(run, Path):
        return None
    run = run.resolve()
    run.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(run.parent / f".{run.name}.lock", str(run))


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
        raise InputError(f"{path}: {error}; train again with --overwrite") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path}: damaged ({error}); train again with --overwrite") from None


def open_run(run: Location, config: RunConfig, overwrite: bool) -> RunConfig:
    """Makes the run folder, or checks that an existing one is the same run.

    Args:
        run: the folder.
        config: what this start was asked to do.
        overwrite: delete an earlier run and start over.

    Returns:
        `config`, as written.

    Raises:
        InputError: the folder holds another run, or something that is no run.
    """
    if storage.is_file(run):
        raise InputError(f"{run}: is a file, not a folder; choose another --model_dir")
    # What a start that was killed at once may leave behind is no reason to refuse the next.
    if set(storage.names(run)) - {storage.partial(Path(CONFIG_NAME)).name}:
        if storage.is_file(run / CONFIG_NAME) and not overwrite:
            different = config.differences(load_config(run))
            if different:
                raise InputError(
                    f"{run}: holds another run ({'; '.join(different)}); use another --model_dir, "
                    "the same flags as before, or --overwrite to start over"
                )
        elif overwrite and storage.is_file(run / CONFIG_NAME):
            storage.remove_tree(run)
        else:
            raise InputError(f"{run}: not empty and not a run; choose another --model_dir")
    storage.make_directories(run)
    write_json(run / CONFIG_NAME, config.to_json())
    return config


def write_json(path: Location, values: Any) -> None:
    """Writes JSON whole or not at all, so that no half file is ever read."""
    storage.write_text(path, json.dumps(values, indent=2) + "\n")
