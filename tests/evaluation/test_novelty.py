"""Held-out frames that have a near copy among the seen ones, and those that are new."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bladerunner_ae.evaluation import measurement, novelty, summary
from bladerunner_ae.evaluation.choice import choose_all
from tests.evaluation.test_summary import Changed, greys
from tests.helpers.small_records import write_pictures
from tfrecords.card import load_card


def test_a_frame_is_as_new_as_the_most_similar_seen_one_is_far(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    pictures[7] = np.clip(pictures[2].astype(int) + 5, 0, 255)  # a near copy
    pictures[9] = pictures[8]  # of a frame that is held out too
    write_pictures(tmp_path / "film", list(pictures), image_format="png")
    seen = np.ones(12, bool)
    seen[[7, 8, 9, 11]] = False
    monkeypatch.setattr(novelty, "_BATCH", 3)
    held = np.flatnonzero(~seen)
    found = novelty.nearest_seen(
        tmp_path / "film", load_card(tmp_path / "film"), pictures[held], seen
    )
    differences = pictures[held][:, None].astype(float) - pictures[seen][None]
    mse = np.square(differences).mean(axis=(2, 3, 4)).min(axis=1)
    np.testing.assert_allclose(found, 10 * np.log10(255**2 / mse), atol=0.01)
    assert found[0] > novelty.COPY_DB - 2.0 and (found[1:] < 12.0).all()


def test_equal_frames_are_near_copies(tmp_path: Path) -> None:
    pictures = greys([10, 200, 10])
    write_pictures(tmp_path / "film", list(pictures), image_format="png")
    card = load_card(tmp_path / "film")
    found = novelty.nearest_seen(
        tmp_path / "film", card, pictures[2:], np.array([True, True, False])
    )
    assert found[0] > 60.0


def test_figures_of_a_part_are_those_of_its_frames_alone() -> None:
    images = greys([10, 20, 30, 40, 50, 60])
    labels = np.array(["seen"] * 3 + ["held out"] * 3)
    pieces = [(0, 3), (3, 5), (5, 6)]
    errors = np.array([1, 2, 3, 4, 8, 16])
    systems = {
        "dream": Changed(lambda x: (x + errors[: len(x), None, None, None]).astype(np.uint8)),
        "none": Changed(lambda x: x),
    }
    scope = measurement.Scope(
        systems, labels, choose_all(pieces, ["seen", "held out", "held out"], 6), vmaf=False
    )
    new = np.array([False, False, False, False, True, True])
    nothing = np.zeros(6, bool)
    found = summary.summarise(
        measurement.measure_pictures(scope, images), labels, pieces, {"new": new, "no": nothing}
    )
    assert set(found["groups"]) == {"seen", "held out", "new"}
    assert found["groups"]["new"]["frames"] == 2 and found["groups"]["new"]["shots"] == 2
    psnr = 20 * np.log10(255 / errors)
    assert found["groups"]["new"]["psnr"] == pytest.approx(psnr[4:].mean(), abs=1e-3)
    assert found["groups"]["held out"]["psnr"] == pytest.approx(psnr[3:].mean(), abs=1e-3)
    assert found["baselines"]["none"]["new"]["frames"] == 2
    assert [shot["frames"] for shot in found["shots"]] == [3, 2, 1]
