"""Parts of the report: shots, relations, axes, curves, the map, barcodes."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from bladerunner_ae.memory_report import charts
from bladerunner_ae.memory_report.sections.latent_map import latent_map
from bladerunner_ae.memory_report.sections.network import read_panels, thinned
from bladerunner_ae.memory_report.shot_memory import FEWEST, film_parts, relation, spearman
from bladerunner_ae.pictures import barcode
from tests.helpers.small_records import card_maker
from tfrecords.card import FilmCard, Shard


def _card(frames: int, starts: list[int]) -> FilmCard:
    card = card_maker()([Shard("a", frames, 0, 1, "0" * 64)])
    return FilmCard(**{**card.__dict__, "shot_starts": starts})


def test_parts_end_at_cuts_and_held_out_frames() -> None:
    labels = np.array(["seen"] * 30 + ["held out"] * 10 + ["seen"] * 60)
    found = film_parts([_card(100, [0, 5, 20, 60, 90])], [labels])
    expected = [(1, 0, 5), (2, 5, 20), (3, 20, 30), (3, 30, 40), (3, 40, 60), (4, 60, 90),
                (5, 90, 100)]  # fmt: skip
    assert [(part.shot, part.start, part.end) for part in found] == expected
    assert [part.label for part in found] == ["seen"] * 3 + ["held out"] + ["seen"] * 3


@pytest.mark.parametrize(("frames", "parts"), [(2400, 12), (1, 1), (2, 1), (20, 1)])
def test_a_film_without_cuts_has_equal_parts(frames: int, parts: int) -> None:
    found = film_parts([_card(frames, [0])], [np.full(frames, "seen")])
    length = frames // parts
    assert [(part.start, part.end) for part in found] == [
        (start, start + length) for start in range(0, frames, length)
    ]


def test_spearman_shares_ranks_among_equal_values() -> None:
    assert spearman(np.array([1.0, 2, 3, 40]), np.array([1.0, 10, 11, 12])) == pytest.approx(1.0)
    assert spearman(np.array([1.0, 2, 3, 4]), np.array([4.0, 3, 2, 1])) == pytest.approx(-1.0)
    # ranks 1, 2.5, 2.5, 4 and 1, 2, 3, 4: 4.5 / sqrt(4.5 * 5)
    shared = spearman(np.array([1.0, 5, 5, 9]), np.array([1.0, 2, 3, 4]))
    assert shared == pytest.approx(4.5 / math.sqrt(4.5 * 5))


def test_a_relation_is_clear_if_its_interval_excludes_0() -> None:
    motion = np.linspace(0, 10, 30)
    random = np.random.default_rng(0)
    found = relation(motion.tolist(), (40 - motion + random.normal(0, 1, 30)).tolist())
    assert found is not None and found.clear and -1 <= found.low < found.rho < found.high < 0
    none = relation(motion.tolist(), random.normal(0, 1, 30).tolist())
    assert none is not None and not none.clear
    assert relation([1.0] * FEWEST, list(range(FEWEST))) is None
    assert relation([1.0, 2], [1.0, 2]) is None


def test_axes_cover_their_values_with_round_marks() -> None:
    axis = charts.linear([21.3, 58.9], "PSNR")
    assert (axis.low, axis.high) == (20.0, 60.0)
    assert [words for _, words in axis.ticks] == ["20", "30", "40", "50", "60"]
    assert [axis.place(value) for value in (20, 40, 60, 99)] == [0, 500, 1000, 1000]
    assert charts.linear([5.0, 5.0], "").place(5.0) == pytest.approx(500, abs=1)
    still = charts.logarithmic([0.0, 0.0], "", 0.1)
    assert math.isfinite(still.place(0.0))
    rates = charts.logarithmic([1e-5, 1e-3], "", 0.0)
    assert {"1e-5", "1e-4", "0.001"} <= {words for _, words in rates.ticks}
    times = charts.time_axis(7000.0)
    assert [words for _, words in times.ticks][:3] == ["0:00", "15:00", "30:00"]
    assert times.ticks[-1][1] == "1:45:00"


def test_curves_skip_damaged_lines_of_metrics(tmp_path: Path) -> None:
    lines = [
        {"step": 0, "probe/psnr_seen": 20.0, "term/p_real": 0.0},
        {"step": 10, "probe/psnr_seen": 25.0, "probe/psnr_held_out": math.nan, "term/p_real": 0.0},
        {"step": 10, "probe/psnr_seen": 26.0},
    ]
    text = "\n".join(json.dumps(line) for line in lines) + '\n[1]\n{"step": 20, "probe/ps'
    (tmp_path / "metrics.jsonl").write_text(text)
    (panel,) = read_panels(tmp_path)
    (curve,) = panel.curves
    assert (curve.name, curve.points) == ("seen", [(0.0, 20.0), (10.0, 26.0)])
    assert read_panels(None) == [] and read_panels(tmp_path / "none") == []
    many = [(float(i), 0.0) for i in range(10_001)]
    assert len(thinned(many)) <= 401 and thinned(many)[-1] == many[-1]


def test_the_map_finds_the_direction_that_shows() -> None:
    """One direction of the latents shows in the pictures, another varies more and does not."""
    random = np.random.default_rng(0)
    latents = random.normal(0, 1, (500, 4)).astype(np.float32)
    latents[:, 3] *= 3
    pictures = np.outer(latents[:, 1], np.arange(1.0, 6.0)).astype(np.float32)
    found = latent_map(latents, pictures)
    assert found is not None and found.share > 0.99
    alike = np.corrcoef(found.places[:, 0], latents[:, 1])[0, 1]
    assert abs(alike) > 0.95
    assert found.places.min() == 0 and found.places.max() == 1
    assert latent_map(latents[:2], pictures[:2]) is None
    assert latent_map(latents, np.ones((500, 5), np.float32)) is None


def test_bands_of_a_picture_are_averaged_as_light() -> None:
    picture = np.zeros((1, 8, 4, 3), np.uint8)
    picture[0, :4, :2] = 255  # above half white, half black; below black
    light = barcode.band_light(picture, 2)
    np.testing.assert_allclose(light[0], [[0.5] * 3, [0.0] * 3])
    assert barcode.band_light(picture[:, :1], 3).shape == (1, 3, 3)
