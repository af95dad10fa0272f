"""Parameters of tests of which a part runs with the slow tests only."""

from collections.abc import Iterable
from typing import Any

import pytest


def some_slow(*quick: Any, of: Iterable[Any]) -> list[Any]:
    """All values, marked as slow unless they are named.

    Args:
        quick: those that run with the quick tests.
        of: all of them.
    """
    return [one if one in quick else pytest.param(one, marks=pytest.mark.slow) for one in of]
