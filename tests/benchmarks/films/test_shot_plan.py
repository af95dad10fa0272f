"""The plan of the varied film: lengths, recurrence, clips never longer than their takes."""

import dataclasses
import statistics
from itertools import pairwise

import pytest

from benchmarks.films.material import read_takes
from benchmarks.films.shot_plan import LONGEST, SHORTEST, SetUp, Shot, Take, plan_film

SHIPS = 3
PHOTOGRAPHS = [SetUp(f"photo{k}", f"place{k % 17}", 720, 360) for k in range(200)]
TAKES = [(Take(200 * k, 40 + k), Take(200 * k + 100, 90)) for k in range(40)]
CLIPS = [SetUp(f"clip{k}", f"film{k // 6}", 1280, 720, takes) for k, takes in enumerate(TAKES)]
SET_UPS = [*PHOTOGRAPHS, *CLIPS]


@pytest.fixture(scope="module")
def shots() -> list[Shot]:
    return plan_film(SET_UPS, 20_000, SHIPS)


@pytest.fixture(scope="module")
def long() -> list[Shot]:
    return plan_film(SET_UPS, 168_480, SHIPS)


def test_the_film_has_its_frames_without_gap(shots: list[Shot], long: list[Shot]) -> None:
    for film, frames in ((shots, 20_000), (long, 168_480)):
        assert film[0].start == 0
        for before, after in pairwise(film):
            assert after.start == before.start + before.frames
        assert film[-1].start + film[-1].frames == frames


def test_shots_are_those_of_a_feature_film(shots: list[Shot]) -> None:
    assert len(shots) >= 250
    assert 2.4 <= statistics.median(shot.frames for shot in shots) / 24 <= 3
    assert all(SHORTEST <= shot.frames <= LONGEST for shot in shots[:-1])
    assert len({shot.set_up for shot in shots}) >= 70
    moves = {shot.camera.move for shot in shots}
    assert moves == {"pan", "tilt", "push", "pull", "hand", "fixed"}
    assert {shot.light.name for shot in shots} >= {"day", "dusk", "night", "noir"}
    assert sum(shot.dissolve > 0 for shot in shots) > 3
    assert sum(shot.fade_out > 0 for shot in shots) > 0


def test_scenes_have_one_to_four_set_ups_that_alternate(shots: list[Shot]) -> None:
    alternating = 0
    for scene in range(shots[-1].scene):
        numbers = [shot.set_up for shot in shots if shot.scene == scene]
        assert 1 <= len(set(numbers)) <= 4
        if len(set(numbers)) > 1:
            assert all(one != other for one, other in pairwise(numbers))
            alternating += len(numbers) > len(set(numbers))
    assert alternating > 10


def test_a_third_of_the_scenes_comes_back_in_another_light(shots: list[Shot]) -> None:
    scenes = {shot.scene: shot for shot in shots}
    assert 0.25 < sum(shot.back > 0 for shot in scenes.values()) / len(scenes) < 0.45
    light: dict[frozenset[int], str] = {}
    for scene, shot in scenes.items():
        place = frozenset(each.set_up for each in shots if each.scene == scene)
        if shot.back:
            assert light[place] != shot.light.name
        light[place] = shot.light.name


def test_no_shot_is_longer_than_what_is_left_of_its_take(long: list[Shot]) -> None:
    seen = set()
    for shot in long:
        takes = SET_UPS[shot.set_up].takes
        if takes:
            last = shot.first + shot.frames + shot.tail
            assert any(
                take.first <= shot.first and last <= take.first + take.frames for take in takes
            )
            seen.add(shot.set_up)
    assert len(seen) == len(CLIPS)


def test_a_clip_is_seen_whole_before_it_begins_again_mirrored(long: list[Shot]) -> None:
    shown: dict[int, set[int]] = {}
    mirrored: dict[int, bool] = {}
    begun_again = 0
    for shot in long:
        if not SET_UPS[shot.set_up].is_clip:
            continue
        frames = {shot.first + k for k in range(shot.frames + shot.tail)}
        if shot.mirrored != mirrored.get(shot.set_up, False):
            takes = sum(take.frames for take in SET_UPS[shot.set_up].takes)
            assert len(shown[shot.set_up]) > 0.5 * takes
            shown[shot.set_up] = set()
            begun_again += 1
        mirrored[shot.set_up] = shot.mirrored
        assert not frames & shown.setdefault(shot.set_up, set())
        shown[shot.set_up] |= frames
    assert begun_again > 40


def test_no_two_shots_have_the_same_camera(long: list[Shot]) -> None:
    assert len({(shot.set_up, shot.camera) for shot in long}) == len(long)


def test_a_dissolve_has_the_frames_that_it_needs(long: list[Shot]) -> None:
    for before, after in pairwise(long):
        assert before.tail == after.dissolve
        assert (before.fade_out > 0) == (after.fade_in > 0)
    assert long[-1].tail == 0


def test_a_plan_repeats_and_another_seed_makes_another(shots: list[Shot]) -> None:
    assert plan_film(SET_UPS, 20_000, SHIPS) == shots
    assert plan_film(SET_UPS, 20_000, SHIPS, seed=1)[:5] != shots[:5]


def test_a_shorter_film_is_the_begin_of_a_longer_one(shots: list[Shot], long: list[Shot]) -> None:
    assert shots[:-1] == long[: len(shots) - 1]
    short = plan_film(SET_UPS, 100, SHIPS)
    assert short[:-1] == shots[: len(short) - 1]
    assert sum(shot.frames for shot in short) == 100


def test_a_long_film_spreads_over_all_set_ups(long: list[Shot]) -> None:
    uses = [sum(shot.set_up == number for shot in long) for number in range(len(SET_UPS))]
    assert min(uses) >= 1
    assert max(uses) < len(long) / 50


@pytest.mark.parametrize("set_ups", [PHOTOGRAPHS[:1], CLIPS[:2], PHOTOGRAPHS[:5]])
def test_little_material_is_enough(set_ups: list[SetUp]) -> None:
    shots = plan_film(set_ups, 5000)
    assert sum(shot.frames for shot in shots) == 5000
    assert all(shot.flight is None for shot in shots)


def test_json_names_what_a_shot_shows(shots: list[Shot]) -> None:
    shot = dataclasses.replace(shots[0], start=7, frames=50, set_up=len(PHOTOGRAPHS), back=2)
    line = shot.as_json(SET_UPS)
    assert {"start": 7, "n": 50, "setup": 200, "back": 2, "src": "clip0"}.items() <= line.items()
    assert line["kind"] == "clip"


def test_the_takes_of_the_open_film_are_apart_and_long_enough() -> None:
    takes = sorted((take for takes in read_takes() for take in takes), key=lambda take: take.first)
    assert len(takes) == 106
    for before, after in pairwise(takes):
        assert before.first + before.frames <= after.first
    assert min(take.frames for take in takes) >= SHORTEST
