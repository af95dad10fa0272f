"""Memories of small films."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bladerunner_ae.model.memory import MemoryValues
from bladerunner_ae.model.networks import Networks, build_networks
from bladerunner_ae.runs.config import ModelConfig
from bladerunner_ae.training.fit_memory import fit_memory
from tests.helpers.small_records import write_pictures
from tests.helpers.synthetic_film import film_pictures
from tests.helpers.tiny_training import HEIGHT, WIDTH, tiny_model
from tfrecords.card import load_card
from tfrecords.mixture import FilmPart

FRAMES = 160


def scenes(frames: int = FRAMES, seed: int = 0) -> NDArray[np.uint8]:
    """Return pictures of moving scenes, uint8 [frames, 24, 32, 3], that few components draw."""
    pictures = np.stack(list(film_pictures(frames, HEIGHT, WIDTH, seed=seed)))
    noise = np.random.default_rng(seed).integers(-12, 13, pictures.shape)
    # The same noise within a quarter of a second: what a moment knows, and no component alone.
    noise = np.repeat(noise[::6], 6, axis=0)[:frames]
    return np.clip(pictures + noise, 0, 255).astype(np.uint8)


def memory_model(frames: int = FRAMES, **changes: Any) -> ModelConfig:
    """Return the preview's networks for frames of 24x32 with a memory of a film of `frames`."""
    return tiny_model(**{"latent_size": 64, "memory": 1.0, **changes}).sized(frames)


def film_part(
    folder: Path, pictures: NDArray[np.uint8], held_out: slice = slice(0), **options: Any
) -> FilmPart:
    """Write pictures as a film's records; return it without the frames held out."""
    write_pictures(folder, list(pictures), image_format="png", **options)
    keep = np.ones(len(pictures), bool)
    keep[held_out] = False
    return FilmPart(folder, load_card(folder), keep)


def fitted(config: ModelConfig, part: FilmPart, folder: Path, **options: Any) -> MemoryValues:
    return fit_memory(config, [part], folder, **options)


def memory_networks(config: ModelConfig, **options: Any) -> Networks:
    options = {"precision": "float32", "seed": 0, "discriminator": False, **options}
    return build_networks(config, **options)


def stop_after(calls: int) -> Callable[[], None]:
    """Return a check that raises KeyboardInterrupt when it is called for the last time."""
    left = iter(range(calls - 1))

    def check() -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt

    return check
