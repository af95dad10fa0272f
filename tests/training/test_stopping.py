"""Signals while a run trains: it finishes the step, writes a checkpoint, and resumes later."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from bladerunner_ae.training import callbacks
from bladerunner_ae.training.checkpoints import checkpoint_steps
from bladerunner_ae.training.logs import FINISHED
from bladerunner_ae.training.monitoring.evaluation import RunEvaluation
from bladerunner_ae.training.monitoring.probes import Probes
from bladerunner_ae.training.resume import has_finished
from bladerunner_ae.training.stopping import Preempted, Preemption
from tests.helpers.commands import Commands, start, start_python
from tests.helpers.tiny_training import FEW_LAYERS, arguments, tiny_flags, train_here
from tests.helpers.training_checks import check_same_checkpoint

RESUMES = "the same command resumes"


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(
    ("number", "answer"), [(signal.SIGTERM, Preempted), (signal.SIGINT, KeyboardInterrupt)]
)
def test_while_steps_run_the_answer_waits_for_the_check(
    number: signal.Signals, answer: type[BaseException]
) -> None:
    earlier = signal.getsignal(number), signal.set_wakeup_fd(-1)
    with Preemption() as preemption:
        preemption.begin()
        preemption.check()
        send(number)
        assert preemption.came
        with pytest.raises(answer):
            preemption.check()
        with pytest.raises(answer), preemption.at_once():
            raise AssertionError("it was asked to stop before")
    assert (signal.getsignal(number), signal.set_wakeup_fd(-1)) == earlier


def test_where_nothing_is_lost_the_answer_comes_at_once() -> None:
    with pytest.raises(Preempted) as preempted, Preemption():
        send(signal.SIGTERM)
        time.sleep(10)
    assert preempted.value.code == 0
    with pytest.raises(KeyboardInterrupt), Preemption() as preemption:
        preemption.begin()
        with preemption.at_once():
            send(signal.SIGINT)
            time.sleep(10)


def test_signals_that_are_ignored_stay_ignored() -> None:
    earlier = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with Preemption() as preemption:
            send(signal.SIGTERM)
        assert not preemption.came
    finally:
        signal.signal(signal.SIGTERM, earlier)


STUCK = """
import hashlib, time
from bladerunner_ae.command_line.tensorflow_import import import_tensorflow
import_tensorflow()
from bladerunner_ae.training import stopping as module
steps = []
with module.Preemption(lambda: len(steps)) as preemption:
    {begin}
    print("stuck", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", {rounds})  # native code, as a step is
    preemption.check()
"""


# A step that has begun may take longer than what is waited for before the first one.
IMPATIENT = "module._NOTHING_TO_KEEP_SECONDS = 0.1"


def stuck(rounds: int, begin: str = f"{IMPATIENT}; preemption.begin()") -> subprocess.Popen[str]:
    process = start_python("-c", STUCK.format(rounds=rounds, begin=begin))
    assert process.stdout is not None
    assert process.stdout.readline() == "stuck\n"
    return process


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_second_signal_ends_even_an_endless_step_at_once(number: int) -> None:
    process = stuck(2**31 - 1)
    process.send_signal(signal.SIGTERM)
    time.sleep(1.2)
    assert process.poll() is None
    process.send_signal(number)
    _, err = process.communicate(timeout=5)
    assert process.returncode == 128 + number
    (line,) = err.strip().splitlines()
    assert line.endswith("the same command resumes or starts over cleanly")


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 0), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)],
)
def test_before_the_first_step_native_code_is_not_waited_for(number: int, code: int) -> None:
    process = stuck(2**31 - 1, begin="")
    time.sleep(0.5)  # until it is in native code
    sent = time.monotonic()
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert 4.0 < time.monotonic() - sent < 9.0
    assert process.returncode == code
    assert err == "stopped before a step was done; the same command resumes from there\n"


def test_steps_of_an_execution_that_has_not_ended_are_kept() -> None:
    process = stuck(3_000_000, begin=f"{IMPATIENT}; steps.append(1)")
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")


def test_an_answer_on_its_way_is_not_cut_off() -> None:
    """Native code may close the run, too."""
    native = 'hashlib.pbkdf2_hmac("sha256", b"", b"", 3_000_000)'
    closes = f"preemption._open.callback(lambda: ({native}, print('closed')))"
    process = stuck(10, begin=f"{IMPATIENT}; {closes}; print('stuck', flush=True); time.sleep(60)")
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out.strip(), err) == (0, "closed", "")


def test_two_signals_together_are_one() -> None:
    """As `timeout` sends them, and a terminal's Ctrl-C with a parent that passes it on."""
    process = stuck(3_000_000)
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
        process.send_signal(number)
        time.sleep(0.1)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")


def train_until(run: Path, step: int, command: list[str], *numbers: int) -> tuple[int, str, float]:
    """Signal a training at its checkpoint of `step`; return exit code, stderr and seconds."""
    process = start("train", *command)
    while not (run / "checkpoints" / f"step-{step}.index").exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    time.sleep(0.3)  # some steps more
    sent = time.monotonic()
    for number in numbers:
        process.send_signal(number)
        time.sleep(0.05)
    _, err = process.communicate(timeout=60)
    return process.returncode, err, time.monotonic() - sent


@pytest.mark.slow
def test_a_preempted_run_resumes_to_the_same_weights(
    small_records: Path, tmp_path: Path, commands: Commands
) -> None:
    steps: dict[str, Any] = {
        "steps": 160, "checkpoint_every": 40, "log_every": 40, "sample_every": 60, "ema": 0.9,
    }  # fmt: skip
    run, unbroken = tmp_path / "run", tmp_path / "unbroken"
    command = arguments(tiny_flags(small_records, run, **steps))
    at: list[int] = []
    for first, numbers, code in (
        (40, [signal.SIGTERM], 0),
        (80, [signal.SIGINT, signal.SIGTERM], 130),
    ):
        found, err, seconds = train_until(run, first, command, *numbers)
        assert found == code, err
        assert "Traceback" not in err and seconds < 10
        (step,) = re.findall(rf"^stopped at step (\d+), checkpoint written; {RESUMES}", err, re.M)
        assert err.count(RESUMES) == 1, err
        assert checkpoint_steps(run)[-1] == int(step) >= first
        assert not (run / "export").exists()
        at.append(int(step))
    assert any(step % 40 for step in at), "no signal came between two checkpoints"
    result = commands.run("train", *command)
    assert result.code == 0 and f"resuming from step {at[-1]}" in result.err, result.err
    train_here(tiny_flags(small_records, unbroken, **steps))
    check_same_checkpoint(run / "checkpoints/step-160", unbroken / "checkpoints/step-160")
    logs = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [log["step"] for log in logs if "loss/decoder" in log] == list(range(40, 161, 40))


def test_a_signal_after_the_last_step_precedes_the_export(
    small_records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Export and report may take minutes."""
    monkeypatch.setattr(callbacks, "write_projector", lambda *_: send(signal.SIGTERM))
    with pytest.raises(Preempted):
        train_here(tiny_flags(small_records, tmp_path / "run", **FEW_LAYERS))
    assert f"stopped at step 4, checkpoint written; {RESUMES}" in capsys.readouterr().err
    assert checkpoint_steps(tmp_path / "run") == [2, 4]


def figures_of(run: Path, step: int) -> list[str]:
    """Names of the figures that metrics.jsonl has of a step, sorted; one twice if there twice."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    names = [name for line in lines if line["step"] == step for name in line]
    return sorted(name for name in names if name not in ("step", FINISHED))


def signal_in(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int) -> None:
    """Send SIGTERM at the beginning of a function's nth call."""
    function, calls = getattr(owner, name), []

    def signalled(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == call:
            send(signal.SIGTERM)
        return function(*arguments, **options)

    monkeypatch.setattr(owner, name, signalled)


AT_THE_END = ("prior.png", "interpolation.png", "tensorboard/projector_config.pbtxt",
              "samples/step-0000004.png")  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("owner", "name", "call"),
    [
        (Probes, "scores", 3),
        (RunEvaluation, "measure", 2),
        (callbacks, "write_projector", 1),
    ],
)
def test_the_same_command_shows_what_a_signal_cut_short(
    small_records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    owner: Any, name: str, call: int,
) -> None:  # fmt: skip
    run, unbroken = tmp_path / "run", tmp_path / "unbroken"
    changes = {"sample_every": 2, "evaluate_every": 2, "holdout": 0.17, **FEW_LAYERS}
    with monkeypatch.context() as patch, pytest.raises(Preempted):
        signal_in(patch, owner, name, call)
        train_here(tiny_flags(small_records, run, **changes))
    assert checkpoint_steps(run)[-1] == 4
    assert has_finished(run, 4) == (name == "write_projector")  # which is not broken off
    for flags in (tiny_flags(small_records, folder, **changes) for folder in (run, unbroken)):
        train_here(flags)
    assert has_finished(run, 4) and has_finished(unbroken, 4)
    assert all((run / file).is_file() for file in AT_THE_END)
    for step in (2, 4):
        assert figures_of(run, step) == figures_of(unbroken, step), step
    check_same_checkpoint(run / "checkpoints/step-4", unbroken / "checkpoints/step-4")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("owner", "name", "call"), [(Probes, "scores", 2), (RunEvaluation, "measure", 1)]
)
def test_a_resumed_run_makes_up_for_what_was_cut_short(
    small_records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    owner: Any, name: str, call: int,
) -> None:  # fmt: skip
    """A sample is taken to its end, for the watchdog; an evaluation when the run resumes."""
    run, unbroken = tmp_path / "run", tmp_path / "unbroken"
    changes = {"sample_every": 2, "evaluate_every": 2, "holdout": 0.17, "checkpoint_every": 4}
    with monkeypatch.context() as patch, pytest.raises(Preempted):
        signal_in(patch, owner, name, call)
        train_here(tiny_flags(small_records, run, **changes))
    assert checkpoint_steps(run) == [2]
    assert "probe/psnr_seen" in figures_of(run, 2)
    assert "evaluate/psnr_seen" not in figures_of(run, 2)
    for folder in (run, unbroken):
        train_here(tiny_flags(small_records, folder, **changes))
    for step in (2, 4):
        assert figures_of(run, step) == figures_of(unbroken, step), step


@pytest.mark.slow
def test_a_run_preempted_before_its_first_step_starts_over(
    small_records: Path, tmp_path: Path, commands: Commands
) -> None:
    run = tmp_path / "run"
    command = arguments(tiny_flags(small_records, run))
    process = start("train", *command)
    while not (run / "samples" / "step-0000000.png").exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0 and "Traceback" not in err
    assert re.search(r"^stopped at step \d, ", err, re.M), err
    result = commands.run("train", *command)
    assert result.code == 0 and checkpoint_steps(run)[-1] == 4, result.err
