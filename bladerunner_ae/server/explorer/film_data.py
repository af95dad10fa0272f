"""Data of a film for the page, as JSON.

| name | value |
|---|---|
| model, version | as in the paths of the REST API |
| films | names of the films |
| frames, film_of, seconds, shots, groups, held_out | of each frame, in order |
| latents, mean, directions | little-endian float32 in base64: [n, L], [L], [k, L] |
| deviations | of the film's latents along each direction |
| shrinkage | constant of the density of the film's latents (`model/latent_density.py`) |
| note | a message for the page, or "" |
"""

import base64
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bladerunner_ae.errors import InputError
from bladerunner_ae.exports.film_latents import FILE_NAME, load_film_latents
from bladerunner_ae.model.latent_density import SHRINKAGE

MODEL_CARD = "assets.extra/model_card.json"

_EMPTY: dict[str, Any] = {
    "frames": [], "film_of": [], "seconds": [], "shots": [], "groups": [], "held_out": [],
    "deviations": [],
    "latents": "", "mean": "", "directions": "", "note": "",
}  # fmt: skip


def film_json(model: str, version: int, folder: Path) -> bytes:
    """Return the data of a film, cached until its files change.

    `model` and `version` are as served: the folder's name need not be the number.
    """
    stamps = tuple(_stamp(folder / name) for name in (MODEL_CARD, FILE_NAME))
    return _film_json(model, version, folder, stamps)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_size, facts.st_mtime_ns


@functools.lru_cache(maxsize=2)
def _film_json(model: str, version: int, folder: Path, stamps: tuple[object, ...]) -> bytes:
    values = {
        **_EMPTY,
        "model": model,
        "version": version,
        "shrinkage": SHRINKAGE,
        "films": _film_names(folder),
        **_film(version, folder),
    }
    return json.dumps(values, separators=(",", ":"), allow_nan=False).encode()


def _film(version: int, folder: Path) -> dict[str, Any]:
    try:
        film = load_film_latents(folder)
        if film is None:
            return {}
        return {
            "frames": film.frames.tolist(),
            "film_of": film.films.tolist(),
            "seconds": film.seconds.round(6).tolist(),
            "shots": film.shots.tolist(),
            "groups": film.groups.tolist(),
            "held_out": film.held_out.tolist(),
            "deviations": film.deviations.astype(float).tolist(),
            "latents": _floats(film.latents),
            "mean": _floats(film.mean),
            "directions": _floats(film.directions),
        }
    except (InputError, OSError, ValueError):
        return {"note": f"The film's latents of version {version} are damaged; export again."}


def _floats(values: ArrayLike) -> str:
    array = np.asarray(values, "<f4")
    if not np.isfinite(array).all():
        raise ValueError("not finite")
    return base64.b64encode(array.tobytes()).decode("ascii")


def _film_names(folder: Path) -> list[str]:
    try:
        card = json.loads((folder / MODEL_CARD).read_text("utf-8"))
        return [str(film["name"]) for film in card["films"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []  # a decoder from elsewhere has no card of ours
