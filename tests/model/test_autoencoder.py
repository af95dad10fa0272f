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
    for call in (EXPORTED.reconstruct, EXPORTED.encode, IN_MEMORY.reconstruct):
        with pytest.raises(InputError) as caught:
            call(pictures)
        assert str(caught.value) == f"pictures are {given}: give uint8 [n, 4, 6, 3]"


@pytest.mark.parametrize(
    ("shape", "given"),
    [
        ((2, 3), "[2, 3]"),
        ((1, 4), "[1, 4]"),
        ((4, 1), "[4, 1]"),
        ((), "[]"),
    ],
)
def test_other_latents(shape: tuple[int, ...], given: str) -> None:
    with pytest.raises(InputError) as caught:
        EXPORTED.decode(np.zeros(shape, np.float32))
    assert str(caught.value) == f"latents of shape {given}: give float32 [n, 1, 2]"


def test_latents_that_only_end_as_theirs_do() -> None:
    grid = Halves((2, 3, 4), encode=HALVES.encode, decode=HALVES.decode)
    with pytest.raises(InputError, match=r"of shape \[5, 4\]: give float32 \[n, 2, 3, 4\]"):
        Autoencoder((4, 6), lambda: grid).decode(np.zeros((5, 4), np.float32))


def test_it_is_shown_in_a_line() -> None:
    assert repr(EXPORTED) == "Autoencoder(4x6, run/1)"
    assert repr(IN_MEMORY) == "Autoencoder(4x6, in memory)"
