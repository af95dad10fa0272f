"""The files of a run folder: which are the run's, and how a run is started over.

Other files are never touched. Starting over sets the earlier run's files aside, in RUN/.replaced,
until the new run has a checkpoint; if it ends without one, the earlier run is put back, by the next
start at the latest.
"""

import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bladerunner_ae.errors import InputError, UsageError
from tfrecords import storage
from tfrecords.storage import Location

CONFIG_NAME = "config.json"
FLAGS_NAME = "flags.txt"
TIME_NAME = "time.json"
CHECKPOINTS, BEST = "checkpoints", "best"
MEMORY_FIT = "memory_fit"
"""Folder of an unfinished fit of the memory (`training/fit_memory.py`)."""

_ASIDE, _DONE = ".replaced", ".replaced.done"
_FILES, _COMPLETE = "files", "complete"
# The last eight bytes of every table of TensorFlow's (tensorflow/tsl/lib/io/format.h, kTableMagic).
_INDEX_END = (0xDB4775248B80FB57).to_bytes(8, "little")

_SHARD = r"data-\d+-of-\d+"
_OURS = re.compile(
    "|".join(
        (
            r"(config|evaluation|time)\.json|flags\.txt|log\.txt|metrics\.jsonl|report\.html",
            r"(prior|interpolation)\.png",
            rf"{MEMORY_FIT}/[0-9a-f]+-(sample|coordinates|rows)\.(npy|json|partial)",
            r"samples/step-\d+\.png",
            rf"{BEST}/step-\d+\.npz",
            r"checkpoints/checkpoint(\.tmp\w+)?",
            rf"checkpoints/step-\d+\.(index|{_SHARD})(\.tempstate\d+)?",
            rf"checkpoints/step-\d+_temp\w*/[\w-]+\.(index|{_SHARD})(\.tempstate\d+)?",
            r"tensorboard/events\.out\.tfevents\..+",
            r"tensorboard/(latents\.tsv|metadata\.tsv|sprite\.png|projector_config\.pbtxt)",
            r"tensorboard/profiled_steps\.txt",
            r"tensorboard/plugins/profile/[^/]+/[^/]+\.(pb|gz|json)",
            r"export/(autoencoder|encoder|decoder)/(\d+|\.partial[^/]*)/"
            rf"(\w+\.pb|variables/variables\.(index|{_SHARD})(\.tempstate\d+)?|assets/[^/]+"
            r"|assets\.extra/(model_card\.json|README\.md|tf_serving_warmup_requests"
            r"|film_latents\.npz))",
        )
    )
)
_FOLDERS = re.compile(
    rf"{MEMORY_FIT}|"
    r"samples|best|checkpoints(/step-\d+_temp\w*)?|tensorboard(/plugins(/profile(/[^/]+)?)?)?"
    r"|export(/(autoencoder|encoder|decoder)(/(\d+|\.partial[^/]*)(/(variables|assets|assets\.extra)"
    r")?)?)?"
)
# Not moved until the new run's replace them: a folder with a config.json is a run at every moment,
# and `--flagfile=RUN/flags.txt` works again after a kill.
_UNTIL_REPLACED = (CONFIG_NAME, FLAGS_NAME)


def is_run_file(path: str) -> bool:
    """Return whether a run writes a file of this name, relative to its folder, with slashes."""
    folder, _, name = path.rpartition("/")
    if name.startswith(".") and name.endswith(".partial"):  # while `storage` writes it
        path = "/".join(filter(None, (folder, name[1:].removesuffix(".partial"))))
    return _OURS.fullmatch(path) is not None


def run_files(run: Location) -> list[str]:
    """Return the existing files of a run, relative to its folder; refuse its own folders as links.

    A link's target may be another's.
    """
    found = storage.files_below(run)
    for path in found:
        if _FOLDERS.fullmatch(path):
            raise InputError(
                f"{run / path}: is not a folder but a file or a link, which --overwrite does not "
                "follow; remove it, or choose another --model_dir"
            )
    return [path for path in found if is_run_file(path)]


def checkpoint_steps(run: Location) -> list[int]:
    """Return the steps that a run has complete checkpoints of, in order.

    They are found by their files: TensorFlow's list of checkpoints may be lost or name others. It
    writes an index last; a half-written one has its final name from its first byte on and does not
    count.
    """
    folder = run / CHECKPOINTS
    found = (re.fullmatch(r"step-(\d+)\.index", name) for name in storage.names(folder))
    return sorted(int(match[1]) for match in found if match and is_whole(folder / match[0]))


def is_whole(index: Location) -> bool:
    """Return whether a checkpoint's index was written to its end."""
    try:
        with storage.open_for_reading(index) as file:
            file.seek(max(storage.file_size(index) - len(_INDEX_END), 0))
            return file.read() == _INDEX_END
    except FileNotFoundError:  # an old one that a running training has just deleted
        return False


def refuse_to_delete(run: Location, inputs: Iterable[tuple[str, Location]]) -> None:
    """Check that no input, each with the flag that names it, is among the files of a run."""
    if not isinstance(run, Path) or not run.is_dir():
        return
    base = run.resolve()
    ours = [base / path for path in run_files(run) if path not in _UNTIL_REPLACED]
    for flag, path in inputs:
        read = path.resolve() if isinstance(path, Path) else None
        if read is None or base not in read.parents:
            continue
        if any(file == read or read in file.parents for file in ours):
            raise UsageError(
                f"{flag}={path}: belongs to the run in {run}, which is to be started over; copy it "
                "to another place, or choose another --model_dir"
            )


def set_aside(run: Location) -> None:
    """Make room for a new run: move the files of the earlier one, and only them.

    Locally they are kept in RUN/.replaced; see `settle`. Remote stores cannot rename, so there they
    are deleted.
    """
    if not isinstance(run, Path):
        for path in sorted(run_files(run), key=lambda path: path == CONFIG_NAME):
            storage.remove(run / path)
        return
    settle(run)
    waiting = run / _ASIDE / _FILES
    for path in run_files(run):
        target = waiting / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if path in _UNTIL_REPLACED:
            shutil.copy2(run / path, target, follow_symlinks=False)
        else:
            os.rename(run / path, target)
    _remove_empty(run)
    if waiting.exists():
        storage.write_text(run / _ASIDE / _COMPLETE, "")  # from here on, the run is the new one's


def settle(run: Location) -> bool:
    """Decide between a new run and the one set aside for it; return whether that was put back.

    If the new one has a checkpoint, the earlier one's files are deleted; otherwise its own are, and
    the earlier one's are put back. To be called by the owner of the run's lock. If the process is
    killed at any moment, the next call completes what it began.
    """
    if not isinstance(run, Path):
        return False
    aside, done = run / _ASIDE, run / _DONE
    shutil.rmtree(done, ignore_errors=True)
    if not aside.is_dir():
        return False
    waiting, complete = aside / _FILES, aside / _COMPLETE
    if complete.exists():
        if checkpoint_steps(run):
            os.rename(aside, done)  # half deleted under its own name, it would be put back
            shutil.rmtree(done)
            return False
        for path in run_files(run):
            if path not in _UNTIL_REPLACED:
                (run / path).unlink()
        _remove_empty(run)
        complete.unlink()  # from here on, the run's files are the earlier one's
    for path in storage.files_below(waiting):
        (run / path).parent.mkdir(parents=True, exist_ok=True)
        os.replace(waiting / path, run / path)
    shutil.rmtree(aside)
    return True


@contextmanager
def settling(run: Location) -> Iterator[None]:
    """Put an earlier run back if the new one ends, however it does, without a checkpoint."""
    try:
        yield
    finally:
        with suppress(OSError):  # the next start tries again
            if settle(run):
                print(
                    f"{run}: the earlier run was put back, because the new one ended before its "
                    "first checkpoint",
                    file=sys.stderr,
                )


def _remove_empty(run: Path) -> None:
    """Remove the run's own folders that are empty."""
    for folder, _, _ in os.walk(run, topdown=False):
        if _FOLDERS.fullmatch(os.path.relpath(folder, run)):
            with suppress(OSError):
                os.rmdir(folder)
