"""Folders of models and their versions: RUN/export/decoder/3 and what may stand for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bladerunner_ae.errors import InputError
from bladerunner_ae.exports.export_folders import is_number, is_saved_model, versions
from bladerunner_ae.runs.folder import refuse_unexported
from tfrecords import storage
from tfrecords.storage import Location

Stamp = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class ModelFolder:
    """Model to be served, from the folder of its versions, or of the only one, `only`."""

    name: str
    path: Location
    only: int | None = None

    def versions(self) -> dict[int, Location]:
        if self.only is not None:
            return {self.only: self.path} if is_saved_model(self.path) else {}
        return versions(self.path)


def find_models(path: storage.AnyPath, name: str | None = None) -> list[ModelFolder]:
    """Find the models that `--model` means.

    `path` is the folder of a model's versions (RUN/export/decoder), one of these, or a run or
    folder of models, of which all are meant; `name` replaces that of the folder of versions.

    Raises:
        InputError: there is no such folder, no SavedModel in it, or a name for several.
    """
    folder = storage.location(path)
    if not storage.exists(folder):
        storage.explain_missing(folder)
        raise InputError(f"{path}: no such model folder; check the name, or train a model first")
    if not storage.is_directory(folder):
        raise InputError(f"{path}: is a file; give the folder of a SavedModel")
    if isinstance(folder, Path):
        folder = folder.resolve()  # "." has no name
    if is_saved_model(folder):
        return [_one_version(folder, name)]
    if versions(folder):
        return [ModelFolder(name or folder.name, folder)]
    for base in (folder / "export", folder):
        found = [entry for entry in sorted(storage.names(base)) if versions(base / entry)]
        if found and name:
            raise InputError(
                f"{path}: holds {', '.join(found)}; --name is for one model, such as {path}/"
                f"{found[0]}"
            )
        if found:
            return [ModelFolder(entry, base / entry) for entry in found]
    refuse_unexported(folder)
    raise InputError(
        f"{path}: holds no SavedModel; give RUN/export/decoder of a run that was exported, or RUN"
    )


def _one_version(folder: Location, name: str | None) -> ModelFolder:
    if not is_number(folder.name):
        return ModelFolder(name or folder.name, folder, 1)
    if isinstance(folder, Path):
        base = folder.parent.name
    else:
        base = folder.url.rpartition("/")[0].rpartition("/")[2]
    return ModelFolder(name or base, folder, int(folder.name))


def stamp(folder: Location) -> Stamp:
    """Return names, sizes and times of a SavedModel's files, to detect changes.

    Empty for a remote one, which is published once.
    """
    if not isinstance(folder, Path):
        return ()
    found = []
    for path in sorted(folder.rglob("*")):
        try:
            if path.is_file():
                facts = path.stat()
                found.append((str(path.relative_to(folder)), facts.st_size, facts.st_mtime_ns))
        except OSError:  # removed meanwhile
            continue
    return tuple(found)
