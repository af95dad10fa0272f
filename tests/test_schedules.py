"""Schedules at their corners and between."""

import pytest
import tensorflow as tf

from bladerunner_ae import schedules


@pytest.mark.parametrize(
    ("progress", "start", "end", "expected"),
    [(0.0, 0.2, 0.6, 0.0), (0.2, 0.2, 0.6, 0.0), (0.3, 0.2, 0.6, 0.25), (0.6, 0.2, 0.6, 1.0),
     (1.0, 0.2, 0.6, 1.0), (0.49, 0.5, 0.5, 0.0), (0.5, 0.5, 0.5, 1.0), (0.0, 0.0, 0.0, 1.0)],
)  # fmt: skip
def test_ramp(progress: float, start: float, end: float, expected: float) -> None:
    assert float(schedules.ramp(tf.constant(progress), start, end)) == pytest.approx(expected)
