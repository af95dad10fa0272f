"""A run's networks as SavedModels, published by rename. Their signatures: `exports/signatures.py`.

Each lies in RUN/export/MODEL/VERSION and holds beside the graph, in assets.extra/:

| file | what |
|---|---|
| model_card.json, README.md | where it comes from, for programs and for people |
| tf_serving_warmup_requests | what a server runs before it takes requests |
| film_latents.npz | of the decoder, where the film's records were at hand |
"""

import contextlib
import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from bladerunner_ae.exports import film_latents, model_card, warm_up
from bladerunner_ae.exports.film_latents import FilmLatents
from bladerunner_ae.exports.signatures import MODELS, Signature, make_signatures
from bladerunner_ae.model.networks import Networks
from bladerunner_ae.runs.folder import write_json
from tfrecords import storage
from tfrecords.storage import Location

_LAST_FILE = "saved_model.pb"


def export_models(
    networks: Networks,
    card: dict[str, Any],
    destination: Location,
    film: FilmLatents | None = None,
) -> list[Location]:
    """Writes the next version of every model under `destination`.

    All are written, and asked their warm-up requests, before the first gets its name. A model's
    version is visible only when it is whole; older versions are never touched.

    Args:
        networks: the trained `Networks`.
        card: what `model_card.make_model_card` gave.
        destination: RUN/export.
        film: the film's latents: go beside the decoder, and `sample` draws from their density.

    Returns:
        The folders written, one a model, all of one version.
    """
    signatures = make_signatures(networks, film.density() if film is not None else None)
    version = str(max((n for name in MODELS for n in _versions(destination / name)), default=0) + 1)
    with _new_folders([destination / name for name in MODELS], version) as partials:
        for name, partial in zip(MODELS, partials, strict=True):
            _write_saved_model(partial, signatures[name])
            _write_extras(partial, card, name, signatures[name])
            if film is not None and name == "decoder":
                (partial / film_latents.FILE_NAME).write_bytes(film_latents.to_bytes(film))
            warm_up.replay(partial)
    return [destination / name / version for name in MODELS]


def _versions(base: Location) -> list[int]:
    return [int(name) for name in storage.names(base) if name.isdecimal()]


@contextlib.contextmanager
def _new_folders(bases: list[Location], version: str) -> Iterator[list[Path]]:
    """Gives local folders to fill, each of which is then made into its base's `version`.

    Renames follow each other at once. A process killed between two of them leaves models of
    different versions, each of them whole.
    """
    if all(isinstance(base, Path) for base in bases):
        partials = [Path(base) / f".partial-{version}" for base in bases]
        _remove_stale(partials)
        try:
            yield partials
            for partial in partials:
                _sync(partial)
            for partial in partials:
                partial.rename(partial.parent / version)
                _sync_folder(partial.parent)
        except BaseException:
            for partial in partials:  # on a full disk it would be in the way
                shutil.rmtree(partial, ignore_errors=True)
            raise
        return
    with tempfile.TemporaryDirectory() as temporary:
        partials = [Path(temporary) / base.name for base in bases]
        yield partials
        for partial, base in zip(partials, bases, strict=True):
            files = [path for path in sorted(partial.rglob("*")) if path.is_file()]
            # A folder is a SavedModel as soon as it holds saved_model.pb.
            for path in sorted(files, key=lambda path: path.name == _LAST_FILE):
                storage.copy_to_remote(path, base / version / path.relative_to(partial).as_posix())


def _remove_stale(partials: list[Path]) -> None:
    """Makes room, and removes what an export that was killed has left."""
    for partial in partials:
        partial.parent.mkdir(parents=True, exist_ok=True)
        for stale in partial.parent.glob(".partial*"):
            shutil.rmtree(stale)


def _sync(folder: Path) -> None:
    """Waits until a folder is on the disk, or a power cut could leave the name without content."""
    for path in folder.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def newest_versions(destination: Location) -> list[Location]:
    """Returns the newest version's folder of each model that RUN/export holds."""
    found: list[Location] = []
    for name in MODELS:
        versions = _versions(destination / name)
        if versions:
            found.append(destination / name / str(max(versions)))
    return found


def _write_saved_model(folder: Path, signatures: list[Signature]) -> None:
    # The endpoints bring the weights that they use; those of a layer given to `track` would be
    # stored, and held in the memory of every server, a second time.
    archive = keras.export.ExportArchive()
    for signature in signatures:
        function = signature.traced()
        for alias in signature.names:
            archive.add_endpoint(alias, function)
    with contextlib.redirect_stdout(io.StringIO()):  # Keras prints every endpoint
        archive.write_out(str(folder), verbose=False)


def _write_extras(
    folder: Path, card: dict[str, Any], name: str, signatures: list[Signature]
) -> None:
    described = {"model_name": name, **card}
    described["signatures"] = model_card.describe_signatures(signatures)
    (folder / model_card.FILE_NAME).parent.mkdir()
    write_json(folder / model_card.FILE_NAME, described)
    (folder / model_card.README_NAME).write_text(model_card.describe(described, name), "utf-8")
    warm_up.write_warmup(folder, name, signatures)
