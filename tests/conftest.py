"""Fixtures that several test modules share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.synthetic_film import make_film


def pytest_collection_finish() -> None:
    """Divides the CPU in two, CPU:0 and CPU:1, for tests of `tf.distribute`.

    That is possible only before TensorFlow's first operation, so no test module may run one while
    it is imported. A run of tests without TensorFlow does not import it.
    """
    if "tensorflow" in sys.modules:
        import tensorflow as tf

        (cpu,) = tf.config.list_physical_devices("CPU")
        halves = [tf.config.LogicalDeviceConfiguration() for _ in range(2)]
        tf.config.set_logical_device_configuration(cpu, halves)


@pytest.fixture(scope="session")
def film_factory(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Returns `make_film` without its path: the same arguments give the same file, made once.

    `name` is the file's name, by default film.mp4; its suffix decides the container. The file is
    shared by all tests: copy it before you damage it.
    """
    made: dict[str, Path] = {}

    def film(name: str = "film.mp4", **arguments: Any) -> Path:
        key = repr((name, sorted(arguments.items())))
        if key not in made:
            made[key] = make_film(tmp_path_factory.mktemp("film") / name, **arguments)
        return made[key]

    return film


@pytest.fixture(scope="session")
def synthetic_film(film_factory: Callable[..., Path]) -> Path:
    """Returns the default film: 48 frames, 180 x 320, 24 a second, with sound."""
    return film_factory()
