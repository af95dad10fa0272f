"""The writer: right shards whatever was expected, and a whole folder or none whatever happens."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.small_records import card_maker, small_frames, write_small_film
from tfrecords.card import CARD_NAME, FilmCard, check_shards, load_card
from tfrecords.framing import read_records
from tfrecords.publication import tidy
from tfrecords.record_errors import RecordsError
from tfrecords.schema import Frame, parse
from tfrecords.shards import shard_name, shard_ranges
from tfrecords.writer import FilmWriter

ROOT = Path(__file__).parent.parent.parent


def read_film(directory: Path, card: FilmCard) -> list[Frame]:
    """Return all frames of a folder in the order of its shards."""
    return [parse(r) for shard in card.shards for r in read_records(directory / shard.name)]


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@contextmanager
def other_process(program: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run Python next to this process, up to the first line that it prints."""
    command = [sys.executable, "-c", program, *arguments]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "writing\n"
            yield process
        finally:
            process.kill()


WRITES_UNTIL_TOLD = """
import sys
from tests.helpers.small_records import card_maker, small_frames
from tfrecords.writer import FilmWriter
with FilmWriter(sys.argv[1], 20, 4) as writer:
    for frame in small_frames(20):
        writer.write(frame)
    print("writing", flush=True)
    sys.stdin.readline()
    writer.commit(card_maker(), overwrite=False)
"""

DIES_AT_A_STEP = """
import os, sys
from tests.helpers.small_records import write_small_film
steps = []
def dying(call):
    def step(*arguments, **keywords):
        if ".ready" in str(arguments) or steps:
            steps.append(call)
            if len(steps) > int(sys.argv[2]):
                print("writing", flush=True)
                os.kill(os.getpid(), 9)
        return call(*arguments, **keywords)
    return step
os.rename, os.replace, os.unlink = map(dying, (os.rename, os.replace, os.unlink))
write_small_film(sys.argv[1], 30, num_shards=3, overwrite=True)
"""


def test_what_is_written_is_read(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "film"
    card = write_small_film(directory, frames=20, num_shards=3)
    assert read_film(directory, card) == list(small_frames(20))
    assert load_card(directory) == card
    check_shards(directory, card)
    names = [shard_name(index, 3) for index in range(3)]
    assert sorted(contents(directory)) == sorted([CARD_NAME, *names])
    assert [(s.name, s.frames, s.first_frame) for s in card.shards] == [
        (names[0], 7, 0),
        (names[1], 7, 7),
        (names[2], 6, 14),
    ]
    for shard in card.shards:
        data = (directory / shard.name).read_bytes()
        assert shard.bytes == len(data)
        assert shard.sha256 == hashlib.sha256(data).hexdigest()
    assert os.listdir(tmp_path / "new") == ["film"]  # neither lock nor partial folder is left


@pytest.mark.parametrize("frames", [1, 3, 16, 17, 200])
@pytest.mark.parametrize("expected", [0, 1, 15, 16, 199, 201, 5000])
def test_shards_do_not_depend_on_what_was_expected(
    tmp_path: Path, frames: int, expected: int
) -> None:
    right = write_small_film(tmp_path / "right", frames, num_shards=16)
    card = write_small_film(tmp_path / "film", frames, num_shards=16, expected_frames=expected)
    assert contents(tmp_path / "film") == contents(tmp_path / "right")
    assert card == right
    sizes = [len(part) for part in shard_ranges(frames, 16)]
    assert [shard.frames for shard in card.shards] == sizes


def test_frames_must_come_in_order(tmp_path: Path) -> None:
    frames = list(small_frames(3))
    with FilmWriter(tmp_path / "film", 3, 1) as writer:
        writer.write(frames[0])
        for wrong in (frames[0], frames[2]):
            with pytest.raises(ValueError, match=f"frame {wrong.index} was written where 1 was"):
                writer.write(wrong)
        writer.write(frames[1])
        assert writer.frames == 2
        assert writer.commit(card_maker(), overwrite=False).frames == 2


def test_film_without_frames_is_not_written(tmp_path: Path) -> None:
    with (
        pytest.raises(RecordsError, match=f"^{tmp_path}/film: not written, because the film gave"),
        FilmWriter(tmp_path / "film", 10, 4) as writer,
    ):
        writer.commit(card_maker(), overwrite=False)
    assert os.listdir(tmp_path) == []


def test_leaving_without_commit_removes_everything(tmp_path: Path) -> None:
    with FilmWriter(tmp_path / "film", 20, 4) as writer:
        for frame in small_frames(10):
            writer.write(frame)
        assert sorted(os.listdir(tmp_path)) == [".film.lock", ".film.partial"]
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_exception_removes_everything(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), FilmWriter(tmp_path / "film", 20, 4) as writer:
        for frame in small_frames(10):
            writer.write(frame)
        raise error
    assert os.listdir(tmp_path) == []


def test_card_that_does_not_describe_the_shards(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="does not describe"),
        FilmWriter(tmp_path / "film", 20, 4) as writer,
    ):
        for frame in small_frames(20):
            writer.write(frame)
        writer.commit(lambda shards: card_maker()(shards[:-1]), overwrite=False)
    assert os.listdir(tmp_path) == []


def test_card_that_contradicts_itself_is_not_published(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="'shot_starts' do not ascend"),
        FilmWriter(tmp_path / "film", 20, 4) as writer,
    ):
        for frame in small_frames(20):
            writer.write(frame)
        writer.commit(lambda s: replace(card_maker()(s), shot_starts=[3]), overwrite=False)
    assert os.listdir(tmp_path) == []


def test_returned_card_is_the_loaded_one(tmp_path: Path) -> None:
    with FilmWriter(tmp_path / "film", 1, 1) as writer:
        writer.write(next(iter(small_frames(1))))
        geometry = {"raster": (72, 128)}  # JSON makes a list of it
        card = writer.commit(lambda s: replace(card_maker()(s), geometry=geometry), False)
    assert card.geometry == {"raster": [72, 128]}
    assert card == load_card(tmp_path / "film")


def test_existing_film_is_kept_unless_told_otherwise(tmp_path: Path) -> None:
    directory = tmp_path / "film"
    write_small_film(directory, 20)
    before = contents(directory)
    with pytest.raises(RecordsError, match=f"^{directory}: exists; replace it with --overwrite$"):
        write_small_film(directory, 30, first_byte=1)
    assert contents(directory) == before
    card = write_small_film(directory, 30, num_shards=2, first_byte=1, overwrite=True)
    assert read_film(directory, card) == list(small_frames(30, first_byte=1))
    assert len(contents(directory)) == 3
    assert os.listdir(tmp_path) == ["film"]


def test_folder_of_other_things_is_never_replaced(tmp_path: Path) -> None:
    directory = tmp_path / "home"
    directory.mkdir()
    (directory / "diary.txt").write_text("dear")
    with pytest.raises(RecordsError, match=r"is not empty and holds no film\.json; choose"):
        write_small_film(directory, overwrite=True)
    assert contents(directory) == {"diary.txt": b"dear"}
    with pytest.raises(RecordsError, match=r"diary\.txt: is a file; choose another folder"):
        write_small_film(directory / "diary.txt", overwrite=True)
    assert os.listdir(directory) == ["diary.txt"]


def test_empty_folder_and_link_are_filled(tmp_path: Path) -> None:
    (tmp_path / "film").mkdir()
    (tmp_path / "link").symlink_to("film")
    card = write_small_film(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert load_card(tmp_path / "film") == card


def test_failed_rename_brings_the_old_film_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "film"
    write_small_film(directory, 20)
    before, rename = contents(directory), os.rename

    def fail_to_publish(source: Any, target: Any) -> None:
        if str(source).endswith(".partial"):
            raise OSError(errno.EIO, "Input/output error")
        rename(source, target)

    monkeypatch.setattr("os.rename", fail_to_publish)
    with pytest.raises(RecordsError, match=r"cannot be written \(Input/output error\)"):
        write_small_film(directory, 30, overwrite=True)
    assert contents(directory) == before
    assert os.listdir(tmp_path) == ["film"]


def test_killed_writer_leaves_no_film_and_the_next_run_cleans_up(tmp_path: Path) -> None:
    directory = tmp_path / "film"
    with other_process(WRITES_UNTIL_TOLD, str(directory)) as process:
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert sorted(os.listdir(tmp_path)) == [".film.lock", ".film.partial"]
    with pytest.raises(RecordsError, match="there is no such folder"):
        load_card(directory)
    card = write_small_film(directory, 7)
    assert read_film(directory, card) == list(small_frames(7))
    assert os.listdir(tmp_path) == ["film"]


@pytest.mark.parametrize("step", [0, 1, 3, 6])
def test_killed_while_replacing_loses_nothing(tmp_path: Path, step: int) -> None:
    """Of the earlier records 4 shards are there, of the new ones 3, next to a person's files."""
    directory = tmp_path / "film"
    write_small_film(directory, 20)
    add_foreign_files(directory)
    with other_process(DIES_AT_A_STEP, str(directory), str(step)) as process:
        assert process.wait() == -signal.SIGKILL
    assert foreign_files_are_there(directory)
    if step:
        tidy(directory)
    else:
        with FilmWriter(directory, 10, 4):  # that another run begins is enough
            pass
    card = load_card(directory)
    check_shards(directory, card)
    assert read_film(directory, card) == list(small_frames(30 if step else 20))
    assert foreign_files_are_there(directory)
    assert os.listdir(tmp_path) == ["film"]


def add_foreign_files(directory: Path) -> None:
    (directory / "run").mkdir()
    (directory / "run" / "config.json").write_text("a run")
    (directory / "film.mp4").write_text("the film")
    (directory / "frames.tfrecord").symlink_to("film.mp4")


def foreign_files_are_there(directory: Path) -> bool:
    return [
        (directory / name).read_text()
        for name in ("run/config.json", "film.mp4", "frames.tfrecord")
    ] == ["a run", "the film", "the film"] and (directory / "frames.tfrecord").is_symlink()


def test_replacing_keeps_what_a_person_put_beside_the_records(tmp_path: Path) -> None:
    directory = tmp_path / "film"
    write_small_film(directory, 20)
    add_foreign_files(directory)
    card = write_small_film(directory, 30, num_shards=3, overwrite=True)
    check_shards(directory, card)
    assert read_film(directory, card) == list(small_frames(30))
    assert foreign_files_are_there(directory)
    assert len(os.listdir(directory)) == 1 + 3 + 3
    assert os.listdir(tmp_path) == ["film"]


def test_a_folder_that_has_the_name_of_a_shard_is_named(tmp_path: Path) -> None:
    directory = tmp_path / "film"
    write_small_film(directory, 20)
    shard = directory / shard_name(0, 3)
    shard.mkdir()
    before = sorted(os.listdir(directory))
    with pytest.raises(RecordsError, match=f"^{shard}: is a folder where records belong; move"):
        write_small_film(directory, 30, num_shards=3, overwrite=True)
    assert sorted(os.listdir(directory)) == before


def test_a_publication_that_fails_half_way_is_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, replace_file = tmp_path / "film", os.replace
    write_small_film(directory, 20)

    def fail(source: Any, target: Any) -> None:
        if str(source).endswith(shard_name(1, 3)):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        replace_file(source, target)

    with monkeypatch.context() as patch, pytest.raises(RecordsError, match="Input/output error"):
        patch.setattr("os.replace", fail)
        write_small_film(directory, 30, num_shards=3, overwrite=True)
    with pytest.raises(RecordsError, match=r"has no film\.json"):
        load_card(directory)
    tidy(directory)
    assert read_film(directory, load_card(directory)) == list(small_frames(30))
    assert os.listdir(tmp_path) == ["film"]


def test_leftovers_of_a_kill_after_the_last_rename(tmp_path: Path) -> None:
    directory = tmp_path / "film"
    write_small_film(directory, 20)
    (tmp_path / ".film.state").mkdir()
    (tmp_path / ".film.state" / "part-00000.json").write_text("{}")
    (tmp_path / ".film.lock").write_text("4711\n")
    tidy(directory)
    assert os.listdir(tmp_path) == ["film"]
    with FilmWriter(directory, 20, 4, identity={}) as writer:  # a live one is left alone
        tidy(directory)
        assert {".film.lock", ".film.partial", ".film.state"} <= set(os.listdir(tmp_path))
        writer.discard()


def test_two_live_runs_do_not_destroy_each_other(tmp_path: Path) -> None:
    directory = tmp_path / "film"
    with other_process(WRITES_UNTIL_TOLD, str(directory)) as process:
        message = f"^{directory}: process {process.pid} is writing it; wait for it to end"
        for _ in range(2):
            with pytest.raises(RecordsError, match=message):
                FilmWriter(directory, 20, 4)
        process.communicate("go on\n")
        assert process.returncode == 0
    card = load_card(directory)
    assert read_film(directory, card) == list(small_frames(20))
    assert os.listdir(tmp_path) == ["film"]


def test_lock_within_one_process(tmp_path: Path) -> None:
    with FilmWriter(tmp_path / "film", 20, 4):
        with pytest.raises(RecordsError, match=f"process {os.getpid()} is writing it"):
            FilmWriter(tmp_path / "film", 20, 4)
        with FilmWriter(tmp_path / "other", 20, 4):
            pass
    with FilmWriter(tmp_path / "film", 20, 4):
        pass
    assert os.listdir(tmp_path) == []


def test_file_that_cannot_grow(tmp_path: Path) -> None:
    """A limit on the size of files stands for a disk that is full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        message = re.escape(f"{tmp_path}/film: cannot be written (File too large); choose another ")
        with pytest.raises(RecordsError, match=message):
            write_small_film(tmp_path / "film", 400, num_shards=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("call", ["os.fsync", "os.mkdir", "os.open"])
def test_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(call, fail)
        with pytest.raises(RecordsError) as caught:
            write_small_film(tmp_path / "film")
    assert str(caught.value) == (
        f"{tmp_path}/film: cannot be written (No space left on device); free some space and run "
        "the same command again"
    )
    assert os.listdir(tmp_path) == []


def test_remote_folder_is_refused() -> None:
    with pytest.raises(RecordsError, match=r"^gs://bucket/film: records are written locally"):
        FilmWriter("gs://bucket/film", 20, 4)


@pytest.mark.parametrize(("expected", "shards"), [(-1, 4), (10, 0)])
def test_impossible_numbers(tmp_path: Path, expected: int, shards: int) -> None:
    with pytest.raises(ValueError, match="cannot divide"):
        FilmWriter(tmp_path / "film", expected, shards)
    assert os.listdir(tmp_path) == []
