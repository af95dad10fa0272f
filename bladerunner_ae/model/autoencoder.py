"""Trained autoencoder, read from an export or still in memory. Imports no TensorFlow."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bladerunner_ae.errors import InputError
from bladerunner_ae.geometry import Size
from tfrecords.card import FilmCard
from tfrecords.storage import Location

_BATCH = 64

Pictures = NDArray[np.uint8]
Latents = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Halves:
    """Encoder and decoder by themselves; `shape` is that of the latent numbers of one frame.

    encode: uint8 [n, H, W, 3] -> (mean, log_var), float32 [n, *shape] each; decode: float32
    [n, *shape] -> uint8 [n, H, W, 3].
    """

    shape: tuple[int, ...]
    encode: Callable[[Pictures], tuple[Any, Any]]
    decode: Callable[[Latents], Any]


@dataclass(frozen=True, eq=False)
class Autoencoder:
    """Pictures in, dreamt pictures out, and the latent numbers between them.

    Made by `bladerunner_ae.load_autoencoder`, or by `Networks.autoencoder` from networks in memory.

    Attributes:
        raster: (height, width) of its pictures.
        load_halves: called when the latents are first needed; raises InputError if the model has no
            encoder and decoder.
        dream: uint8 [n, H, W, 3] in and out; None: decode the posterior means.
        path: folder of the SavedModel; None for networks in memory.
        card: its model card; empty for a model of another program.
        run: folder of the run that it belongs to, if that is known.
        code_numbers: of a latent, the last ones, which name a key moment of the memory; 0: none do.
    """

    raster: Size
    load_halves: Callable[[], Halves]
    dream: Callable[[Pictures], Any] | None = None
    path: Location | None = None
    card: Mapping[str, Any] = field(default_factory=dict)
    run: Location | None = None
    code_numbers: int = 0

    def __repr__(self) -> str:
        height, width = self.raster
        return f"Autoencoder({height}x{width}, {self.path or 'in memory'})"

    def reconstruct(self, images: Pictures) -> Pictures:
        """Dream each picture by itself, uint8 [n, height, width, 3] in and out, RGB.

        InputError for pictures of another shape or dtype.
        """
        if self.dream is None:
            return self.decode(self.encode(images)[0])
        return np.asarray(self.dream(self._checked(images)))

    def encode(self, images: Pictures) -> tuple[Latents, Latents]:
        """Return the posterior of each picture: mean and log-variance, float32 [n, *shape].

        InputError for pictures of another shape or dtype.
        """
        parts = [self._halves.encode(batch) for batch in _batches(self._checked(images))]
        means, log_vars = zip(*parts, strict=True)
        return _joined(means), _joined(log_vars)

    def decode(self, latents: Latents) -> Pictures:
        """Return the picture of each latent vector, uint8 [n, height, width, 3].

        `latents` is [n, *shape], or [n, latent_size]; InputError for others.
        """
        shape = self._halves.shape
        latents, size = np.asarray(latents, np.float32), math.prod(shape)
        if latents.shape[-1:] not in (shape[-1:], (size,)) or latents.size % size:
            wanted = ", ".join(map(str, ("n", *shape)))
            raise InputError(f"latents of shape {list(latents.shape)}: give float32 [{wanted}]")
        latents = latents.reshape(-1, *shape)
        return np.concatenate([np.asarray(self._halves.decode(b)) for b in _batches(latents)])

    def _checked(self, images: Pictures) -> Pictures:
        """Return pictures as they are; InputError if the network cannot take them."""
        images, wanted = np.asarray(images), (*self.raster, 3)
        if images.dtype != np.uint8 or images.shape[1:] != wanted:
            height, width = self.raster
            raise InputError(
                f"pictures are {images.dtype} {list(images.shape)}: give uint8 "
                f"[n, {height}, {width}, 3]"
            )
        return images

    @cached_property
    def _loaded(self) -> Halves | InputError:
        try:
            return self.load_halves()
        except InputError as error:
            return error

    @property
    def _halves(self) -> Halves:
        if isinstance(self._loaded, InputError):
            raise self._loaded
        return self._loaded

    @property
    def missing_halves(self) -> str:
        """Reason why there are no latents, for people; empty if there are."""
        return str(self._loaded) if isinstance(self._loaded, InputError) else ""

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return self._halves.shape

    @property
    def latent_size(self) -> int | None:
        """Number of latent numbers of a frame; None without an encoder."""
        return None if self.missing_halves else int(np.prod(self.latent_shape))

    def check_raster(self, records: Location, card: FilmCard) -> None:
        """Raise InputError if a film's records have another size than the network takes."""
        height, width = self.raster
        if (height, width) != (card.height, card.width):
            raise InputError(
                f"{records}: frames are {card.height}x{card.width} but the model takes "
                f"{height}x{width}; convert the film with --height={height} --width={width}"
            )


def _batches(values: NDArray[Any]) -> list[NDArray[Any]]:
    return [values[i : i + _BATCH] for i in range(0, len(values), _BATCH)]


def _joined(parts: Any) -> Latents:
    return np.concatenate([np.asarray(part, np.float32) for part in parts])
