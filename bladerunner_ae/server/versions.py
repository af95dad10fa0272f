"""Versions of models: found, loaded, warmed up and unloaded while the server runs.

A new version takes over when it is loaded and warm; until then the old one answers, and after that
it is unloaded as soon as its last request is answered. One that cannot be loaded is reported in one
line and left alone until its files change. The last version that works is kept even if its folder
is removed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field

from bladerunner_ae.server import saved_model
from bladerunner_ae.server.metrics import Metrics
from bladerunner_ae.server.model_folders import ModelFolder, Stamp, stamp
from bladerunner_ae.server.saved_model import SavedModel, warm_up
from bladerunner_ae.server.serving_errors import (
    Code,
    ServingError,
    from_exception,
    invalid,
    not_found,
)
from tfrecords.storage import Location
from tfrecords.wording import first_line

NEWEST = "newest"
ALL = "all"
Say = Callable[[str], None]


@dataclass(eq=False)
class Version:
    """Loaded version of `model`.

    `stamp` is of its files when it was loaded, `users` are the requests that use it, and `retired`
    has it closed after the last of them.
    """

    model: str
    number: int
    saved_model: SavedModel
    stamp: Stamp
    users: int = 0
    retired: bool = False

    @property
    def types(self) -> dict[str, Mapping[str, int]]:
        """Inputs of each signature, name to DataType."""
        return {name: one.inputs for name, one in self.saved_model.signatures.items()}

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep it open; for the thread of the event loop, as all here."""
        self.users += 1
        try:
            yield
        finally:
            self.users -= 1
            self._close_if_done()

    def retire(self) -> None:
        """Close it once no request uses it."""
        self.retired = True
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self.retired and not self.users:
            self.saved_model.close()


@dataclass(frozen=True)
class State:
    """State of a version: START, LOADING, AVAILABLE, UNLOADING or END, and the reason."""

    name: str
    code: Code = Code.OK
    message: str = ""


@dataclass
class ServedModel:
    """Model and its versions; for the thread of the event loop.

    Attributes:
        wanted: "newest", "all", or numbers.
        labels: other names of versions, which are served as well.
        loaded: the versions that answer.
        states: of every version that was ever seen.
    """

    folder: ModelFolder
    wanted: str | tuple[int, ...]
    labels: Mapping[str, int]
    loaders: Executor
    metrics: Metrics
    most_values: int
    say: Say
    loaded: dict[int, Version] = field(default_factory=dict)
    states: dict[int, State] = field(default_factory=dict)
    _failed: dict[int, Stamp] = field(default_factory=dict)
    _said: dict[int, str] = field(default_factory=dict)
    _gone: bool = False

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def newest(self) -> Version | None:
        """Version that answers requests that name none."""
        return self.loaded[max(self.loaded)] if self.loaded else None

    def absent(self) -> list[int]:
        """Return the versions wanted by number or label that are missing."""
        asked = set(self.labels.values())
        if not isinstance(self.wanted, str):
            asked.update(self.wanted)
        return sorted(asked - set(self.folder.versions()))

    async def poll(self) -> None:
        """Inspect the folder, load new versions and unload those that are no longer wanted."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self.loaders, self.folder.versions)
        if not found:
            if self.loaded and not self._gone and self.newest:
                self.say(
                    f"{self.folder.path}: holds no version any more; version {self.newest.number} "
                    "is still served"
                )
            self._gone = True
            return
        self._gone = False
        kept = await self._load(found)
        for number in sorted(set(self.loaded) - kept) if kept else ():
            self._unload(number)

    async def _load(self, found: Mapping[int, Location]) -> set[int]:
        """Load the wanted versions; return those that stay."""
        labelled = set(self.labels.values())
        kept: set[int] = set()
        for number in sorted(found, reverse=True):
            if self.wanted == NEWEST:
                wanted = not kept or number in labelled  # newer ones have had their turn
            else:
                wanted = self.wanted == ALL or number in self.wanted or number in labelled
            if wanted and await self._load_one(number, found[number]):
                kept.add(number)
        return kept

    async def _load_one(self, number: int, folder: Location) -> bool:
        """Load a version, unless it is; return whether it is loaded now."""
        loop = asyncio.get_running_loop()
        files = await loop.run_in_executor(self.loaders, stamp, folder)
        before = self.loaded.get(number)
        if before and (before.stamp == files or self._failed.get(number) == files):
            return True
        if self._failed.get(number) == files:
            return False
        if not before:
            self.states[number] = State("LOADING")
        start = time.monotonic()
        try:
            model = await loop.run_in_executor(self.loaders, self._load_and_warm_up, folder)
        except ServingError as error:
            self._note_failure(number, folder, files, error)
            return before is not None
        lost = self._lost_signatures(model)
        self.loaded[number] = Version(self.name, number, model, files)
        self._failed.pop(number, None)
        self._said.pop(number, None)
        self.states[number] = State("AVAILABLE")
        if before:
            before.retire()
        self.say(f"{self.name} {number}: loaded in {time.monotonic() - start:.1f} s{lost}")
        return True

    def _lost_signatures(self, model: SavedModel) -> str:
        """Name the signatures of the newest version so far that another lacks."""
        before = self.newest
        lost = set(before.saved_model.signatures) - set(model.signatures) if before else set()
        if not before or not lost:
            return ""
        return f"; it has no signature {', '.join(sorted(lost))}, unlike version {before.number}"

    def _load_and_warm_up(self, folder: Location) -> SavedModel:
        model = None
        try:
            model = saved_model.load(folder)
            start = time.monotonic()
            if warm_up(model, self.most_values):
                self.metrics.warm_up(str(folder), time.monotonic() - start)
        except Exception as error:
            self.metrics.load(str(folder), good=False)
            if model is None:
                raise from_exception(error) from error
            model.close()
            code, words = from_exception(error).code, first_line(error, 300)
            raise ServingError(code, f"its warm-up requests failed: {words}") from error
        self.metrics.load(str(folder), good=True)
        return model

    def _note_failure(
        self, number: int, folder: Location, files: Stamp, error: ServingError
    ) -> None:
        self._failed[number] = files
        if number not in self.loaded:
            self.states[number] = State("END", error.code, error.message)
        newest = self.newest
        instead = f"; version {newest.number} is still served" if newest else ""
        line = f"{folder}: cannot be loaded ({error.message}){instead}"
        if self._said.get(number) != line:  # files that are still being copied change all the time
            self._said[number] = line
            self.say(line)

    def _unload(self, number: int) -> None:
        self.loaded.pop(number).retire()
        self.states[number] = State("END")
        self.say(f"{self.name} {number}: unloaded")

    def close(self) -> None:
        for number in list(self.loaded):
            self.loaded.pop(number).retire()


class Catalogue:
    def __init__(self, models: Iterable[ServedModel]) -> None:
        self.models = {model.name: model for model in models}

    def find(self, name: str, number: int | None = None, label: str | None = None) -> Version:
        """Return the version that a request is for; ServingError if there is none."""
        if not name:
            raise invalid("The request names no model")
        model = self.models.get(name)
        if label is not None:
            labels = model.labels if model else {}
            if label not in labels:
                raise invalid(f"Model {name} has no version label {label}")
            number = labels[label]
        version = None
        if model:
            version = model.newest if number is None else model.loaded.get(number)
        if version is None:
            raise not_found(
                f"Model {name} is not served" + ("" if number is None else f" in version {number}")
            )
        return version

    def states(self, name: str, number: int | None = None) -> dict[int, State]:
        """Return the states of a model's versions, or of one; ServingError if there is none."""
        states = self.models[name].states if name in self.models else {}
        if number is not None:
            if number not in states:
                raise not_found(f"Model {name} has no version {number}")
            return {number: states[number]}
        if not states:
            raise not_found(f"Model {name} has no versions")
        return dict(sorted(states.items(), reverse=True))
