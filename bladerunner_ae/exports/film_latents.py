"""A film's latents, stored with the decoder: assets.extra/film_latents.npz.

The explorer page walks through them, and the density of the signature `sample` is fitted to them.
At most 512 frames, evenly spread over the films.
"""

import io
import zipfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bladerunner_ae.errors import InputError
from bladerunner_ae.model import memory_codes, pixels
from bladerunner_ae.model.latent_density import LatentDensity, fit_density, groups_of
from bladerunner_ae.pictures.spread import spread
from bladerunner_ae.pictures.thumbnails import small
from tfrecords import storage
from tfrecords.frames import read_frames
from tfrecords.mixture import FilmPart
from tfrecords.storage import Location

if TYPE_CHECKING:
    import keras

FILE_NAME = "assets.extra/film_latents.npz"
MOST_FRAMES = 512
MOST_DIRECTIONS = 16
_BATCH = 64

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class FilmLatents:
    """Posterior means of n frames from a run's films, and the directions in which they vary.

    Attributes:
        latents: float32 [n, L].
        frames, films, shots: int64 [n], number of each frame in its film, index of its film on the
            model card, number of its shot in its film.
        seconds: float64 [n], when it is shown, from the film's first frame.
        held_out: bool [n], kept from training.
        groups: int64 [n], the Gaussian of the density that it belongs to.
        mean: float32 [L], of the latents; of a memory, drawn by the film as a whole.
        directions: float32 [k, L], k <= 16, orthonormal; along them latents and pictures vary
            together, the most visible one first.
        deviations: float32 [k], standard deviation of the latents along each.
    """

    latents: Floats
    frames: Integers
    films: Integers
    seconds: NDArray[np.float64]
    shots: Integers
    held_out: NDArray[np.bool_]
    groups: Integers
    mean: Floats
    directions: Floats
    deviations: Floats

    def density(self) -> LatentDensity:
        """Return the density of the frames that training saw; of all if it saw none of them."""
        chosen = ~self.held_out if not self.held_out.all() else np.full(len(self.latents), True)
        return fit_density(self.latents[chosen], self.groups[chosen])


def collect_film_latents(
    encoder: "keras.Model",
    parts: Sequence[FilmPart],
    places: Sequence[int] | None = None,
    code_numbers: int = 0,
) -> FilmLatents:
    """Encode frames of a run's films, given at the encoder's raster.

    The encoder takes float32 -1..1; `places` are the films' indices on the model card, None for
    all; `code_numbers` see `Autoencoder`. Raises InputError if latents are not finite, as after a
    training that diverged.
    """
    latents: list[Any] = []
    found: dict[str, list[Any]] = defaultdict(list)
    shares = _shares([part.card.frames for part in parts])
    places = range(len(parts)) if places is None else places
    for place, part, share in zip(places, parts, shares, strict=True):
        card = part.card
        chosen = np.array(spread(card.frames, share), np.int64)
        images, pts = read_frames(part.directory, card, chosen.tolist())
        for start in range(0, len(images), _BATCH):
            batch = pixels.to_float(images[start : start + _BATCH])
            latents.append(np.asarray(encoder(batch, training=False)[0], np.float32))
        found["thumbnails"].append(small(images))
        found["frames"].append(chosen)
        found["films"].append(np.full(len(chosen), place, np.int64))
        found["seconds"].append((pts - card.first_pts) * float(card.time_base))
        found["shots"].append(np.searchsorted(card.shot_starts, chosen, side="right") - 1)
        found["held_out"].append(~part.kept()[chosen])
    values = np.concatenate(latents)
    if not np.isfinite(values).all():
        raise InputError("the film's latents are not finite: training has diverged")
    columns = {name: np.concatenate(parts) for name, parts in found.items()}
    mean, directions, deviations = _spans(values, columns.pop("thumbnails"), code_numbers)
    shots = _shot_of(columns["films"], columns["shots"])
    return FilmLatents(
        latents=values,
        groups=groups_of(values, shots, code_numbers),
        mean=mean,
        directions=directions,
        deviations=deviations,
        **columns,
    )


def _shot_of(films: Integers, shots: Integers) -> Integers:
    """Return a number for each frame that tells its shot from those of all films."""
    return films * (shots.max(initial=0) + 1) + shots


def _shares(frames: Sequence[int]) -> list[int]:
    """Divide the frames among films in proportion to their lengths, at least one each."""
    total = sum(frames)
    shares = [max(MOST_FRAMES * count // max(total, MOST_FRAMES), 1) for count in frames]
    while sum(shares) > MOST_FRAMES:  # many short films and a long one
        shares[shares.index(max(shares))] -= 1
    return shares


def _spans(
    latents: Floats, pictures: Floats, code_numbers: int = 0
) -> tuple[Floats, Floats, Floats]:
    """Return the mean of latents [n, L], the directions that show in thumbnails, and deviations.

    The directions are the left singular vectors of the covariance of latents and pictures (partial
    least squares by SVD; Wold 1985). Principal components of the latents would not do: a linear
    path spreads its latents about equally in every direction, and most of them hardly show. None
    changes the numbers that name a key moment.
    """
    values = latents.astype(np.float64)
    mean = values.mean(axis=0)
    free = values.copy()
    free[:, values.shape[1] - code_numbers :] = mean[values.shape[1] - code_numbers :]
    covariance = (free - mean).T @ (pictures - pictures.mean(axis=0)) / len(values)
    directions, widths, _ = np.linalg.svd(covariance, full_matrices=False)
    count = min(int((widths > 1e-5 * max(widths[0], 1e-5)).sum()), MOST_DIRECTIONS)
    directions = directions.T[:count]
    # The solver may return either sign; one choice makes exports comparable.
    largest = np.abs(directions).argmax(axis=1)
    directions = directions * np.sign(directions[np.arange(count), largest])[:, None]
    deviations = ((values - mean) @ directions.T).std(axis=0)
    mean[values.shape[1] - code_numbers :] = memory_codes.WHOLE
    return mean.astype(np.float32), directions.astype(np.float32), deviations.astype(np.float32)


def to_bytes(film: FilmLatents) -> bytes:
    file = io.BytesIO()
    np.savez(file, **{field.name: getattr(film, field.name) for field in fields(film)})
    return file.getvalue()


def load_film_latents(version: Location) -> FilmLatents | None:
    """Read the latents in a SavedModel's folder; None without them, InputError if damaged."""
    path = version / FILE_NAME
    if not storage.is_file(path):
        return None
    try:
        with np.load(io.BytesIO(storage.read_bytes(path)), allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
        if "groups" not in found:  # as earlier versions wrote it
            found["groups"] = _shot_of(found["films"], found["shots"])
        film = FilmLatents(**{field.name: found[field.name] for field in fields(FilmLatents)})
        _check(film)
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, IndexError) as error:
        raise InputError(f"{path}: damaged ({error}); export the run again") from error
    return film


def _check(film: FilmLatents) -> None:
    """Raise ValueError unless the shapes belong together."""
    count, size = film.latents.shape
    directions = len(film.directions)
    wanted = {
        "frames": (count,), "films": (count,), "seconds": (count,), "shots": (count,),
        "held_out": (count,), "groups": (count,), "mean": (size,), "directions": (directions, size),
        "deviations": (directions,),
    }  # fmt: skip
    for name, shape in wanted.items():
        if getattr(film, name).shape != shape:
            raise ValueError(f"{name} has shape {getattr(film, name).shape}, not {shape}")
