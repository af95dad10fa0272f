"""The training command as people use it: what it leaves, what it refuses, what it survives."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bladerunner_ae.exports.saved_models import newest_versions
from bladerunner_ae.runs.folder import load_config
from bladerunner_ae.training.checkpoints import checkpoint_steps
from bladerunner_ae.training.resume import has_finished
from tests.helpers.commands import Commands, Result, start
from tests.helpers.parameters import some_slow
from tests.helpers.small_records import write_numbered_film
from tests.helpers.tiny_training import arguments, forget_after, tiny_flags, train_here
from tests.helpers.training_checks import check_same_checkpoint
from tfrecords.record_errors import RecordsError


def finished(records: Path, run: Path, **changes: Any) -> list[str]:
    """Return the command line that made `trained_run`, for another copy of it."""
    return arguments(tiny_flags(records, run, holdout=0.17, **changes))


@pytest.fixture
def run(trained_run: tuple[Path, Result], tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained_run[0], tmp_path / "run"))


@pytest.fixture
def records(small_records: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_records, tmp_path / "film"))


def test_what_a_run_leaves(trained_run: tuple[Path, Result], small_records: Path) -> None:
    run, result = trained_run
    assert result.out.splitlines() == [
        str(run / "export" / name / "1") for name in ("autoencoder", "encoder", "decoder")
    ]
    assert "film.mp4: 48 frames (8 held out), 24x32, preset preview, objective vae, 4 steps of 8 " \
        "frames, float32, 1 device\n" in result.err  # fmt: skip
    assert "Traceback" not in result.err and "WARNING" not in result.err, result.err
    config = load_config(run)
    assert (config.preset, config.objective) == ("preview", "vae")
    assert [(film.name, film.held_out) for film in config.films] == [
        ("film.mp4", ((40, 48),))
    ]  # fmt: skip
    assert sorted(path.name for path in (run / "checkpoints").glob("*.index")) == [
        "step-2.index", "step-4.index"
    ]  # fmt: skip
    assert f"--data={small_records}" in (run / "flags.txt").read_text().splitlines()
    assert list((run / "tensorboard").glob("events*"))
    with Image.open(run / "samples" / "step-0000004.png") as sheet:
        assert sheet.width > 64 and sheet.height > 24
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = {line["step"]: line["loss/decoder"] for line in lines if "loss/decoder" in line}
    assert sorted(losses) == [1, 2, 3, 4] and all(0 < loss < 4 for loss in losses.values())
    last = {name for line in lines if line["step"] == 4 for name in line}
    assert {"probe/psnr_seen", "probe/psnr_held_out", "probe/ssim_held_out"} <= last
    assert {"score/psnr_seen", "score/psnr_held_out", "score/all"} <= last
    assert lines[-1] == {"step": 4, "finished": True}


def test_run_stopped_at_its_end_shows_its_results(
    run: Path, small_records: Path, commands: Commands
) -> None:
    log = run / "metrics.jsonl"
    log.write_text("\n".join(log.read_text().splitlines()[:-1]) + "\n")
    missing = [run / "prior.png", run / "tensorboard" / "projector_config.pbtxt"]
    for path in missing:
        path.unlink()
    result = commands.run("train", *finished(small_records, run))
    assert result.code == 0 and "showing the results" in result.err, result.err
    assert "Traceback" not in result.err
    assert all(path.is_file() for path in missing)
    assert checkpoint_steps(run) == [2, 4]
    result = commands.run("train", *finished(small_records, run))
    assert "already trained to step 4; nothing to do" in result.err


def test_a_finished_run_without_checkpoints_is_trained_and_exported_anew(
    run: Path, small_records: Path, commands: Commands
) -> None:
    before = {path.parent.name: path.name for path in newest_versions(run / "export")}
    shutil.rmtree(run / "checkpoints")
    result = commands.run("train", *finished(small_records, run))
    assert result.code == 0, result.err
    assert f"{run}: its checkpoints are gone, so it starts at step 0" in result.err
    assert checkpoint_steps(run) == [2, 4]
    after = {path.parent.name: path.name for path in newest_versions(run / "export")}
    assert len(after) == 3 and all(int(after[name]) > int(before[name]) for name in before)
    assert result.out.splitlines() == [f"{run}/export/{name}/{n}" for name, n in after.items()]


def test_what_an_earlier_version_finished_is_known(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("2026-01-01 10:00:00 step 4: finished step 4\n")
    (tmp_path / "metrics.jsonl").write_text('{"step": 4, "loss": 1.0}\n[1]\n{"step": 5, "fi')
    assert has_finished(tmp_path, 4) and not has_finished(tmp_path, 5)


def test_a_finished_run_is_left_as_it_is(
    run: Path, small_records: Path, commands: Commands
) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("export/**/*")}
    result = commands.run("train", *finished(small_records, run))
    assert result.code == 0, result.err
    assert "already trained to step 4" in result.err
    assert result.out.splitlines()[0] == str(run / "export" / "autoencoder" / "1")
    assert {path: path.stat().st_mtime_ns for path in run.rglob("export/**/*")} == before


def test_flags_txt_is_a_flagfile(run: Path, commands: Commands) -> None:
    """For any number of starts: it never names itself."""
    flagfile = run / "flags.txt"
    result = commands.run("train", f"--flagfile={flagfile}", f"--model_dir={run}")
    assert result.code == 0, result.err
    text = flagfile.read_text()
    assert f"--model_dir={run}\n" in text and "--holdout=0.17\n" in text
    for _ in range(2):
        result = commands.run("train", f"--flagfile={flagfile}")
        assert result.code == 0, result.err
        assert "already trained to step 4" in result.err
        assert flagfile.read_text() == text


def test_dry_run_writes_nothing(tmp_path: Path, small_records: Path, commands: Commands) -> None:
    result = commands.run("train", *finished(small_records, tmp_path / "run"), "--dry_run")
    assert (result.code, result.out) == (0, "")
    assert "4 steps of 8 frames" in result.err
    assert not (tmp_path / "run").exists()


def test_required_flags_are_named(commands: Commands) -> None:
    result = commands.run("train", "--data=somewhere")
    assert result.code == 1 and "--model_dir" in result.error


def test_records_without_their_card(records: Path, tmp_path: Path, commands: Commands) -> None:
    (records / "film.json").unlink()
    result = commands.run("train", *finished(records, tmp_path / "run"))
    assert result.code == 2 and str(records) in result.error and "film.json" in result.error


def test_a_shard_cut_short_is_named_with_its_record(
    records: Path, tmp_path: Path, commands: Commands
) -> None:
    shard = sorted(records.glob("*.tfrecord"))[2]
    data = shard.read_bytes()
    shard.write_bytes(data[: len(data) // 2])
    result = commands.run("train", *finished(records, tmp_path / "run"))
    assert result.code == 2
    assert shard.name in result.error and "record" in result.error
    assert not (tmp_path / "run").exists()


def test_a_damaged_record_is_named_too(records: Path, tmp_path: Path, commands: Commands) -> None:
    """Of its right size, so that it shows only when it is read."""
    shard = sorted(records.glob("*.tfrecord"))[1]
    data = bytearray(shard.read_bytes())
    data[-9] ^= 0xFF
    shard.write_bytes(data)
    result = commands.run("train", *finished(records, tmp_path / "run"))
    assert result.code == 2 and shard.name in result.error and "record 11" in result.error


def test_a_damaged_record_of_a_streamed_set_is_named_too(records: Path, tmp_path: Path) -> None:
    """Sets too large for memory are read while the run learns."""
    shard = sorted(records.glob("*.tfrecord"))[1]
    data = bytearray(shard.read_bytes())
    data[-9] ^= 0xFF
    shard.write_bytes(data)

    with pytest.raises(RecordsError, match=f"{shard.name}.*record 11"):
        train_here(tiny_flags(records, tmp_path / "run", cache_limit=0))


def test_a_folder_that_holds_another_run(
    run: Path, small_records: Path, commands: Commands
) -> None:
    other = finished(small_records, run, seed=7, kl_weight=0.5)
    result = commands.run("train", *other)
    assert result.code == 2
    assert "holds another run" in result.error and "seed: 1 -> 7" in result.error
    assert "kl_weight: 1e-05 -> 0.5" in result.error and "--overwrite" in result.error
    assert load_config(run).train.seed == 1


def test_a_checkpoint_of_other_networks(run: Path, small_records: Path, commands: Commands) -> None:
    """Only an edit of config.json leads there; random weights must not be the answer."""
    config = json.loads((run / "config.json").read_text())
    config["model"]["latent_size"] = 100
    (run / "config.json").write_text(json.dumps(config))
    result = commands.run("export", f"--model_dir={run}")
    assert result.code == 2 and "step-4: does not fit this run" in result.error
    config["model"]["latent_size"], config["model"]["linear_path"] = 200, False
    (run / "config.json").write_text(json.dumps(config))
    result = commands.run("export", f"--model_dir={run}")
    assert result.code == 2 and "step-4: does not fit this run" in result.error


@pytest.mark.parametrize(
    "damage", some_slow("cut", "index", of=("cut", "flipped", "index", "emptied"))
)
def test_a_damaged_checkpoint_is_named_and_its_cure_works(
    damage: str, run: Path, small_records: Path, commands: Commands
) -> None:
    data = run / "checkpoints" / "step-4.data-00000-of-00001"
    if damage == "cut":
        data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    elif damage == "flipped":
        content = bytearray(data.read_bytes())
        content[len(content) // 2] ^= 0xFF
        data.write_bytes(content)
    elif damage == "index":
        index = data.with_name("step-4.index")
        index.write_bytes(bytes(100) + index.read_bytes()[100:])
    else:
        data.unlink()
    result = commands.run("train", *finished(small_records, run))
    assert result.code == 2, result.err
    assert "checkpoints/step-4: " in result.error and "delete it" in result.error
    if damage == "cut":
        forget_after(run, 2)
        result = commands.run("train", *finished(small_records, run), "--noreport")
        assert result.code == 0 and "resuming from step 2" in result.err, result.err


def test_an_index_that_was_left_half_written_does_not_count(
    run: Path, small_records: Path, commands: Commands
) -> None:
    index = run / "checkpoints" / "step-4.index"
    index.write_bytes(index.read_bytes()[:-1])
    result = commands.run("train", *finished(small_records, run), "--noreport")
    assert result.code == 0, result.err
    assert "resuming from step 2" in result.err and "WARNING" not in result.err
    assert checkpoint_steps(run) == [2, 4]


@pytest.mark.slow
@pytest.mark.parametrize("listed", ["lost", "damaged"])
def test_the_newest_checkpoint_is_found_without_its_list(
    listed: str, run: Path, small_records: Path, commands: Commands
) -> None:
    path = run / "checkpoints" / "checkpoint"
    path.unlink() if listed == "lost" else path.write_bytes(b"\xff\x00 no list")
    result = commands.run("train", *finished(small_records, run, steps=5), "--noreport")
    assert result.code == 0, result.err
    assert "resuming from step 4" in result.err and checkpoint_steps(run) == [2, 4, 5]


def test_a_flagfile_that_cannot_be_written(
    run: Path, small_records: Path, commands: Commands
) -> None:
    (run / "flags.txt").unlink()
    (run / "flags.txt").mkdir()
    result = commands.run("train", *finished(small_records, run, steps=5))
    assert result.code == 2, result.err
    assert f"{run}: cannot be written (Is a directory: {run}/flags.txt)" in result.error
    assert checkpoint_steps(run) == [2, 4]


def test_a_run_folder_that_cannot_be_made(
    tmp_path: Path, small_records: Path, commands: Commands
) -> None:
    (tmp_path / "file").write_text("in the way")
    result = commands.run("train", *finished(small_records, tmp_path / "file" / "run"))
    assert result.code == 2 and str(tmp_path / "file") in result.error
    result = commands.run("train", *finished(small_records, tmp_path / "file"))
    assert result.code == 2 and "is a file, not a folder" in result.error


def test_a_folder_with_other_things_is_left_alone(
    tmp_path: Path, small_records: Path, commands: Commands
) -> None:
    (tmp_path / "holiday.txt").write_text("precious")
    for extra in ([], ["--overwrite"]):
        result = commands.run("train", *finished(small_records, tmp_path), *extra)
        assert result.code == 2 and "not empty and not a run" in result.error
    assert (tmp_path / "holiday.txt").read_text() == "precious"


def test_exporting_what_was_never_trained(run: Path, tmp_path: Path, commands: Commands) -> None:
    result = commands.run("export", f"--model_dir={tmp_path / 'nothing'}")
    assert result.code == 2 and "not a run folder" in result.error
    shutil.rmtree(run / "checkpoints")
    result = commands.run("export", f"--model_dir={run}")
    assert result.code == 2 and "has no checkpoint yet; train first" in result.error


def test_export_adds_a_version(run: Path, commands: Commands) -> None:
    result = commands.run("export", f"--model_dir={run}")
    assert result.code == 0, result.err
    assert result.out.splitlines() == [
        str(run / "export" / name / "2") for name in ("autoencoder", "encoder", "decoder")
    ]


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    """Wait until a running command has written a file."""
    while not path.exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)


def stop(command: list[str], run: Path, step: int, how: signal.Signals) -> None:
    """Start the command and signal it when its checkpoint of `step` is there."""
    process = start("train", *command)
    wait_for(run / "checkpoints" / f"step-{step}.index", process)
    process.send_signal(how)
    _, err = process.communicate(timeout=60)
    expected = {signal.SIGINT: 130, signal.SIGTERM: 0, signal.SIGKILL: -9}
    assert process.returncode == expected[how], err
    assert "Traceback" not in err
    if how is not signal.SIGKILL:
        assert "checkpoint written" in err
        assert err.count("the same command resumes") == 1  # one line for one event
    assert not list(run.glob("export/*/[0-9]*"))


@pytest.mark.parametrize(
    "stops",
    [[(20, signal.SIGINT), (60, signal.SIGKILL)], [(10, signal.SIGKILL), (50, signal.SIGTERM)]],
)
@pytest.mark.slow
def test_stopped_run_resumes_to_the_same_weights(
    stops: list[tuple[int, signal.Signals]], small_records: Path, tmp_path: Path,
    commands: Commands,
) -> None:  # fmt: skip
    """At any moment; the same command ends where an unbroken run does, to the bit."""
    steps = {"steps": 150, "checkpoint_every": 10, "log_every": 30, "sample_every": 1000}
    run, unbroken = tmp_path / "run", tmp_path / "unbroken"
    command = arguments(tiny_flags(small_records, run, **steps))
    for step, how in stops:
        stop(command, run, step, how)
    result = commands.run("train", *command)
    assert result.code == 0, result.err
    assert "resuming from step" in result.err, "it was stopped too late"
    train_here(tiny_flags(small_records, unbroken, **steps))
    check_same_checkpoint(run / "checkpoints/step-150", unbroken / "checkpoints/step-150")
    logged = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in logged if "loss/decoder" in line] == [30, 60, 90, 120, 150]


def test_a_film_of_one_shot_cannot_hold_one_out(tmp_path: Path, commands: Commands) -> None:
    write_numbered_film(tmp_path / "film", 10, 24, 32)
    result = commands.run("train", *finished(tmp_path / "film", tmp_path / "run"))
    assert result.code == 2 and "use --holdout=0" in result.error
