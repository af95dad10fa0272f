"""The frames of a long film that are measured, and how much of it is read."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from benchmarks.measuring.__main__ import Reads, counting_reads, write_film
from bladerunner_ae.evaluation import baselines, novelty
from bladerunner_ae.evaluation.choice import (
    FEW_FRAMES,
    MAX_FRAMES,
    Choice,
    choose,
    choose_all,
    describe_choice,
    spread_evenly,
    spread_pairs,
)
from bladerunner_ae.evaluation.evaluate_film import EvaluationOptions, evaluate_film
from bladerunner_ae.memory_report.write import write_report
from tests.helpers.small_records import card_maker
from tests.helpers.tiny_exports import small_networks, write_export
from tests.helpers.tiny_training import HEIGHT, WIDTH
from tfrecords.card import FilmCard, Shard

TWO_HOURS = 172_800
Stretches = list[tuple[int, int]]


def film(frames: int, shots: int, held_out: bool = True) -> tuple[Stretches, list[str]]:
    """Return parts and their groups: shots of any length, every tenth run of 48 held out."""
    random = np.random.default_rng(frames + shots)
    cuts = random.choice(np.arange(1, frames), shots - 1, replace=False)
    held = (np.arange(frames) // 48 % 10 == 9) & held_out
    borders = sorted({0, *cuts.tolist(), *(np.flatnonzero(np.diff(held)) + 1).tolist(), frames})
    parts = list(pairwise(borders))
    return parts, ["held out" if held[start] else "seen" for start, _ in parts]


def check(choice: Choice, parts: Stretches, groups: list[str], at_most: int) -> None:
    """Assert what holds for every choice."""
    assert choice.frames.sum() <= at_most
    starts = [start for start, _ in parts]
    assert not choice.follows[starts].any()
    assert (choice.frames[choice.follows] & choice.frames[np.flatnonzero(choice.follows) - 1]).all()
    np.testing.assert_array_equal(choice.weights > 0, choice.frames)
    np.testing.assert_array_equal(choice.change_weights > 0, choice.follows)
    assert choice.frames[choice.few_weights > 0].all()
    in_runs = np.zeros_like(choice.frames)
    for start, end in choice.runs:
        in_runs[start:end] = True
        assert any(a <= start < end <= b for a, b in parts)
    np.testing.assert_array_equal(choice.run_weights > 0, in_runs)
    assert choice.frames[in_runs].all()
    for group in set(groups):
        own = np.concatenate([np.arange(start, end) for (start, end), name in
                              zip(parts, groups, strict=True) if name == group])  # fmt: skip
        assert choice.weights[own].sum() == pytest.approx(len(own))
        few = choice.few_weights[own]
        assert few.sum() == pytest.approx(len(own))
        assert (
            0.6 * min(FEW_FRAMES, (choice.weights[own] > 0).sum()) < (few > 0).sum() <= FEW_FRAMES
        )
        if len(choice.runs) > 1:
            assert choice.run_weights[own].sum() == pytest.approx(len(own))


@pytest.mark.parametrize(
    ("frames", "shots", "at_most"),
    [(TWO_HOURS, 250, 5_000), (14_400, 20, 5_000), (TWO_HOURS, 1_400, 5_000),
     (TWO_HOURS, 1, 5_000), (5_001, 3, 5_000), (20_000, 60, 1_500)],
)  # fmt: skip
def test_some_of_every_shot_is_measured(frames: int, shots: int, at_most: int) -> None:
    parts, groups = film(frames, shots)
    choice = choose(parts, groups, frames, at_most)
    check(choice, parts, groups, at_most)
    assert choice.frames.sum() == at_most
    for start, end in parts:
        assert choice.frames[start:end].any()
        assert choice.follows[start:end].any() or end - start == 1
        assert choice.weights[start:end].sum() == end - start
        assert choice.change_weights[start:end].sum() == end - start - 1
    of_runs = sum(end - start for start, end in choice.runs)
    assert 0.1 < of_runs / at_most <= 0.2
    again = choose(parts, groups, frames, at_most)
    np.testing.assert_array_equal(again.weights, choice.weights)


@pytest.mark.parametrize(("frames", "shots", "at_most"), [(9_000, 700, 1_000), (500, 60, 80)])
def test_without_room_for_pairs_a_shot_has_a_frame(frames: int, shots: int, at_most: int) -> None:
    parts, groups = film(frames, shots, held_out=False)
    choice = choose(parts, groups, frames, at_most)
    check(choice, parts, groups, at_most)
    assert all(choice.frames[start:end].any() for start, end in parts)
    paired = sum(choice.follows[start:end].any() for start, end in parts)
    assert 0 < paired < shots


@pytest.mark.parametrize("at_most", [1, 2, 3, 10, 200, 2_000])
def test_more_shots_than_room(at_most: int) -> None:
    frames = 60_000
    parts, groups = film(frames, 3_000)
    choice = choose(parts, groups, frames, at_most)
    assert at_most * 0.7 < choice.frames.sum() <= at_most
    if at_most >= 10:
        check(choice, parts, groups, at_most)
        measured = [name for (start, end), name in zip(parts, groups, strict=True)
                    if choice.frames[start:end].any()]  # fmt: skip
        share = groups.count("held out") / len(groups)
        assert measured.count("held out") / len(measured) == pytest.approx(share, abs=0.2)


@pytest.mark.parametrize("at_most", [0, 100, 101, 10**6])
def test_all_frames_where_there_is_room(at_most: int) -> None:
    parts = [(0, 50), (50, 51), (51, 100)]
    choice = choose(parts, ["seen"] * 3, 100, at_most)
    assert choice.complete and choice.runs == [(0, 100)]
    assert set(choice.weights.tolist()) == set(choice.run_weights.tolist()) == {1.0}
    first = np.isin(np.arange(100), [0, 50, 51])
    np.testing.assert_array_equal(choice.follows, ~first)
    np.testing.assert_array_equal(choice.change_weights, ~first)


def test_a_sample_estimates_the_mean_of_all_frames() -> None:
    """Shots differ, and some are three times as densely sampled as others."""
    parts, groups = film(TWO_HOURS, 250, held_out=False)
    choice = choose(parts, groups, TWO_HOURS, 5_000)
    random = np.random.default_rng(7)
    values = np.concatenate(
        [random.normal(30, 4) + np.linspace(0, random.normal(0, 3), end - start)
         for start, end in parts]
    )  # fmt: skip
    truth = values.mean()
    estimate = np.average(values, weights=choice.weights)
    assert estimate == pytest.approx(truth, abs=0.02)
    # Counting each frame of the sample once would be wrong.
    assert abs(values[choice.frames].mean() - truth) > 5 * abs(estimate - truth)
    for start, end in parts:
        own = np.average(values[start:end], weights=choice.weights[start:end])
        assert own == pytest.approx(values[start:end].mean(), abs=0.6)


def test_runs_are_spread_over_both_groups() -> None:
    parts, groups = film(TWO_HOURS, 250)
    choice = choose(parts, groups, TWO_HOURS, 5_000)
    held = [start // 48 % 10 == 9 for start, _ in choice.runs]
    assert len(choice.runs) == 20 and sum(held) == 5
    seen = [start for (start, _), out in zip(choice.runs, held, strict=True) if not out]
    assert np.diff(seen).max() < 1.5 * TWO_HOURS / 15
    assert max(end - start for start, end in choice.runs) == 48


@pytest.mark.parametrize(
    ("frames", "pairs", "chosen"),
    [(10, 2, [1, 2, 6, 7]), (1, 1, [0]), (8, 3, [0, 1, 3, 4, 5, 6]), (5, 0, []), (3, 2, [0, 1, 2])],
)
def test_pairs_are_spread(frames: int, pairs: int, chosen: list[int]) -> None:
    assert spread_pairs(frames, pairs).tolist() == chosen


def test_frames_are_spread_over_the_film_not_the_sample() -> None:
    assert spread_evenly(np.ones(10, np.float32), 3).tolist() == [1, 5, 8]
    assert spread_evenly(np.ones(4, np.float32), 9).tolist() == [0, 1, 2, 3]
    # Six frames that stand for one each, then three for ten each.
    weights = np.array([1, 1, 1, 1, 1, 1, 10, 10, 10], np.float32)
    assert spread_evenly(weights, 4).tolist() == [4, 6, 7, 8]


def test_a_few_frames_of_each_group() -> None:
    """They are evenly spread over each group's own time, and stand for equal shares of it."""
    parts, groups = [(0, 500), (500, 530), (530, 1000)], ["seen", "held out", "seen"]
    choice = choose_all(parts, groups, 1000, few=97)
    (few,) = np.nonzero(choice.few_weights)
    held = (few >= 500) & (few < 530)
    assert held.sum() == 30 and (choice.few_weights[few[held]] == 1.0).all()
    assert (~held).sum() == 97
    np.testing.assert_allclose(choice.few_weights[few[~held]], 10.0)
    assert few[few < 500].tolist() == list(range(5, 500, 10))


def test_a_few_of_a_sample_follow_the_film_not_the_sample() -> None:
    parts, groups = film(TWO_HOURS, 250, held_out=False)
    choice = choose(parts, groups, TWO_HOURS, 5_000)
    few = choice.few_weights
    for start, end in ((0, TWO_HOURS // 2), (TWO_HOURS // 2, TWO_HOURS)):
        assert few[start:end].sum() == pytest.approx(TWO_HOURS / 2, rel=0.03)


def card_of(frames: int, shots: int) -> FilmCard:
    card = card_maker()([Shard("a", frames, 0, 1, "0" * 64)])
    return replace(card, shot_starts=[n * frames // shots for n in range(shots)])


def test_the_description_of_a_sample() -> None:
    card = card_of(TWO_HOURS, 250)
    parts = card.shots()
    choice = choose(parts, ["seen"] * 250, TWO_HOURS, MAX_FRAMES)
    assert describe_choice([(choice, card)], vmaf=True) == (
        "5,000 of 172,800 frames in 250 shots, VMAF over 20 runs of 48 frames"
    )
    few = choose(parts, ["seen"] * 250, TWO_HOURS, 100)
    assert describe_choice([(few, card)]) == "100 of 172,800 frames in 45 of 250 shots"
    small = card_of(1, 1)
    both = [(choose_all([(0, 1)], ["seen"], 1), small), (choice, card)]
    assert describe_choice(both) == "5,001 of 172,801 frames in 251 shots"
    assert describe_choice([(choice, card)], vmaf=True, perceptual=True).endswith(
        ", VMAF over 20 runs of 48 frames, perceptual distance over 256 frames"
    )
    assert describe_choice(both[:1], perceptual=True) == (
        "all 1 frame in 1 shot, perceptual distance over all of them"
    )
    assert describe_choice(both[:1], vmaf=True) == "all 1 frame in 1 shot, VMAF over all of them"


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Folders of records of a film and of one twelve times as long, each with a model."""
    root = tmp_path_factory.mktemp("films")
    for frames in (1_200, 14_400):
        write_film(root / str(frames) / "film", frames, f"{frames:016x}", HEIGHT, WIDTH)
    short, long = root / "1200", root / "14400"
    write_export(short / "export", short / "film", small_networks())
    shutil.copytree(short / "export", long / "export")
    for path in (long / "export").rglob("model_card.json"):
        card = json.loads(path.read_text("utf-8"))
        card["films"][0].update(film_id=f"{14_400:016x}", frames=14_400)
        path.write_text(json.dumps(card), "utf-8")
    return {1_200: short, 14_400: long}


def read_for(folder: Path, command: str) -> Reads:
    with counting_reads() as reads:
        if command == "evaluate":
            options = EvaluationOptions(max_frames=100, vmaf=False, perceptual=False)
            result = evaluate_film(folder / "export" / "autoencoder", folder / "film", options)
            assert result["groups"].keys() == {"seen", "held out"}
            assert result["measured"] == 100 and "PCA-20" in result["baselines"]
        else:
            page = folder / "report.html"
            write_report(folder / "export" / "autoencoder", [folder / "film"], page, 100)
            frames = int(folder.name)
            assert f"100 of {frames:,} frames were measured, in " in page.read_text("utf-8")
    return reads


@pytest.mark.slow
@pytest.mark.parametrize("command", ["evaluate", "report"])
def test_a_film_twelve_times_as_long_is_read_no_more(
    films: dict[int, Path], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baselines, "FRAMES", 60)
    monkeypatch.setattr(novelty, "MOST_SEEN", 1_000)  # both are long
    short, long = (read_for(films[frames], command) for frames in (1_200, 14_400))
    # `evaluate` also fits baselines to 60 and compares the 8 held out; `report` shows all that it
    # measured, and 12 shots at most.
    most = {"evaluate": 100 + 60 + 8, "report": 100 + 100 + 12}[command]
    assert most - 12 <= short.frames <= most and most - 12 <= long.frames <= most
    size = sum(path.stat().st_size for path in (films[14_400] / "film").glob("*.tfrecord"))
    assert long.bytes < size / 5
    # Far records are found by probing: more bytes, but not twelve times as many.
    assert long.bytes < 6 * short.bytes and long.calls < 2.5 * short.calls
    assert long.bytes < io.DEFAULT_BUFFER_SIZE * long.frames, "at most one probe for each frame"
