"""A run's networks as SavedModels, published by rename.

Next to the graph, assets.extra/ of each version has

| file | content |
|---|---|
| model_card.json, README.md | its origin, for programs and for people |
| tf_serving_warmup_requests | requests that a server runs before it accepts others |
| film_latents.npz | of the decoder, if the film's records were available |
"""

import contextlib
import io
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras

from bladerunner_ae.exports import film_latents, model_card, warm_up
from bladerunner_ae.exports.export_folders import GRAPH_NAME, MODELS, numbered
from bladerunner_ae.exports.film_latents import FilmLatents
from bladerunner_ae.exports.signatures import Signature, make_signatures
from bladerunner_ae.model.networks import Networks
from bladerunner_ae.runs.folder import write_json
from tfrecords import storage
from tfrecords.publication import sync_folder
from tfrecords.storage import Location


def export_models(
    networks: Networks,
    card: dict[str, Any],
    destination: Location,
    film: FilmLatents | None = None,
) -> list[Location]:
    """Write the next version of every model to `destination`, RUN/export; return their folders.

    All are written, and have answered their warm-up requests, before the first gets its name. A
    version is visible only when it is complete; older versions are never touched. `sample` draws
    from the density of the film's latents.
    """
    signatures = make_signatures(networks, film.density() if film is not None else None)
    version = str(max((n for name in MODELS for n in numbered(destination / name)), default=0) + 1)
    with _new_folders([destination / name for name in MODELS], version) as partials:
        for name, partial in zip(MODELS, partials, strict=True):
            _write_saved_model(partial, signatures[name])
            _write_extras(partial, card, name, signatures[name])
            if film is not None and name == "decoder":
                (partial / film_latents.FILE_NAME).write_bytes(film_latents.to_bytes(film))
            warm_up.replay(partial)
    return [destination / name / version for name in MODELS]


def newest_versions(destination: Location) -> list[Location]:
    found = [numbered(destination / name) for name in MODELS]
    return [versions[max(versions)] for versions in found if versions]


@contextlib.contextmanager
def _new_folders(bases: Sequence[Location], version: str) -> Iterator[list[Path]]:
    """Yield local folders to fill, each of which then becomes its base's `version`.

    Renames follow each other directly. A process killed between two of them leaves models of
    different versions, each of them complete.
    """
    local = [Path(base) for base in bases if isinstance(base, Path)]
    if len(local) == len(bases):
        partials = [base / f".partial-{version}" for base in local]
        for base in local:
            base.mkdir(parents=True, exist_ok=True)
            for stale in base.glob(".partial*"):  # of an export that was killed
                shutil.rmtree(stale)
        try:
            yield partials
            for partial in partials:
                _sync(partial)
            for partial in partials:
                partial.rename(partial.parent / version)
                sync_folder(partial.parent)
        except BaseException:
            for partial in partials:  # on a full disk they would take up space
                shutil.rmtree(partial, ignore_errors=True)
            raise
        return
    with tempfile.TemporaryDirectory() as temporary:
        partials = [Path(temporary) / base.name for base in bases]
        yield partials
        for partial, target in zip(partials, bases, strict=True):
            files = [path for path in sorted(partial.rglob("*")) if path.is_file()]
            # A folder is a SavedModel as soon as it has its graph.
            for path in sorted(files, key=lambda path: path.name == GRAPH_NAME):
                name = path.relative_to(partial).as_posix()
                storage.copy_to_remote(path, target / version / name)


def _sync(folder: Path) -> None:
    """Write a folder through to the disk: a power cut could leave its name without content."""
    for path in folder.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())


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
