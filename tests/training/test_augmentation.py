"""Pictures that are moved: which, how far, and that nothing else happens to them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from PIL import Image

from bladerunner_ae.errors import UsageError
from bladerunner_ae.training import augmentation
from tests.helpers.tiny_training import film_images, tiny_train, tiny_trainer

# Whether, how near, where in height and width, whether mirrored.
NOT, FAR, NEAREST, PLAIN, MIRRORED = 0.9, 0.0, 1.0, 0.7, 0.2


def ramps(height: int, width: int) -> NDArray[np.float32]:
    """[1, H, W, 3]: a pixel's row, its column, and nothing."""
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    return np.stack([rows, columns, np.zeros_like(rows)], -1)[None]


def moved(images: NDArray[np.float32], part: float = 0.5, **numbers: float) -> NDArray[np.float32]:
    """Pictures moved by given random numbers."""
    values = {"chosen": 0.0, "nearness": FAR, "top": 0.0, "left": 0.0, "mirrored": PLAIN, **numbers}
    uniform = np.tile(np.array(list(values.values()), np.float32), (len(images), 1))
    return augmentation.moved(tf.constant(images), tf.constant(uniform), part).numpy()


def test_pictures_that_are_not_chosen_stay_as_they_are() -> None:
    images = np.random.default_rng(0).uniform(-1, 1, (2, 12, 16, 3)).astype(np.float32)
    np.testing.assert_array_equal(moved(images, chosen=NOT, nearness=NEAREST, top=0.3), images)


def test_a_window_of_the_whole_picture_is_the_picture() -> None:
    images = ramps(12, 16)
    np.testing.assert_allclose(moved(images), images, atol=1e-5)
    np.testing.assert_allclose(moved(images, mirrored=MIRRORED), images[:, :, ::-1], atol=1e-5)


@pytest.mark.parametrize(("top", "left"), [(0.0, 0.0), (1.0, 0.5), (0.25, 1.0)])
def test_the_nearest_window_lies_where_it_should(top: float, left: float) -> None:
    """Of 20 x 40 pixels it has 16 x 32; inside, a ramp of pixel numbers says where it looks."""
    found = moved(ramps(20, 40), nearness=NEAREST, top=top, left=left)[0]
    rows = top * 4 + 0.8 * (np.arange(20) + 0.5) - 0.5
    columns = left * 8 + 0.8 * (np.arange(40) + 0.5) - 0.5
    np.testing.assert_allclose(found[:, 3, 0], np.clip(rows, 0, 19), atol=1e-4)
    np.testing.assert_allclose(found[5, :, 1], np.clip(columns, 0, 39), atol=1e-4)
    assert not found[..., 2].any()


def test_it_is_bilinear_enlargement_as_others_have_it() -> None:
    image = film_images(1)[0]
    window = Image.fromarray(image).resize(
        (image.shape[1], image.shape[0]), Image.Resampling.BILINEAR,
        box=(0.0, 0.0, 0.8 * image.shape[1], 0.8 * image.shape[0]),
    )  # fmt: skip
    ours = moved(image[None].astype(np.float32), nearness=NEAREST)[0]
    inner = (slice(0, -2), slice(0, -2))  # at the window's end theirs sees nothing beyond it
    np.testing.assert_allclose(ours[inner], np.asarray(window, np.float32)[inner], atol=1.0)


def batch_images(trainer: Any, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return trainer._batch(tf.constant(images)).images.numpy()


def test_augmentation_moves_the_asked_part_anew_in_every_step() -> None:
    images = film_images(64)
    plain = batch_images(tiny_trainer("vae", augment=0.0), images)
    trainer = tiny_trainer("vae", augment=0.25)
    first = np.abs(batch_images(trainer, images) - plain).max((1, 2, 3)) > 0
    assert 6 <= first.sum() <= 26  # of 64 frames; a quarter is 16, with a deviation of 3.5
    again = np.abs(batch_images(trainer, images) - plain).max((1, 2, 3)) > 0
    np.testing.assert_array_equal(again, first)
    trainer.decoder_optimizer.iterations.assign(1)
    other = np.abs(batch_images(trainer, images) - plain).max((1, 2, 3)) > 0
    assert (other != first).any()
    np.testing.assert_array_equal(plain, images.astype(np.float32) * (2 / 255) - 1)


@pytest.mark.parametrize("part", [-0.1, 1.5, float("nan")])
def test_a_part_that_is_none_is_refused(part: float) -> None:
    with pytest.raises(UsageError, match=r"--augment=.*: give 0 \(none\) to 1"):
        tiny_train(augment=part)
