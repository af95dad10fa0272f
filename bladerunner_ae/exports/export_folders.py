"""Folders of an export: RUN/export/MODEL/VERSION, MODEL one of `MODELS`, VERSION a number."""

from pathlib import Path

from tfrecords import storage
from tfrecords.storage import Location

MODELS = ("autoencoder", "encoder", "decoder")
GRAPH_NAME = "saved_model.pb"


def is_saved_model(folder: Location) -> bool:
    """Whether a folder holds a SavedModel, sound or damaged."""
    return any(storage.is_file(folder / name) for name in (GRAPH_NAME, "saved_model.pbtxt"))


def is_number(name: str) -> bool:
    return name.isascii() and name.isdigit() and int(name) < 2**63


def numbered(base: Location) -> dict[int, Location]:
    """Return number -> folder of all numbered names in a model's folder, whatever they hold."""
    try:
        return {int(name): base / name for name in storage.names(base) if is_number(name)}
    except OSError:  # it is gone, or a file
        return {}


def versions(base: Location) -> dict[int, Location]:
    """Return number -> folder of a model's SavedModels."""
    return {n: folder for n, folder in numbered(base).items() if is_saved_model(folder)}


def sibling(version: Location, model: str) -> Location:
    """Return the folder of another model of the same export."""
    if isinstance(version, Path):
        version = version.resolve()
    return _above(version, 2) / model / version.name


def run_of(version: Location) -> Location:
    """Return the run's folder if the version is in RUN/export."""
    return _above(version, 3)


def _above(folder: Location, levels: int) -> Location:
    if not isinstance(folder, Path):
        return storage.location(folder.url.rsplit("/", levels)[0])
    folder = folder.resolve()
    for _ in range(levels):
        folder = folder.parent
    return folder
