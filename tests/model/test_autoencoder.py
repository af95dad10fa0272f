"""What an autoencoder takes, and how it is shown."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bladerunner_ae.errors import InputError
from bladerunner_ae.model.autoencoder import Autoencoder, Halves

PICTURES = np.full((2, 4, 6, 3), 7, np.uint8)
HALVES = Halves(
    (1, 2),
    encode=lambda images: (np.ones((len(images), 1, 2)), np.zeros((len(images), 1, 2))),
    decode=lambda latents: np.full((len(latents), 4, 6, 3), 5, np.uint8),
)
EXPORTED = Autoencoder((4, 6), lambda: HALVES, lambda images: images, path=Path("run/1"))
IN_MEMORY = Autoencoder((4, 6), lambda: HALVES)


def test_what_it_takes() -> None:
    assert EXPORTED.reconstruct(PICTURES).tolist() == PICTURES.tolist()
    assert IN_MEMORY.reconstruct(PICTURES).shape == (2, 4, 6, 3)
    mean, log_var = EXPORTED.encode(PICTURES)
    assert mean.shape == log_var.shape == (2, 1, 2)
    for latents in (mean, mean.reshape(2, 2), mean.astype(np.float64), [[1, 2], [3, 4]]):
        assert EXPORTED.decode(latents).shape == (2, 4, 6, 3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pictures", "given"),
    [
        (PICTURES.astype(np.float32), "float32 [2, 4, 6, 3]"),
        (PICTURES[0], "uint8 [4, 6, 3]"),
        (PICTURES[:, :3], "uint8 [2, 3, 6, 3]"),
        (PICTURES[..., :1], "uint8 [2, 4, 6, 1]"),
    ],
)
def test_other_pictures(pictures: Any, given: str) -> None:
    wanted = "takes pictures as uint8 [n, 4, 6, 3], not " + given
    for call in (EXPORTED.reconstruct, EXPORTED.encode):
        with pytest.raises(InputError) as caught:
            call(pictures)
        assert str(caught.value).startswith(f"Autoencoder(4x6, run/1): {wanted}; ")
    with pytest.raises(InputError) as caught:
        IN_MEMORY.reconstruct(pictures)
    assert str(caught.value).startswith(f"Autoencoder(4x6, in memory): {wanted}; ")


@pytest.mark.parametrize(
    ("latents", "given"),
    [
        (np.zeros((2, 3), np.float32), "float32 [2, 3]"),
        (np.zeros(2, np.float32), "float32 [2]"),
        (np.zeros((1, 4), np.float32), "float32 [1, 4]"),
        (np.array([["a", "b"]]), "<U1 [1, 2]"),
    ],
)
def test_other_latents(latents: Any, given: str) -> None:
    with pytest.raises(InputError) as caught:
        EXPORTED.decode(latents)
    words = f"takes latents as float32 [n, 1, 2], not {given}; give what encode returns"
    assert str(caught.value) == f"Autoencoder(4x6, run/1): {words}"
