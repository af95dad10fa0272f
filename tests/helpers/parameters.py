"""Parameters of tests of which a part runs with the slow tests only."""

from collections.abc import Iterable
from typing import Any

import pytest


def some_slow(*quick: Any, of: Iterable[Any]) -> list[Any]:
    """All values `of` something, marked as slow unless they are among the `quick` ones."""
    return [one if one in quick else pytest.param(one, marks=pytest.mark.slow) for one in of]
