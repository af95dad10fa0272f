"""A conversion that is killed and started again ends in the bytes of one that was not."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bladerunner_ae.conversion.convert import convert_film, plan_conversion
from bladerunner_ae.conversion.options import ConversionOptions
from bladerunner_ae.errors import InputError
from bladerunner_ae.film.reading.frame_reader import FrameReader
from bladerunner_ae.film.reading.probe import probe_film
from tests.helpers.awkward_films import cut
from tests.helpers.small_records import flip_byte
from tfrecords.card import CARD_NAME, FilmCard, load_card
from tfrecords.schema import Frame
from tfrecords.writer import FilmWriter

ROOT = Path(__file__).parent.parent.parent
FilmFactory = Callable[..., Path]
OPTIONS = ConversionOptions(height=48, width=80, num_shards=6, bars=(0, 0, 0, 0))
FILM = {"frames": 120, "height": 96, "width": 160, "extra_ffmpeg_args": ("-g", "24")}

CONVERTS = """
import sys
from pathlib import Path
from tests.conversion.test_resume import OPTIONS
from bladerunner_ae.conversion.convert import convert_film, plan_conversion
{before}
convert_film(plan_conversion(Path(sys.argv[1]), Path(sys.argv[2]), OPTIONS))
"""

# Where the process kills itself: the call, and how many calls it survives.
KILLS: dict[str, tuple[str, int]] = {
    "in the first shard": ("tfrecords.writer.FilmWriter.write", 7),
    "in the middle": ("tfrecords.writer.FilmWriter.write", 75),
    "in the last shard": ("tfrecords.writer.FilmWriter.write", 119),
    "before a state is written": ("tfrecords.writer.write_json", 3),
    "before a state gets its name": ("tfrecords.unfinished_parts.os.rename", 4),
    "while shards get their names": ("tfrecords.unfinished_parts.Part.publish", 3),
    "before the card": ("tfrecords.writer.save_card", 0),
    "before the folder gets its name": ("tfrecords.writer.publish", 0),
}
DIES = """
import importlib, os
where, survives = {where!r}, {survives}
package, module, *path, name = where.split(".")
owner = importlib.import_module(package + "." + module)
for step in path:
    owner = getattr(owner, step)
original, calls = getattr(owner, name), [0]
def dies(*arguments, **keywords):
    if calls[0] == survives:
        os.kill(os.getpid(), 9)
    calls[0] += 1
    return original(*arguments, **keywords)
setattr(owner, name, dies)
"""


def convert(
    film: Path, output: Path, options: ConversionOptions = OPTIONS, **rest: Any
) -> FilmCard:
    return convert_film(plan_conversion(film, output, options), **rest)


def convert_and_die(film: Path, output: Path, where: str, survives: int) -> None:
    program = CONVERTS.format(before=DIES.format(where=where, survives=survives))
    process = subprocess.run(
        [sys.executable, "-c", program, str(film), str(output)], cwd=ROOT, capture_output=True
    )
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()


@pytest.fixture(scope="module")
def film(film_factory: FilmFactory) -> Path:
    return film_factory(**FILM)


@pytest.fixture(scope="module")
def unbroken(film: Path, tmp_path_factory: pytest.TempPathFactory) -> FilmCard:
    return convert(film, tmp_path_factory.mktemp("unbroken"))


@pytest.mark.parametrize("place", KILLS)
def test_killed_anywhere(
    film: Path, unbroken: FilmCard, tmp_path: Path, place: str, capfd: pytest.CaptureFixture[str]
) -> None:
    convert_and_die(film, tmp_path, *KILLS[place])
    assert not (tmp_path / film.stem).exists()
    assert convert(film, tmp_path) == unbroken  # with every shard's SHA-256, shots and notes
    assert load_card(tmp_path / film.stem) == unbroken
    assert os.listdir(tmp_path) == [film.stem]
    resumed = "resuming from frame" in capfd.readouterr().err
    assert resumed == (place != "in the first shard")


def test_killed_again_and_again(film: Path, unbroken: FilmCard, tmp_path: Path) -> None:
    for survives in (25, 30, 45):  # frames of this run alone
        convert_and_die(film, tmp_path, "tfrecords.writer.FilmWriter.write", survives)
    parts = sorted((tmp_path / f".{film.stem}.state").glob("part-*.json"))
    assert len(parts) == 4  # 20 + 20 + 40 frames were kept
    assert convert(film, tmp_path, threads=1) == unbroken


@pytest.mark.parametrize("kind", ["single pass", "damaged"])
def test_films_of_a_single_pass(film_factory: FilmFactory, tmp_path: Path, kind: str) -> None:
    if kind == "single pass":
        film = film_factory(**FILM | {"name": "film.avi", "codec": "mpeg4"})
    else:
        film = cut(film_factory(**FILM, name="film.ts"), tmp_path / "film.ts", 0.8)
    unbroken = convert(film, tmp_path / "unbroken")
    assert any("single pass" in note for note in unbroken.notes)
    convert_and_die(film, tmp_path / "data", "tfrecords.writer.FilmWriter.write", 70)
    assert convert(film, tmp_path / "data") == unbroken


def test_damage_is_counted_the_same_every_time(film_factory: FilmFactory, tmp_path: Path) -> None:
    """With frames decoded in several threads it was missed one time in ten."""
    film = cut(film_factory(**FILM, name="film.ts"), tmp_path / "film.ts", 0.8)
    info = probe_film(film)
    for _ in range(20):
        with FrameReader(info, size=(9, 16), threads=False) as reader:
            assert sum(1 for _ in reader) == 97
        assert str(reader.problem) == "1 frame is damaged in parts"


def test_a_part_that_was_damaged_meanwhile_is_made_again(
    film: Path, unbroken: FilmCard, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    convert_and_die(film, tmp_path, "tfrecords.writer.FilmWriter.write", 75)
    flip_byte(tmp_path / f".{film.stem}.partial" / "part-00001", 1000)
    assert convert(film, tmp_path) == unbroken
    assert "resuming from frame 20\n" in capfd.readouterr().err


def test_a_run_of_the_version_before_is_started_over(
    film: Path, unbroken: FilmCard, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    convert_and_die(film, tmp_path, "tfrecords.writer.FilmWriter.write", 75)
    for path in (tmp_path / f".{film.stem}.state").glob("part-*.json"):
        now = json.loads(path.read_text("utf-8"))
        size = sum(now["sizes"])
        before = {"first_frame": now["first_frame"], "bytes": size, "sha256": now["sha256"],
                  "record_bytes": now["sizes"], "state": {"times": "", "shots": {}}}  # fmt: skip
        path.write_text(json.dumps(before))
    assert convert(film, tmp_path) == unbroken
    assert "or of an earlier version of this program; starting over" in capfd.readouterr().err


def test_other_options_are_refused_with_the_difference(film: Path, tmp_path: Path) -> None:
    convert_and_die(film, tmp_path, "tfrecords.writer.FilmWriter.write", 75)
    other = dataclasses.replace(OPTIONS, quality=80, num_shards=3)
    with pytest.raises(InputError, match=r"--quality: 95 -> 80; --num_shards: 6 -> 3\); give its"):
        convert(film, tmp_path, other)
    assert (tmp_path / f".{film.stem}.partial" / "part-00002").exists()  # nothing is lost
    card = convert(film, tmp_path, other, overwrite=True)
    assert card == convert(film, tmp_path / "unbroken", other)
    assert os.listdir(tmp_path / film.stem).count(CARD_NAME) == 1


def test_another_film_is_refused(film: Path, film_factory: FilmFactory, tmp_path: Path) -> None:
    convert_and_die(film, tmp_path / "data", "tfrecords.writer.FilmWriter.write", 75)
    other = tmp_path / film.name
    other.write_bytes(film_factory(**FILM | {"seed": 1}).read_bytes())
    with pytest.raises(InputError, match="unfinished run of another film, or of an ear"):
        convert(other, tmp_path / "data")


def test_interrupted_by_ctrl_c_it_keeps_what_is_finished(
    film: Path, unbroken: FilmCard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tfrecords.writer import FilmWriter

    write = FilmWriter.write

    def interrupted(self: FilmWriter, frame: Any) -> None:
        if frame.index == 70:
            raise KeyboardInterrupt
        write(self, frame)

    with monkeypatch.context() as patch:
        patch.setattr(FilmWriter, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            convert(film, tmp_path)
    assert sorted(os.listdir(tmp_path)) == [f".{film.stem}.partial", f".{film.stem}.state"]
    assert sorted(os.listdir(tmp_path / f".{film.stem}.partial")) == [
        f"part-0000{number}" for number in range(3)
    ]
    assert convert(film, tmp_path) == unbroken


def test_a_film_that_changes_meanwhile_is_refused(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    growing = tmp_path / "growing.mp4"
    shutil.copy(film, growing)
    plan = plan_conversion(growing, tmp_path / "data", OPTIONS)
    write, count = FilmWriter.write, []

    def write_and_grow(writer: FilmWriter, frame: Frame) -> None:
        write(writer, frame)
        count.append(frame.index)
        if len(count) == 20:
            with growing.open("ab") as file:
                file.write(b"more")

    monkeypatch.setattr(FilmWriter, "write", write_and_grow)
    with pytest.raises(InputError, match=r"growing\.mp4: changed while it was converted"):
        convert_film(plan)
    assert len(count) > 20
    assert not plan.directory.exists()
    assert not [path for path in plan.directory.parent.iterdir() if path.suffix != ".lock"]


def test_film_changed_between_plan_and_conversion(film: Path, tmp_path: Path) -> None:
    replaced = tmp_path / "replaced.mp4"
    shutil.copy(film, replaced)
    plan = plan_conversion(replaced, tmp_path / "data", OPTIONS)
    shutil.copyfile(film, replaced)
    with pytest.raises(InputError, match="changed while it was converted"):
        convert_film(plan)
    os.unlink(replaced)
    with pytest.raises((InputError, OSError)):
        convert_film(plan)
    assert not plan.directory.exists()
