"""The run folder: its lock, and its configuration, written at the start and checked later."""

import dataclasses
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bladerunner_ae.errors import (
    BladerunnerError,
    InputError,
    OutputError,
    ReplaceableError,
    UsageError,
    system_error,
)
from bladerunner_ae.runs.files import CONFIG_NAME, set_aside, settle
from bladerunner_ae.runs.run_config import RunConfig
from tfrecords import storage
from tfrecords.hidden_names import hidden_path
from tfrecords.lock import FileLock
from tfrecords.storage import Location
from tfrecords.system_failures import is_out_of_memory, system_failure

# Raised by a file that holds something else than a run's configuration; `UsageError` by values that
# no flag may have.
_DAMAGE = (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError,
           UsageError)  # fmt: skip


@contextmanager
def writing(run: Location) -> Iterator[None]:
    """Keep other processes from writing a run folder, and explain errors of the disk.

    The lock is next to the folder, which need not exist. Remote stores have no locks; there
    trainings keep each other out by a file (`working_copy`).
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
    """Return what a person should read in place of an error of a disk; None: it is none."""
    failure = system_failure(error)
    if failure is not None:
        named = "" if failure.path and not _is_in(failure.path, run) else run
        return system_error(error, named)
    missing = isinstance(error, FileNotFoundError) or type(error).__name__ == "NotFoundError"
    if missing and isinstance(run, Path) and not (run / CONFIG_NAME).exists():
        return OutputError(
            f"{run}: was removed or renamed while it was written; put it back and run the same "
            "command again"
        )
    if isinstance(error, OSError) and error.filename and _is_in(error.filename, run):
        return InputError(
            f"{run}: cannot be written ({error.strerror}: {error.filename}); remove what is in "
            "the way, or choose another --model_dir"
        )
    return None


def _is_in(path: Any, run: Location) -> bool:
    return isinstance(run, Path) and run.resolve() in Path(os.fsdecode(path)).resolve().parents


def _lock(run: Location) -> FileLock | None:
    if not isinstance(run, Path):
        return None
    run = run.resolve()
    run.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(hidden_path(run, ".lock"), str(run))


def load_config(run: Location) -> RunConfig:
    """Read RUN/config.json."""
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
    """Raise InputError if a folder without a SavedModel is a run that has not ended."""
    if storage.is_file(path / CONFIG_NAME):
        raise InputError(
            f"{path}: is a run without exported models, which are written at its end; let it "
            "end, or while it is stopped export its newest checkpoint with python -m "
            f"bladerunner_ae.export --model_dir={path}"
        )


def open_run(run: Location, config: RunConfig, overwrite: bool) -> RunConfig:
    """Create the run folder, or check that it holds the same run; return `config` as written.

    `overwrite` starts over: an earlier run's files are kept until this one has a checkpoint
    (`runs/files.py`). All others in the folder stay.
    """
    if storage.is_file(run):
        raise InputError(f"{run}: is a file, not a folder; choose another --model_dir")
    if isinstance(run, Path):
        if run.is_symlink() and not run.exists():
            raise InputError(f"{run}: is a link to nothing; repair it or choose another")
        settle(run)
    # A start that was killed at once may have left this, which is no reason to refuse the next.
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
    """Write JSON whole or not at all, so that no half file is ever read."""
    storage.write_text(path, json.dumps(values, indent=2) + "\n")
