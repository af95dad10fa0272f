"""Whoever dreams: an exported autoencoder, or networks that have just been trained."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bladerunner_ae.errors import InputError
from bladerunner_ae.exports.loading import load_autoencoder
from bladerunner_ae.exports.model_card import load_model_card, make_model_card
from bladerunner_ae.geometry import Size
from bladerunner_ae.model.autoencoder import latent_model, load_latent_model
from bladerunner_ae.model.networks import Networks
from bladerunner_ae.runs.folder import CONFIG_NAME
from tfrecords import storage
from tfrecords.card import FilmCard
from tfrecords.storage import Location, location

Pictures = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Dreamer:
    """A network as the page needs it.

    Attributes:
        raster: (height, width) of its pictures.
        reconstruct: uint8 [n, H, W, 3] -> uint8 [n, H, W, 3].
        encode: uint8 [n, H, W, 3] -> (mean, log_var), float32 [n, ...]; None: it has no encoder.
        card: its model card; empty for a model that is not ours.
        run: folder of the run it lies in, or None.
        version: number of the export, or "" for one that is not exported.
    """

    raster: Size
    reconstruct: Callable[[Pictures], Pictures]
    encode: Callable[[Pictures], tuple[Any, Any]] | None
    card: Mapping[str, Any]
    run: Location | None
    version: str

    def check_raster(self, records: Location, card: FilmCard) -> None:
        """Raises InputError if a film's records have another size than the network takes."""
        height, width = self.raster
        if (height, width) != (card.height, card.width):
            raise InputError(
                f"{records}: frames are {card.height}x{card.width} but the model takes "
                f"{height}x{width}; convert the film with --height={height} --width={width}"
            )


def load_dreamer(model: Location) -> Dreamer:
    """Loads an exported autoencoder, and its encoder if that lies beside it.

    Raises:
        InputError: as `autoencoder.load_autoencoder`.
    """
    autoencoder = load_autoencoder(model)
    latents, _ = load_latent_model(autoencoder.path)
    return Dreamer(
        autoencoder.raster,
        autoencoder.reconstruct,
        latents.encode if latents is not None else None,
        load_model_card(autoencoder.path),
        _run_of(autoencoder.path),
        autoencoder.path.name,
    )


def trained_dreamer(
    networks: Networks, config: Mapping[str, Any], step: int, run: Location
) -> Dreamer:
    """Networks at the end of their training.

    Args:
        networks: to look at; the averages where training keeps some.
        config: `RunConfig.to_json` of the run.
        step: steps done.
        run: run folder.
    """
    model = latent_model(networks)
    return Dreamer(
        model.raster, model.reconstruct, model.encode, make_model_card(config, step), run, ""
    )


def _run_of(version: Location) -> Location | None:
    """RUN/export/autoencoder/1 -> RUN, if it is a run."""
    if isinstance(version, Path):
        run: Location = version.resolve().parent.parent.parent
    else:
        run = location(version.url.rsplit("/", 3)[0])
    return run if storage.is_file(run / CONFIG_NAME) else None
