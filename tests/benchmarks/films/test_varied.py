"""The command: what it refuses, says and writes; the real material only in a slow test."""

import dataclasses
import json
from pathlib import Path

import pytest

from benchmarks.films import varied
from benchmarks.films.camera_moves import LIGHTS, Camera, Window
from benchmarks.films.encoding import decoded_sha256
from benchmarks.films.shot_plan import SetUp, Shot, Take
from benchmarks.films.varied import Checksums, Made, describe, page, verdicts, write_shots

SET_UPS = [
    SetUp("endless-sky-data/sea1.jpg", "sea", 720, 360),
    SetUp("moviepy/bbb.mp4#0", "bunny0", 1280, 720, (Take(0, 90),)),
]
WINDOW = Window(0, 0, 640)
SHOTS = [
    Shot(0, 48, 0, 0, 0, Camera("pan", (720, 360), WINDOW, WINDOW), LIGHTS[0]),
    Shot(48, 24, 1, 1, 1, Camera("fixed", (1280, 720), WINDOW, WINDOW), LIGHTS[1], dissolve=12),
]
SUMS = Checksums("a" * 64, "b" * 64, "c" * 64)
MADE = Made(SHOTS, SET_UPS, SUMS, 12.4, 8.6, 3_400_000)


def test_checksums_are_judged() -> None:
    assert all("as expected)" in line and "not" not in line for line in verdicts(SUMS, SUMS))
    encoder = verdicts(SUMS, dataclasses.replace(SUMS, decoded="0", file="0"))
    assert [line.rpartition("(")[2] for line in encoder] == [
        "as expected)",
        "not as expected: another version of libx264)",
        "not as expected: another version of libx264)",
    ]
    other = verdicts(SUMS, Checksums("0", "0", "0"))
    assert "NOT as expected: figures" in other[0]
    assert other[1].endswith("(not as expected)") and other[2].endswith("(not as expected)")
    assert "nothing to compare" in verdicts(SUMS, None)[0]


def test_the_expected_checksums_are_there() -> None:
    for expected in varied.EXPECTED.values():
        for value in dataclasses.astuple(expected):
            assert len(bytes.fromhex(value)) == 32


def test_figures_of_a_film() -> None:
    assert describe(MADE) == {
        "frames": "72, 0.1 minutes",
        "shots": "2, median 1.5 s",
        "scenes": "2, 1 of them come back",
        "set-ups": "2: 1 photographs, 1 of the open film",
        "frames of the open film": "33 %",
        "dissolves, fades": "1, 0",
        "size": "3.4 MB",
        "made in": "12 s, 9 s of processors",
    }


def test_the_page_names_every_author() -> None:
    materials = varied.read_materials()
    text = page(MADE, materials)
    for each in materials:
        assert each.author in text and each.licence in text and each.file.name in text
    assert SUMS.frames in text and "| shots | 2, median 1.5 s |" in text


def test_the_list_of_shots(tmp_path: Path) -> None:
    write_shots(SHOTS, SET_UPS, tmp_path / "film.shots.json")
    first, second = json.loads((tmp_path / "film.shots.json").read_text("utf-8"))
    assert (first["start"], first["n"], first["setup"], first["kind"]) == (0, 48, 0, "photograph")
    assert (second["start"], second["back"], second["src"]) == (48, 1, "moviepy/bbb.mp4#0")
    assert [path.name for path in tmp_path.iterdir()] == ["film.shots.json"]


@pytest.mark.slow
def test_the_real_material(tmp_path: Path) -> None:
    """Needs the network, pip and apt-get the first time."""
    output = tmp_path / "film.mp4"
    cache = varied.ROOT / ".cache/films"
    made = varied.make_film(output, 300, cache)
    assert decoded_sha256(output) == (made.checksums.decoded, 300)
    again = varied.make_film(output, 300, cache)
    assert again.checksums == made.checksums
    assert {path.name for path in tmp_path.iterdir()} == {"film.mp4", "film.shots.json"}
    known = varied.set_ups(
        varied.read_materials(), varied.fetch_materials(varied.read_materials(), cache)
    )
    assert len(known) > 400
