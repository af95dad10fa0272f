"""The judges of the benchmarks that look at films from outside: planted faults are called wrong."""

import dataclasses
from pathlib import Path

import pytest

from benchmarks.judging.forked_commands import Ended
from benchmarks.judging.player import run_ffmpeg, show
from benchmarks.sound_codecs import __main__ as sound_codecs
from benchmarks.sound_codecs import beeping_films as sound_codec_films
from benchmarks.structure.__main__ import failures, page
from benchmarks.structure.judge import (
    REFUSED,
    RIGHT,
    UNEXPLAINED,
    WRONG,
    Source,
    check_source,
    judge_command,
    judge_film,
    numbers_of,
)
from benchmarks.structure.making import Truth, make
from benchmarks.structure.recipes import TURNS, Recipe, Sound, draw

RECIPE = Recipe(
    0, "mp4", "h264", frames=30, flashes=(5, 10, 19), title="A Film",
    sounds=(Sound("aac", 48000, 2, "pol"), Sound("ac3", 48000, 2, "eng")), has=("chapters",),
)  # fmt: skip
COPY = ("-map", "0", "-c", "copy")
ANEW = ("-map", "0:v", "-map", "0:a", "-c:a", "copy", "-c:v", "libx264", "-crf", "14",
        "-preset", "ultrafast", "-fps_mode", "passthrough")  # fmt: skip

# What is done to a good result, and words of what must be found.
PLANTED = {
    "nothing": (COPY, ""),
    "a frame is missing": ((*ANEW, "-vf", "select='not(eq(n,7))'"), "29 frames, not 30"),
    "a frame comes twice": ((*ANEW, "-vf", "loop=1:1:7"), "31 frames"),
    "two frames changed places": ((*ANEW, "-vf", "shuffleframes=0 2 1"), "frame 1 holds number 2"),
    "turned by 180 degrees": ((*ANEW, "-vf", "hflip,vflip"), "frame"),
    "mirrored": ((*ANEW, "-vf", "hflip"), "frame"),
    "cropped": ((*ANEW, "-vf", "crop=iw-8:ih-8"), "82 rows, not 90"),
    "stretched": ((*ANEW, "-vf", "setsar=4/3"), "shape"),
    "slower": ((*ANEW, "-enc_time_base", "1:24000", "-vf", "settb=1/24000,setpts=PTS*1.002"),
               "from its time"),
    "a track is missing": (("-map", "0:v", "-map", "0:a:0", "-c", "copy"), "1 sound tracks, not 2"),
    "tracks changed places": (
        ("-map", "0:v", "-map", "0:a:1", "-map", "0:a:0", "-c", "copy"), "languages"),
    "a language is lost": ((*COPY, "-metadata:s:a:1", "language=und"), "languages"),
    "another title": ((*COPY, "-metadata", "title=Another"), "title"),
    "chapters are lost": ((*COPY, "-map_chapters", "-1"), "chapters"),
    "the sound is cut": ((*ANEW[:4], "-c:v", "copy", "-af", "atrim=0:0.9"), "ends"),
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth, Source]:
    """A film, the truth about it, and what ffmpeg reads."""
    path, truth = make(RECIPE, tmp_path_factory.mktemp("film"))
    return path, truth, check_source(RECIPE, path, truth)


@pytest.mark.parametrize("fault", PLANTED)
def test_planted_faults(fault: str, made: tuple[Path, Truth, Source], tmp_path: Path) -> None:
    path, truth, source = made
    arguments, words = PLANTED[fault]
    result = tmp_path / "result.mp4"
    run_ffmpeg("-i", path, *arguments, result)
    verdict = judge_film(RECIPE, truth, source, result)
    assert verdict.kind == (WRONG if words else RIGHT), verdict.detail
    assert words in verdict.detail


@pytest.mark.parametrize("seconds", [-0.06, 0.05])
def test_shifted_sound(seconds: float, made: tuple[Path, Truth, Source], tmp_path: Path) -> None:
    path, truth, source = made
    result = tmp_path / "result.mkv"
    run_ffmpeg("-i", path, "-itsoffset", seconds, "-i", path, "-map", "0:v", "-map", "0:a:0",
               "-map", "1:a:1", "-c", "copy", result)  # fmt: skip
    verdict = judge_film(RECIPE, truth, source, result)
    assert verdict.kind == WRONG
    assert "track 1: sound is 0.0" in verdict.detail
    assert "track 0" not in verdict.detail


def test_a_last_picture_that_is_not_held(made: tuple[Path, Truth, Source]) -> None:
    path, truth, source = made
    assert truth.length is not None
    held = dataclasses.replace(truth, length=truth.length + 1)
    assert "the pictures last 1.250 s, not 2.250" in judge_film(RECIPE, held, source, path).detail


def test_films_are_upright_by_arithmetic_and_by_ffmpeg(tmp_path: Path) -> None:
    for turn in range(len(TURNS)):
        folder = tmp_path / str(turn)
        folder.mkdir()
        path, truth = make(Recipe(0, "mov", "mjpeg", frames=3, turn=turn), folder)
        shown = show(path)
        assert numbers_of(shown.pictures) == truth.numbers == [0, 1, 2], TURNS[turn]
        assert shown.pictures[0].shape == (90, 160, 3)


def test_recipes_repeat() -> None:
    films = [draw(1, number) for number in range(40)]
    assert films == [draw(1, number) for number in range(40)]
    assert films != [draw(2, number) for number in range(40)]
    assert draw(1, 0, attempt=1) != films[0]
    assert len({film.container for film in films}) > 8


def test_how_a_command_ends() -> None:
    def kind(code: int | None, err: str, late: bool = False, recipe: Recipe = RECIPE) -> str:
        verdict = judge_command(recipe, Ended(code, "", err), written=False, late=late)
        return verdict.kind if verdict else ""

    encrypted = dataclasses.replace(RECIPE, has=("encrypted",))
    assert kind(0, "") == ""
    assert kind(None, "") == kind(-11, "") == kind(2, "") == kind(130, "error: x") == WRONG
    assert kind(3, "error: unexpected KeyError: 'x'") == WRONG
    assert kind(2, "Traceback (most recent call last)\nerror: x") == WRONG
    assert kind(2, "error: film.mp4: I do not like it") == UNEXPLAINED
    assert kind(3, "error: film.mp4: is encrypted", late=True, recipe=encrypted) == WRONG
    assert kind(2, "error: film.mp4: is encrypted", recipe=encrypted) == REFUSED
    assert kind(0, "", recipe=encrypted) == WRONG


def test_the_table_counts_the_worse_of_two() -> None:
    plain = {"recipe": "mp4, h264;", "container": "mp4", "redrawn": ["size of mp4, png"]}
    results = {
        "0": {**plain, "records": [RIGHT, ""], "film": [RIGHT, ""]},
        "1": {**plain, "records": [RIGHT, ""], "film": [WRONG, "29 frames, not 30"]},
        "2": {**plain, "records": [REFUSED, "it is encrypted"], "film": [UNEXPLAINED, "no"]},
    }
    lines = page(results, seed=4, seconds=9)
    assert "| mp4 | 1 | 0 | 1 | 1 |" in lines
    assert "* it is encrypted: 1" in lines
    assert failures(results) == [
        "* 1, film: WRONG: 29 frames, not 30 (mp4, h264;)",
        "* 2, film: UNEXPLAINED: no (mp4, h264;)",
    ]


def test_sound_that_is_not_what_it_was(tmp_path: Path) -> None:
    film = sound_codec_films.Film("aac", ["mp4"], (sound_codec_films.Track("aac"),))
    master = sound_codec_films.make_master(tmp_path)
    made = sound_codec_films.make(film, tmp_path, master)
    result = tmp_path / "result.mp4"
    done = Ended(0, "sound copied (pcm_s16le, every sample identical)", "dream: 60/60 frames")

    def judged(*arguments: object, ended: Ended = done) -> tuple[str, str]:
        run_ffmpeg(*arguments, result)
        row = sound_codecs.judge(film, made, result, ended)
        return row["kind"], row["detail"]

    both, again = ("-map", "0:v", "-map", "1:a", "-c", "copy"), ("-c:v", "copy", "-c:a", "ac3")
    assert judged("-i", made.path, *COPY) == (sound_codecs.COPIED, "")
    anew = Ended(0, "re-encoded", "")
    assert judged("-i", made.path, *again, ended=anew) == (sound_codecs.ANEW, "")
    kind, detail = judged("-i", made.path, *again)
    assert kind == sound_codecs.WRONG
    assert "said to be copied" in detail
    kind, detail = judged("-i", made.path, "-itsoffset", 0.04, "-i", made.path, *both)
    assert kind == sound_codecs.WRONG
    assert "ms out of sync" in detail
    kind, detail = judged("-i", made.path, "-ac", 1, "-c:v", "copy", ended=anew)
    assert kind == sound_codecs.WRONG
    assert "1 channels of 2" in detail
    late = Ended(3, "", "dream: 60/60 frames (100 %)\nerror: x")
    assert judged("-i", made.path, *COPY, ended=late)[0] == sound_codecs.WRONG
    result.unlink()
    refused = sound_codecs.judge(film, made, result, Ended(2, "", "error: film: no such sound"))
    assert refused["kind"] == sound_codecs.REFUSED
