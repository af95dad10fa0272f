"""A run folder in a bucket, worked on in a local folder and sent after every checkpoint.

Everything that writes a run appends, renames and locks, and a bucket does none of these. So the run
is fetched, continued in a folder of the spool, and sent: at every moment the bucket holds a run
that another machine can resume. A local folder that a stopped process has left is resumed from if
it is of this run and has a later checkpoint than the bucket, and else deleted.

`.writer.json` in the run folder says who writes it. Its owner changes it every few seconds; the
same number for longer than that means that its owner is dead. No clocks are compared.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from bladerunner_ae.errors import BladerunnerError, InputError, OutputError
from bladerunner_ae.runs.files import (
    BEST,
    CHECKPOINTS,
    CONFIG_NAME,
    FLAGS_NAME,
    TIME_NAME,
    checkpoint_steps,
    is_run_file,
)
from tfrecords import local_copies, remote_files, storage
from tfrecords.hidden_names import hidden_path
from tfrecords.lock import FileLock
from tfrecords.record_errors import ConnectionLostError, RecordsError, StorageError
from tfrecords.storage import Location, RemotePath

_WRITER = ".writer.json"
_BEAT_SECONDS = 15.0
_TRIES, _PAUSE_SECONDS = 3, 5.0
# Only ever added to, and large together: they stay in the bucket.
_NOT_FETCHED = re.compile(r"samples/.*|tensorboard/(events\.out|plugins/).*|export/.*/variables/.*")
# What a run consists of, in the order of sending. Logs come before the checkpoint that they belong
# to, because a run drops the lines after its checkpoint but cannot make up for missing ones; a
# checkpoint's index is what makes it one, and the list of checkpoints names only what is there.
_ORDER = (
    rf"{re.escape(CONFIG_NAME)}|{re.escape(FLAGS_NAME)}",
    rf"[^/]+\.(jsonl|txt)|{re.escape(TIME_NAME)}|{BEST}/.*",
    rf"{CHECKPOINTS}/.*\.data-.*",
    rf"{CHECKPOINTS}/.*\.index",
    rf"{CHECKPOINTS}/.*",
    r".*(?<!/saved_model\.pb)",
    r".*",  # a folder is a SavedModel once it holds this file
)


class WorkingCopy:
    """The local folder of a run, and its way to the bucket; of a local run, that run itself."""

    def __init__(self, run: Location) -> None:
        self._run = run
        self._folder = run if isinstance(run, Path) else _folder_for(run)
        self._sent: dict[str, tuple[int, int]] = {}
        self._known: set[str] = set()
        self._replaced = False
        self._writer: _Writer | None = None

    @contextmanager
    def opened(self, overwrite: bool = False) -> Iterator[Path]:
        """Give the local folder; when the block ends well, all of it has been sent.

        With `overwrite` a new run takes the place of the one in the bucket, which stays there until
        the first sending.
        """
        if not isinstance(self._run, RemotePath):
            yield Path(self._folder)
            return
        with self._naming_the_run():
            self._folder.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(hidden_path(self._folder, ".copy"), str(self._run))
            try:
                self._writer = _Writer(self._run)
                with self._writer.writing():
                    self._fetch(overwrite)
                    yield self._folder
                    self.send(last=True)
                shutil.rmtree(self._folder, ignore_errors=True)
            finally:
                lock.release()

    @property
    def remote(self) -> bool:
        """Whether there is anything to send."""
        return isinstance(self._run, RemotePath)

    def place_of(self, path: Location) -> Location:
        """Return where a file of the local folder belongs."""
        if isinstance(self._run, Path) or isinstance(path, RemotePath):
            return path
        return self._run / path.relative_to(self._folder).as_posix()

    def send(self, last: bool = False) -> None:
        """Send what is new, then remove what is gone.

        A lost connection is told in a line, and the next call sends the rest; after the `last` it
        is an error, after some tries.
        """
        if isinstance(self._run, Path) or self._writer is None:
            return
        tries = _TRIES if last else 1
        while True:
            tries -= 1
            try:
                self._send(self._run)
                return
            except ConnectionLostError as error:
                if last and not tries:
                    raise
                print(f"not sent, which is tried again: {error}", file=sys.stderr)
                if not last:
                    return
                time.sleep(_PAUSE_SECONDS)

    def _send(self, run: RemotePath) -> None:
        assert self._writer is not None
        self._writer.check()
        there = {
            path: stamp
            for path in filter(is_run_file, storage.files_below(self._folder))
            # Temporary files have hidden names; a picture's may be gone already.
            if "/." not in f"/{path}" and (stamp := _stamp(self._folder / path))
        }
        if self._replaced:  # or a new run would resume from the old one's checkpoints
            folders = (f"{CHECKPOINTS}/", f"{BEST}/")
            self._remove(run, (path for path in self._known if path.startswith(folders)))
            self._replaced = False
        for path in sorted(there, key=lambda path: (_rank(path), path)):
            if self._sent.get(path) != there[path]:
                storage.copy_to_remote(self._folder / path, run / path)
                self._sent[path] = there[path]
                self._known.add(path)
        self._remove(run, self._known - there.keys())

    def _remove(self, run: RemotePath, paths: Iterable[str]) -> None:
        for path in sorted(paths, key=lambda path: (not path.endswith(".index"), path)):
            storage.remove(run / path)
            self._known.discard(path)
            self._sent.pop(path, None)

    def _fetch(self, overwrite: bool) -> None:
        """Fill the local folder with what a start needs of the run in the bucket."""
        assert isinstance(self._run, RemotePath)
        found = set(remote_files.files_below(self._run.url)) - {_WRITER}
        if found and CONFIG_NAME not in found:
            raise InputError(f"{self._run}: not empty and not a run; choose another --model_dir")
        ours = set(filter(is_run_file, found))
        if not overwrite and self._is_ahead():
            print(f"{self._run}: resuming from {self._folder}, not all sent", file=sys.stderr)
            self._known = {path for path in ours if not _NOT_FETCHED.fullmatch(path)}
            return
        shutil.rmtree(self._folder, ignore_errors=True)
        if overwrite:
            self._known, self._replaced = ours, bool(ours)
            wanted = ours & {CONFIG_NAME, FLAGS_NAME}
        else:
            wanted = {path for path in ours if not _NOT_FETCHED.fullmatch(path)}
            self._known = set(wanted)
        for path in sorted(wanted):
            target = self._folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with storage.open_for_reading(self._run / path) as file, target.open("wb") as local:
                shutil.copyfileobj(file, local, storage.READ_BYTES)
            if stamp := _stamp(target):
                self._sent[path] = stamp

    def _is_ahead(self) -> bool:
        """Whether a stopped process left later steps of this very run that could not be sent."""
        local = checkpoint_steps(self._folder)
        if not local or local[-1] <= max(checkpoint_steps(self._run), default=-1):
            return False
        configs = [folder / CONFIG_NAME for folder in (self._folder, self._run)]
        if not all(map(storage.is_file, configs)):
            return False
        ours, theirs = map(storage.read_bytes, configs)
        return ours == theirs

    @contextmanager
    def _naming_the_run(self) -> Iterator[None]:
        """Have errors name the run as the person did."""
        try:
            yield
        except (BladerunnerError, RecordsError) as error:
            error.args = tuple(
                text.replace(str(self._folder), str(self._run)) if isinstance(text, str) else text
                for text in error.args
            )
            raise


def _folder_for(run: RemotePath) -> Path:
    name = hashlib.sha256(run.url.encode()).hexdigest()[:16]
    return local_copies.folder().absolute() / "runs" / name / run.name


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_size, found.st_mtime_ns


def _rank(path: str) -> int:
    return next(rank for rank, pattern in enumerate(_ORDER) if re.fullmatch(pattern, path))


class _Writer:
    """The claim of this process on a run in a bucket."""

    def __init__(self, run: RemotePath) -> None:
        self._run, self._path = run, run / _WRITER
        self._claim: dict[str, Any] = {
            "host": socket.gethostname(), "process": os.getpid(), "token": uuid4().hex, "beat": 0
        }  # fmt: skip
        self._over, self._lost = threading.Event(), ""

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the claim; refuse if another process holds it."""
        if self._run.url.startswith("hf:"):  # where every change is a commit for ever
            yield
            return
        if other := self._other():
            self._refuse_living(other)
        self._beat()
        keeper = threading.Thread(target=self._keep, daemon=True)
        keeper.start()
        try:
            yield
        finally:
            self._over.set()
            keeper.join()
            with suppress(StorageError):
                if self._other() is None:
                    storage.remove(self._path)

    def check(self) -> None:
        """Raise OutputError if another process has taken the run over."""
        if self._lost:
            raise OutputError(
                f"{self._run}: {self._lost} writes it now; wait for that to end, and run the same "
                "command again"
            )

    def _refuse_living(self, other: dict[str, Any]) -> None:
        if other.get("host") == self._claim["host"] and not _is_alive(other.get("process")):
            return
        print(f"{self._run}: {_who(other)} was writing it; watching whether it still does",
              file=sys.stderr)  # fmt: skip
        time.sleep(2.5 * _BEAT_SECONDS)
        if self._other() not in (other, None):
            raise InputError(
                f"{self._run}: {_who(other)} is writing it; wait for it to end or stop it"
            )

    def _keep(self) -> None:
        while not self._over.wait(_BEAT_SECONDS):
            with suppress(StorageError):  # the next sending will say so
                self._beat()

    def _beat(self) -> None:
        if self._claim["beat"] and (other := self._other()):
            self._lost = _who(other)
            return
        self._claim["beat"] += 1
        storage.write_text(self._path, json.dumps(self._claim) + "\n")

    def _other(self) -> dict[str, Any] | None:
        """The claim of another process, if there is one."""
        try:
            found = json.loads(storage.read_text(self._path, "replace"))
        except (FileNotFoundError, ValueError, RecursionError):
            return None
        mine = not isinstance(found, dict) or found.get("token") == self._claim["token"]
        return None if mine else found


def _who(claim: dict[str, Any]) -> str:
    return f"process {claim.get('process')} on {claim.get('host')}"


def _is_alive(process: object) -> bool:
    if not isinstance(process, int) or process <= 0:
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True
