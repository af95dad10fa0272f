"""Fixtures that several test modules share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.synthetic_film import make_film


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
