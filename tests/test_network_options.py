"""Other ways to build the networks: `--resize`."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from bladerunner_ae.errors import UsageError
from tests.tiny_training import tiny_model, tiny_networks


def checkerboard_energy(pictures: NDArray[np.float32]) -> float:
    """The part of the pictures' energy that repeats every two pixels and is not their mean.

    Of each picture the four kinds of pixels (even and odd rows and columns) are averaged apart; a
    picture without a checkerboard has four equal means.

    Args:
        pictures: [n, height, width, channels], both sides even.
    """
    kinds = [pictures[:, i::2, j::2].mean((1, 2)) for i in (0, 1) for j in (0, 1)]
    return float(np.stack(kinds).var(0).sum() / np.square(pictures).mean((1, 2)).sum())


def test_a_checkerboard_is_energy_and_wider_stripes_are_none() -> None:
    rows, columns = np.mgrid[:32, :40].astype(np.float32)
    board, stripes = (rows + columns) % 2 - 0.5, columns // 2 % 2
    assert checkerboard_energy(board[None, :, :, None]) == pytest.approx(1.0)
    assert checkerboard_energy(stripes[None, :, :, None]) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("kernel_size", [4, 5])
def test_upsampling_leaves_no_checkerboard(kernel_size: int) -> None:
    """What an untrained decoder makes of an even map, away from the edges: an even picture?"""
    found: dict[str, list[float]] = {"transposed": [], "upsample": []}
    for resize, seed in itertools.product(found, range(4)):
        decoder = tiny_networks(
            seed=seed, height=64, width=64, resize=resize, kernel_size=kernel_size,
            linear_path=False, bottleneck_channels=0, residual_blocks=0,
        ).decoder  # fmt: skip
        unflat = decoder.get_layer("unflat")
        kernel, bias = unflat.get_weights()
        of_a_place = np.random.default_rng(seed).normal(size=96)
        unflat.set_weights([kernel * 0, np.tile(of_a_place, 64).reshape(bias.shape)])
        pictures = decoder(np.zeros((1, 200), np.float32)).numpy()
        assert pictures.shape == (1, 64, 64, 3) and np.ptp(pictures) > 0
        found[resize].append(checkerboard_energy(pictures[:, 20:-20, 20:-20]))
    assert max(found["upsample"]) < 1e-6, found
    assert min(found["transposed"]) > 0.02, found


def test_an_unknown_resize_is_refused() -> None:
    with pytest.raises(UsageError, match="--resize=bicubic: choose transposed or upsample"):
        tiny_model(resize="bicubic")
