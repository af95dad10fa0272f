"""A run folder in a bucket: fetched, sent in an order that can be resumed from, by one process."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bladerunner_ae.errors import InputError, OutputError
from bladerunner_ae.runs import working_copy
from bladerunner_ae.runs.working_copy import WorkingCopy
from tests.helpers.s3_server import S3Server
from tfrecords import storage
from tfrecords.record_errors import ConnectionLostError, RecordsError, StorageError
from tfrecords.storage import RemotePath

_numbers = itertools.count()
WRITER = ".writer.json"


@pytest.fixture
def run() -> RemotePath:
    return RemotePath(f"memory://copies{next(_numbers)}/runs/a")


@pytest.fixture
def changes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that gets every change of a remote run: "+name" or "-name"."""
    found: list[str] = []
    copy, remove = storage.copy_to_remote, storage.remove

    def short(path: Any) -> str:
        return str(path).partition("/runs/a/")[2]

    def copying(source: Path, target: Any, report: Any = None) -> None:
        found.append(f"+{short(target)}")
        copy(source, target, report)

    def removing(path: Any) -> None:
        if storage.is_remote(path) and short(path) != WRITER:
            found.append(f"-{short(path)}")
        remove(path)

    monkeypatch.setattr(storage, "copy_to_remote", copying)
    monkeypatch.setattr(storage, "remove", removing)
    return found


def write(folder: Path, *names: str, text: str = "x") -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def checkpoint(step: int) -> list[str]:
    return [f"checkpoints/step-{step}.{end}" for end in ("data-00000-of-00001", "index")]


def start(run: RemotePath, *names: str) -> None:
    with WorkingCopy(run).opened() as folder:
        write(folder, "config.json", "flags.txt", "metrics.jsonl", *names)


def test_a_local_run_is_its_own_copy(tmp_path: Path) -> None:
    copy = WorkingCopy(tmp_path / "run")
    with copy.opened() as folder:
        assert folder == tmp_path / "run" and not folder.exists()
        copy.send()
    assert copy.place_of(folder / "a") == folder / "a" and not copy.remote


def test_what_makes_a_checkpoint_is_sent_after_its_parts(
    run: RemotePath, changes: list[str], spool: Path
) -> None:
    copy = WorkingCopy(run)
    with copy.opened() as folder:
        assert spool in folder.parents and folder.name == "a"
        write(folder, "checkpoints/checkpoint", "report.html", *checkpoint(2), "config.json",
              "metrics.jsonl", "log.txt", "export/decoder/1/saved_model.pb",
              "export/decoder/1/variables/variables.index", "holiday.txt",
              "export/.partial-2/saved_model.pb", "checkpoints/.checkpoint.partial")  # fmt: skip
        copy.send()
        assert changes == [
            "+config.json", "+log.txt", "+metrics.jsonl", *[f"+{name}" for name in checkpoint(2)],
            "+checkpoints/checkpoint", "+export/decoder/1/variables/variables.index",
            "+report.html", "+export/decoder/1/saved_model.pb",
        ]  # fmt: skip
        changes.clear()
        for name in checkpoint(2):
            (folder / name).unlink()
        write(folder, *checkpoint(4), "metrics.jsonl", text="longer")
        copy.send()
        assert changes == [
            "+metrics.jsonl", *[f"+{name}" for name in checkpoint(4)],
            *[f"-{name}" for name in reversed(checkpoint(2))],
        ]  # fmt: skip
        assert str(copy.place_of(folder / "export" / "decoder" / "1")) == f"{run}/export/decoder/1"
    assert not folder.exists() and WRITER not in storage.names(run)
    assert storage.read_text(run / "metrics.jsonl") == "longer"


def test_a_start_fetches_what_it_needs_and_loses_nothing_else(
    run: RemotePath, changes: list[str]
) -> None:
    large = ["samples/step-0000000.png", "tensorboard/events.out.tfevents.1"]
    start(run, *checkpoint(2), *large)
    storage.write_text(run / "holiday.txt", "precious")
    changes.clear()
    with WorkingCopy(run).opened() as folder:
        assert storage.files_below(folder) == sorted(
            ["config.json", "flags.txt", "metrics.jsonl", *checkpoint(2)]
        )
        write(folder, "samples/step-0000002.png")
    assert changes == ["+samples/step-0000002.png"]
    assert {*large, "holiday.txt"} <= set(storage.files_below(run))


def test_what_a_killed_run_left_here_is_thrown_away(run: RemotePath) -> None:
    start(run, *checkpoint(2))
    write(working_copy._folder_for(run), *checkpoint(9))
    with WorkingCopy(run).opened() as folder:
        assert not (folder / checkpoint(9)[1]).exists()


@pytest.mark.parametrize("kept", ["as it is", "another run", "--overwrite"])
def test_steps_that_could_not_be_sent_are_kept_here(
    kept: str, run: RemotePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bladerunner_ae.runs.files._INDEX_END", b"x")
    monkeypatch.setattr(working_copy, "_PAUSE_SECONDS", 0.0)
    large = "samples/step-0000000.png"
    start(run, *checkpoint(2), large)
    sending = storage.copy_to_remote
    with pytest.raises(ConnectionLostError), WorkingCopy(run).opened() as folder:
        write(folder, *checkpoint(4))
        monkeypatch.setattr(storage, "copy_to_remote", _cut)
    monkeypatch.setattr(storage, "copy_to_remote", sending)
    if kept == "another run":
        storage.write_text(run / "config.json", "another")
    with WorkingCopy(run).opened(overwrite=kept == "--overwrite") as folder:
        assert (folder / checkpoint(4)[1]).exists() == (kept == "as it is")
    if kept == "as it is":
        assert {*checkpoint(2), *checkpoint(4), large} <= set(storage.files_below(run))


def test_an_error_sends_nothing_more_and_names_the_run(run: RemotePath) -> None:
    start(run)
    with pytest.raises(InputError) as caught, WorkingCopy(run).opened() as folder:
        write(folder, "report.html")
        raise InputError(f"{folder}/log.txt: is odd")
    assert str(caught.value) == f"{run}/log.txt: is odd"
    assert set(storage.names(run)) == {"config.json", "flags.txt", "metrics.jsonl"}


def test_an_earlier_run_stays_until_the_new_one_is_sent(
    run: RemotePath, changes: list[str]
) -> None:
    start(run, *checkpoint(2), *checkpoint(4), "samples/step-0000004.png")
    storage.write_text(run / "holiday.txt", "precious")
    before = storage.files_below(run)
    with pytest.raises(KeyboardInterrupt), WorkingCopy(run).opened(overwrite=True) as folder:
        assert storage.files_below(folder) == ["config.json", "flags.txt"]
        raise KeyboardInterrupt
    assert storage.files_below(run) == before
    changes.clear()
    copy = WorkingCopy(run)
    with copy.opened(overwrite=True) as folder:
        write(folder, "config.json", "metrics.jsonl", *checkpoint(2), text="new")
        (folder / "flags.txt").unlink()
        copy.send()
    first, then = [f"-{name}" for name in checkpoint(2)], [f"-{name}" for name in checkpoint(4)]
    assert changes[:5] == [first[1], then[1], first[0], then[0], "+config.json"], (
        "an old checkpoint is never taken for one of the new run"
    )
    assert changes[-2:] == ["-flags.txt", "-samples/step-0000004.png"]
    assert storage.read_text(run / "holiday.txt") == "precious"


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_other_things_is_refused(run: RemotePath, overwrite: bool) -> None:
    storage.write_text(run / "holiday.txt", "precious")
    with pytest.raises(InputError, match=rf"^{run}: not empty and not a run"):
        WorkingCopy(run).opened(overwrite).__enter__()
    assert storage.names(run) == ["holiday.txt"]


def test_a_lost_connection_is_told_and_made_up_for(
    run: RemotePath, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copy, sending = WorkingCopy(run), storage.copy_to_remote
    left = [2]

    def failing(*arguments: Any) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise ConnectionLostError("the wire is cut")
        sending(*arguments)

    monkeypatch.setattr(storage, "copy_to_remote", failing)
    monkeypatch.setattr(working_copy, "_PAUSE_SECONDS", 0.0)
    with copy.opened() as folder:
        write(folder, "config.json", "metrics.jsonl")
        copy.send()
        assert "not sent, which is tried again: the wire is cut" in capsys.readouterr().err
        assert "metrics.jsonl" not in storage.names(run)
        copy.send()
        assert "metrics.jsonl" in storage.names(run)
        write(folder, "log.txt")
        left[0] = 1
    assert "log.txt" in storage.names(run), "the last sending tries again"
    with pytest.raises(ConnectionLostError), copy.opened() as folder:
        write(folder, "log.txt", text="changed")
        monkeypatch.setattr(storage, "copy_to_remote", _cut)


def _cut(*arguments: Any) -> None:
    raise ConnectionLostError("the wire is cut")


def claim(run: RemotePath, **values: Any) -> None:
    told = {"host": "another", "process": 1, "token": "theirs", "beat": 1, **values}
    storage.write_text(run / WRITER, json.dumps(told))


def dead_process() -> int:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return child


def test_a_second_writer_is_refused(run: RemotePath) -> None:
    with WorkingCopy(run).opened():
        with pytest.raises(RecordsError, match=rf"^{run}: process {os.getpid()} is writing it"):
            WorkingCopy(run).opened().__enter__()
        assert WRITER in storage.names(run)


@pytest.mark.parametrize("alive", [False, True])
def test_a_writer_on_another_machine_is_watched(
    run: RemotePath, alive: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim(run)
    watch: Callable[[float], None] = lambda seconds: claim(run, beat=2) if alive else None  # noqa: E731
    monkeypatch.setattr(working_copy.time, "sleep", watch)
    if alive:
        with pytest.raises(InputError, match="process 1 on another is writing it; wait"):
            WorkingCopy(run).opened().__enter__()
    else:
        with WorkingCopy(run).opened():
            assert json.loads(storage.read_text(run / WRITER))["process"] == os.getpid()


def test_a_writer_killed_on_this_machine_is_succeeded_at_once(
    run: RemotePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    claim(run, host=socket.gethostname(), process=dead_process())
    monkeypatch.delattr(working_copy.time, "sleep")
    start(run)


def test_a_run_that_was_taken_over_is_written_no_more(
    run: RemotePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(working_copy, "_BEAT_SECONDS", 0.01)
    copy = WorkingCopy(run)
    with pytest.raises(OutputError, match="process 1 on another writes it now"), copy.opened():
        claim(run)
        while not copy._writer._lost:
            pass
        copy.send()
    assert json.loads(storage.read_text(run / WRITER))["host"] == "another"


def test_requests_of_a_run_in_s3(s3_here: S3Server) -> None:
    """Few, because each costs money and time: one a file, and some at the start."""
    run = RemotePath(f"s3://films/requests{next(_numbers)}/runs/a")
    before = len(s3_here.requests)
    start(run, *checkpoint(2))
    assert len(s3_here.requests) - before <= 5 + 8
    before = len(s3_here.requests)
    with WorkingCopy(run).opened():
        pass
    assert len(s3_here.requests) - before <= 2 * 5 + 7, s3_here.requests[before:]
    with pytest.raises(StorageError, match=r"^s3://nowhere/a/.writer.json: there is no bucket"):
        WorkingCopy(RemotePath("s3://nowhere/a")).opened().__enter__()
