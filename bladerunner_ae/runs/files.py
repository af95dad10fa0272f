"""The files of a run folder: which are the run's, and what becomes of them when it starts over.

Whatever else lies in the folder is the person's, and is never touched. Starting over sets the
earlier run's files aside, in RUN/.replaced, until the new run has a checkpoint; if it ends without
one, the earlier run is put back, by the next start if need be.
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
CHECKPOINTS = "checkpoints"
_ASIDE, _DONE = ".replaced", ".replaced.done"
_FILES, _COMPLETE = "files", "complete"
# The last eight bytes of every table of TensorFlow's (tensorflow/tsl/lib/io/format.h, kTableMagic).
_INDEX_END = (0xDB4775248B80FB57).to_bytes(8, "little")

_SHARD = r"data-\d+-of-\d+"
_OURS = re.compile(
    "|".join(
        (
            r"(config|evaluation)\.json|flags\.txt|log\.txt|metrics\.jsonl|report\.html",
            r"(prior|interpolation)\.png",
            r"samples/step-\d+\.png",
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
    r"samples|checkpoints(/step-\d+_temp\w*)?|tensorboard(/plugins(/profile(/[^/]+)?)?)?"
    r"|export(/(autoencoder|encoder|decoder)(/(\d+|\.partial[^/]*)(/(variables|assets|assets\.extra)"
    r")?)?)?"
)
# Stay where they are until the new run's take their names: a folder with a config.json is a run at
# every moment, and `--flagfile=RUN/flags.txt` works again after a kill.
_UNTIL_REPLACED = (CONFIG_NAME, FLAGS_NAME)


def is_run_file(path: str) -> bool:
    """Returns whether a run writes a file of this name.

    Args:
        path: relative to the run folder, with slashes.
    """
    folder, _, name = path.rpartition("/")
    if name.startswith(".") and name.endswith(".partial"):  # while `storage` writes it
        path = "/".join(filter(None, (folder, name[1:].removesuffix(".partial"))))
    return _OURS.fullmatch(path) is not None


def run_files(run: Location) -> list[str]:
    """Returns the files of a run that are there, relative to its folder.

    Raises:
        InputError: one of the run's own folders is a link, whose target may be anybody's.
    """
    found = storage.files_below(run)
    for path in found:
        if _FOLDERS.fullmatch(path):
            raise InputError(
                f"{run / path}: is no folder but a file or a link, which --overwrite does not "
                "follow; remove it, or choose another --model_dir"
            )
    return [path for path in found if is_run_file(path)]


def checkpoint_steps(run: Location) -> list[int]:
    """Returns the steps that a run has whole checkpoints of, in order.

    They are found by their files: TensorFlow writes an index last, and its list of checkpoints,
    a file of its own, may be lost or name others. An index that a kill left half written does not
    count: it is under its own name from its first byte on.
    """
    folder = run / CHECKPOINTS
    found = (re.fullmatch(r"step-(\d+)\.index", name) for name in storage.names(folder))
    return sorted(int(match[1]) for match in found if match and is_whole(folder / match[0]))


def is_whole(index: Location) -> bool:
    """Returns whether a checkpoint's index was written to its end."""
    try:
        with storage.open_for_reading(index) as file:
            file.seek(max(storage.file_size(index) - len(_INDEX_END), 0))
            return file.read() == _INDEX_END
    except FileNotFoundError:  # an old one that the run which is going on has just deleted
        return False


def refuse_to_delete(run: Location, inputs: Iterable[tuple[str, Location]]) -> None:
    """Checks that nothing that a command reads is among the files of a run.

    Args:
        run: a run folder that is to be started over.
        inputs: the files and folders that are read, each behind the flag that names it.

    Raises:
        UsageError: one is.
    """
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
    """Makes room for a new run: takes the files of the one that is there away, and only them.

    Locally they wait in RUN/.replaced; see `settle`. Remote stores cannot rename, so there they are
    deleted.

    Raises:
        InputError: as `run_files`.
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
    """Decides between a new run and the earlier one that was set aside for it, if one was.

    The new one counts once it has a checkpoint: the earlier one's files are deleted. Until then
    its own are, and the earlier one's are put back. To be called by the owner of the run's lock.
    A process killed at any moment leaves what the next call completes.

    Returns:
        Whether an earlier run was put back.
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
        complete.unlink()  # from here on, what lies in the run is the earlier one's
    for path in storage.files_below(waiting):
        (run / path).parent.mkdir(parents=True, exist_ok=True)
        os.replace(waiting / path, run / path)
    shutil.rmtree(aside)
    return True


@contextmanager
def settling(run: Location) -> Iterator[None]:
    """Puts an earlier run back if the new one ends, however it does, without a checkpoint."""
    try:
        yield
    finally:
        with suppress(OSError):  # the next start tries again
            if settle(run):
                print(
                    f"{run}: the earlier run is there again, because the new one ended before its "
                    "first checkpoint",
                    file=sys.stderr,
                )


def _remove_empty(run: Path) -> None:
    """Removes the run's own folders as far as nothing is left in them."""
    for folder, _, _ in os.walk(run, topdown=False):
        if _FOLDERS.fullmatch(os.path.relpath(folder, run)):
            with suppress(OSError):
                os.rmdir(folder)
