"""Reading modes and what is kept of them in the states of unfinished conversions."""

import json

import pytest

from bladerunner_ae.film.reading.reading_mode import Obstacle, ReadingMode

MODES = [ReadingMode(), *(ReadingMode(obstacle, 12) for obstacle in Obstacle)]


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_mode_survives_json(mode: ReadingMode) -> None:
    assert ReadingMode.from_json(json.loads(json.dumps(mode.to_json()))) == mode


def test_only_damage_forbids_decoder_threads() -> None:
    slow = [mode.obstacle for mode in MODES if not mode.decoder_threads]
    assert slow == [Obstacle.DAMAGED, Obstacle.UNDECODABLE]
