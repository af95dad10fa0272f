"""The command as people run it: its output, its end, and the files that it leaves."""

from __future__ import annotations

import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.awkward_films import BAD_FILMS, bad_film, cut
from tests.helpers.commands import error_of, run_python, run_tool, start_python, tool
from tfrecords.card import load_card

FilmFactory = Callable[..., Path]
SMALL = ("--height=72", "--width=128", "--num_shards=4", "--crop_bars=none")


def run(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    return run_tool("make_tfrecords", *arguments, **options)


def error(done: subprocess.CompletedProcess[str], code: int) -> str:
    assert done.stdout == ""
    return error_of(done, code)


def full_disk() -> None:
    """Let the process that calls it write no file larger than 20 kB."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


def everything_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.fixture(scope="module")
def film(film_factory: FilmFactory) -> Path:
    return film_factory(frames=48, height=96, width=160)


def test_two_films_in_one_call_and_again(
    film: Path, film_factory: FilmFactory, tmp_path: Path
) -> None:
    other = film_factory("other.mkv", frames=30, height=96, width=160)
    films = (f"--film={film}", f"--film={other}", f"--output_dir={tmp_path / 'data'}")
    done = run(*films, *SMALL)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith(f"{tmp_path}/data/film: 48 frames 72x128, 24 fps, 2 shots, 4 shards, ")
    assert second.startswith(f"{tmp_path}/data/other: 30 frames 72x128, 24 fps")
    assert "convert: 48/48 frames (100 %)" in done.stderr
    assert everything_in(tmp_path / "data") == ["film", "other"]
    shards = [f"frames-{n:05d}-of-00004.tfrecord" for n in range(4)]
    assert everything_in(tmp_path / "data" / "film") == ["film.json", *shards]

    before = (tmp_path / "data" / "film" / "film.json").stat().st_mtime_ns
    again = run(*films, *SMALL)
    assert again.returncode == 0 and again.stderr == ""
    assert [line.endswith("; up to date") for line in again.stdout.splitlines()] == [True, True]
    assert (tmp_path / "data" / "film" / "film.json").stat().st_mtime_ns == before

    other_size = (f"--film={film}", f"--output_dir={tmp_path / 'data'}", *SMALL, "--height=144")
    assert "(--height: 72 -> 144); use --overwrite" in error(run(*other_size), 2)
    replaced = run(*other_size, "--overwrite")
    assert replaced.returncode == 0, replaced.stderr
    assert load_card(tmp_path / "data" / "film").height == 144
    assert everything_in(tmp_path / "data") == ["film", "other"]


def test_of_several_films_bad_ones_do_not_stop_the_others(film: Path, tmp_path: Path) -> None:
    gone, empty = tmp_path / "gone.mp4", tmp_path / "empty.mp4"
    empty.touch()
    films = [f"--film={path}" for path in (gone, empty, film)]
    done = run(*films, f"--output_dir={tmp_path / 'data'}", *SMALL)
    assert done.returncode == 2
    assert done.stdout.startswith(f"{tmp_path}/data/film: 48 frames")
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert [line.split(": ")[1] for line in errors] == [str(gone), str(empty)]
    assert everything_in(tmp_path / "data") == ["film"]


@pytest.mark.parametrize("kind", BAD_FILMS)
def test_what_is_no_film(kind: str, film: Path, tmp_path: Path) -> None:
    path = bad_film(kind, tmp_path, film)
    message = error(run(f"--film={path}", f"--output_dir={tmp_path / 'data'}"), 2)
    assert BAD_FILMS[kind] in message and str(path) in message
    assert everything_in(tmp_path / "data") == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--crop_bars=1:2"], "--crop_bars=1:2: give auto, none, or pixels"),
        (["--start=noon"], "--start=noon: give seconds"),
        (["--height=0"], "height"),
        (["--height=65501"], "--height=65501: give at most 65500"),
        (["--pixels=99999999"], "--pixels=99999999: give at most 67108864"),
        (["--height=9000", "--width=9000"], "9000x9000 (height x width) are too large"),
        (["--height=8000"], "(height x width) are too large"),
        (["--num_shards=100000"], "--num_shards=100000: give 1 to 99999"),
        (["--duration=0"], "--duration=0: give more than 0 seconds"),
        (["--duration=-1"], "--duration=-1: give seconds"),
        (["--duration=nan"], "--duration=nan: give seconds"),
        (["--start=0:01:00"], "--start=60: no frame of "),
        (["--frame_rate=25"], "--frame_rate is for folders of images"),
        (["--fit=squeeze"], "fit"),
        (["--format=gif"], "choose jpeg or png"),
        (["--no_such_flag"], "no_such_flag"),
        (["stray"], "unexpected argument 'stray'"),
        (["--film=/else/where/film.mp4"], "two films would both go to"),
    ],
)
def test_wrong_usage(arguments: list[str], words: str, film: Path, tmp_path: Path) -> None:
    done = run(f"--film={film}", f"--output_dir={tmp_path / 'data'}", *arguments)
    assert words in error(done, 1)
    assert everything_in(tmp_path / "data") == []


def test_bars_as_large_as_the_film(film: Path, tmp_path: Path) -> None:
    done = run(f"--film={film}", f"--output_dir={tmp_path / 'data'}", "--crop_bars=60:60:0:0")
    assert error(done, 2) == (
        f"error: {film}: --crop_bars=60:60:0:0 (top:bottom:left:right) leave nothing of a picture "
        "of 96 rows and 160 columns; give smaller ones or auto"
    )


def test_missing_flags() -> None:
    assert "--film" in error(run("--output_dir=data"), 1)


def test_an_empty_path_is_not_the_current_folder(film: Path) -> None:
    assert "--output_dir= is empty" in error(run(f"--film={film}", "--output_dir="), 1)
    assert "--film= is empty" in error(run("--film=", "--output_dir=data"), 1)


def test_folders_that_cannot_take_records(film: Path, tmp_path: Path) -> None:
    diary = tmp_path / "data" / "film" / "diary.txt"
    diary.parent.mkdir(parents=True)
    diary.write_text("mine")
    for overwrite in ([], ["--overwrite"]):
        done = run(f"--film={film}", f"--output_dir={tmp_path / 'data'}", *SMALL, *overwrite)
        assert f"{diary.parent}: exists and holds no records" in error(done, 2)
    assert everything_in(diary.parent) == ["diary.txt"]
    # Permissions do not stop the superuser, a file in place of a folder does.
    done = run(f"--film={film}", f"--output_dir={diary}", *SMALL)
    assert f"cannot be written to ({diary} is not a folder)" in error(done, 2)


def test_a_dry_run_writes_nothing(film: Path, tmp_path: Path) -> None:
    done = run(f"--film={film}", f"--output_dir={tmp_path / 'data'}", *SMALL, "--dry_run")
    assert done.returncode == 0 and "about 48 frames of 96x160" in done.stderr
    assert everything_in(tmp_path) == []


def test_a_film_cut_short(film_factory: FilmFactory, tmp_path: Path) -> None:
    short = cut(film_factory("film.mkv", frames=96), tmp_path / "film.mkv", 0.6)
    arguments = (f"--film={short}", f"--output_dir={tmp_path / 'data'}", *SMALL)
    message = error(run(*arguments, "--strict"), 2)
    assert "the film is cut off" in message and "nothing was written" in message
    assert everything_in(tmp_path / "data") == []
    done = run(*arguments)
    assert done.returncode == 0 and "note: film.mkv: the film is cut off" in done.stderr
    assert 30 < load_card(tmp_path / "data" / "film").frames < 90


def test_a_full_disk_stops_all_films(film: Path, film_factory: FilmFactory, tmp_path: Path) -> None:
    other = film_factory("other.mkv", frames=30, height=96, width=160)
    arguments = (f"--film={film}", f"--output_dir={tmp_path / 'data'}", *SMALL)
    for more in ((), (f"--film={other}",)):
        done = run(*arguments, *more, preexec_fn=full_disk)
        message = f"{tmp_path}/data/film: cannot be written (File too large)"
        assert message in error(done, 3) and str(other) not in done.stderr
        assert everything_in(tmp_path / "data") == []


@pytest.mark.parametrize(
    ("number", "code", "left"),
    [
        (signal.SIGKILL, -signal.SIGKILL, [".film.lock", ".film.partial", ".film.state"]),
        pytest.param(signal.SIGINT, 130, [], marks=pytest.mark.slow),
        (signal.SIGTERM, 128 + signal.SIGTERM, []),
    ],
)
def test_stopped_half_way(
    film: Path, tmp_path: Path, number: signal.Signals, code: int, left: list[str]
) -> None:
    data = tmp_path / "data"
    # Large lossless records take seconds, and no shard is finished before all are.
    slow = ("--height=1080", "--width=1920", "--format=png", "--crop_bars=none", "--num_shards=1")
    arguments = (f"--film={film}", f"--output_dir={data}")
    process = start_python(tool("make_tfrecords"), *arguments, *slow)
    deadline = time.monotonic() + 100  # of a machine that does other things, too
    while not list(data.glob(".film.partial/*")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    assert "Traceback" not in said
    assert everything_in(data) == left
    done = run(*arguments, *SMALL)
    assert done.returncode == 0, done.stderr
    assert everything_in(data) == ["film"] and load_card(data / "film").frames == 48


def test_two_at_once_do_not_spoil_each_other(film: Path, tmp_path: Path) -> None:
    arguments = (f"--film={film}", f"--output_dir={tmp_path / 'data'}", *SMALL)
    pair = [start_python(tool("make_tfrecords"), *arguments) for _ in range(2)]
    codes = []
    for process in pair:
        _, said = process.communicate(timeout=60)
        codes.append(process.returncode)
        if process.returncode:
            assert "is writing it" in said or "exists" in said, said
    assert 0 in codes and set(codes) <= {0, 2}
    assert everything_in(tmp_path / "data") == ["film"]
    assert load_card(tmp_path / "data" / "film").frames == 48


def test_no_tensorflow_is_needed(film: Path, tmp_path: Path) -> None:
    code = (
        "import sys, runpy\n"
        f"sys.argv[0] = {tool('make_tfrecords')!r}\n"
        "with __import__('contextlib').suppress(SystemExit):\n"
        "    runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "print(sorted({'tensorflow', 'keras', 'moviepy'} & sys.modules.keys()))\n"
    )
    done = run_python("-c", code, f"--film={film}", f"--output_dir={tmp_path}", *SMALL)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
    assert (tmp_path / "film" / "film.json").exists()


def test_help_and_relative_names(film: Path, tmp_path: Path) -> None:
    shown = run("--help")
    assert shown.returncode == 0 and "Examples:" in shown.stdout and "--crop_bars" in shown.stdout
    assert "--runner=beam \\\n      --beam_options=" in shown.stdout  # as a shell wants it
    assert max(map(len, shown.stdout.splitlines())) <= 100
    assert "may be repeated.\n" in shown.stdout
    (tmp_path / "in").mkdir()
    shutil.copy(film, tmp_path / "in" / "film.mp4")
    done = run("--film=in/film.mp4", "--output_dir=data", *SMALL, cwd=tmp_path)
    assert done.stdout.startswith("data/film: 48 frames"), done.stderr
