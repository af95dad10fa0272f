"""Several processes train one run: what TF_CONFIG may say, and that two workers equal one."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from bladerunner_ae.errors import OutputError, UsageError
from bladerunner_ae.training.checkpoints import checkpoint_steps
from bladerunner_ae.training.distributed import devices
from bladerunner_ae.training.distributed.agreement import losses_explained
from bladerunner_ae.training.distributed.cluster import Cluster, check_port, cluster_of
from bladerunner_ae.training.distributed.workers import Workers
from bladerunner_ae.training.stopping import Preempted, SharedPreemption
from tests.helpers.commands import ROOT, Commands, environment
from tests.helpers.memories import scenes
from tests.helpers.small_records import write_pictures
from tests.helpers.tiny_training import arguments, tiny_flags, train_here
from tests.helpers.training_checks import check_nearly_same_checkpoint, check_same_checkpoint

FIRST, SECOND = "first:2222", "second:2222"


def tf_config(jobs: Any, task: Any) -> dict[str, str]:
    """Return an environment with nothing but TF_CONFIG."""
    return {"TF_CONFIG": json.dumps({"cluster": jobs, "task": task})}


@pytest.mark.parametrize(
    ("jobs", "task", "expected"),
    [
        ({"worker": [FIRST, SECOND]}, {"type": "worker", "index": 1}, ((FIRST, SECOND), 1)),
        ({"worker": [SECOND], "chief": [FIRST]}, {"type": "chief", "index": 0},
         ((FIRST, SECOND), 0)),
        ({"worker": [SECOND], "chief": [FIRST]}, {"type": "worker", "index": 0},
         ((FIRST, SECOND), 1)),
        ({"worker": ["[::1]:2222"]}, {"type": "worker", "index": 0}, (("[::1]:2222",), 0)),
    ],
)  # fmt: skip
def test_what_tf_config_says(jobs: Any, task: Any, expected: tuple[tuple[str, ...], int]) -> None:
    cluster = cluster_of(tf_config(jobs, task))
    assert cluster == Cluster(*expected)
    assert cluster is not None and cluster.chief == (expected[1] == 0)


@pytest.mark.parametrize("text", ["", " ", "{}", '{"cluster": {}}', '{"task": {"index": 0}}'])
def test_tf_config_without_a_cluster(text: str) -> None:
    assert cluster_of({"TF_CONFIG": text}) is None
    assert cluster_of({}) is None


@pytest.mark.parametrize(
    ("jobs", "task", "named"),
    [
        ([FIRST], {"type": "worker", "index": 0}, '"cluster" is no object of lists'),
        ({"worker": FIRST}, {"type": "worker", "index": 0}, '"cluster" is no object of lists'),
        ({"worker": [FIRST], "ps": [SECOND]}, {"type": "worker", "index": 0}, "of type ps"),
        ({"chief": [FIRST, SECOND]}, {"type": "chief", "index": 0}, "more than one chief"),
        ({"worker": ["first"]}, {"type": "worker", "index": 0}, 'has "first" where HOST:PORT'),
        ({"worker": [2222]}, {"type": "worker", "index": 0}, "has 2222 where HOST:PORT"),
        ({"worker": ["http://first:1"]}, {"type": "worker", "index": 0}, "where HOST:PORT"),
        ({"worker": ["first:0"]}, {"type": "worker", "index": 0}, 'has "first:0" where HOST:PORT'),
        ({"worker": ["first:65536"]}, {"type": "worker", "index": 0}, "where HOST:PORT"),
        ({"worker": [FIRST, FIRST]}, {"type": "worker", "index": 0}, "names one address twice"),
        ({"worker": [FIRST]}, None, '"task" has none of the types of "cluster" (worker)'),
        ({"worker": [FIRST]}, {"type": "chief", "index": 0}, '"task" has none of the types'),
        ({"worker": [FIRST, SECOND]}, {"type": "worker", "index": 2}, "index 2, which is not "
         "from 0 to 1"),
        ({"worker": [FIRST]}, {"type": "worker", "index": "0"}, 'index "0", which is not'),
        ({"worker": [FIRST]}, {"type": "worker"}, "index null"),
        ({"worker": [FIRST, SECOND]}, {"type": "worker", "index": True}, "index true, which is"),
        ({"worker": [FIRST]}, {"type": ["worker"], "index": 0}, '"task" has none of the types'),
    ],
)  # fmt: skip
def test_a_malformed_tf_config_is_one_line_with_an_example(
    jobs: Any, task: Any, named: str
) -> None:
    with pytest.raises(UsageError) as raised:
        cluster_of(tf_config(jobs, task))
    line = str(raised.value)
    assert line.startswith("TF_CONFIG ") and named in line and "\n" not in line
    example = line.partition("it should look like ")[2]
    assert cluster_of({"TF_CONFIG": example}) == Cluster(("first-host:2222", "second-host:2222"), 0)


def test_a_tf_config_that_is_no_json() -> None:
    with pytest.raises(UsageError, match=r"^TF_CONFIG is no JSON \(.*\); it should look like {"):
        cluster_of({"TF_CONFIG": "{'cluster': {}}"})
    with pytest.raises(UsageError, match=r"^TF_CONFIG is no JSON object"):
        cluster_of({"TF_CONFIG": "[]"})


@pytest.mark.parametrize("shared", [False, True])
def test_a_port_that_another_process_has_is_named(shared: bool) -> None:
    """Also one of our own workers, started twice with one index: gRPC shares its ports."""
    with socket.socket() as other:
        if shared:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("", 0))
        other.listen()
        own = f"localhost:{other.getsockname()[1]}"
        config = tf_config({"worker": [own, SECOND]}, {"type": "worker", "index": 0})
        with pytest.raises(
            UsageError, match=rf"^TF_CONFIG: worker 0 cannot listen at {own} \(Addr"
        ):
            devices.join("multi_worker", config)
    check_port(cluster_of(config) or Cluster())  # now that it is free


def test_multi_worker_needs_a_cluster(
    small_records: Path, tmp_path: Path, commands: Commands
) -> None:
    flags = tiny_flags(small_records, tmp_path / "run", strategy="multi_worker")
    result = commands.run("train", *arguments(flags))
    assert result.code == 1 and not (tmp_path / "run").exists()
    assert "TF_CONFIG does not say who the workers are" in result.error
    assert result.error.endswith('"task": {"type": "worker", "index": 0}}\'')


def test_a_cluster_of_one_trains_alone() -> None:
    alone = tf_config({"worker": [FIRST]}, {"type": "worker", "index": 0})
    for name in ("auto", "multi_worker"):
        workers = devices.join(name, alone)
        assert workers.chief and not workers.several
        assert workers.strategy is tf.distribute.get_strategy()
        assert workers.gather(7) == [7]
    broken = {"TF_CONFIG": "broken"}
    assert not devices.join("none", broken).several, "what is not used need not be right"
    with pytest.raises(UsageError, match="no JSON"):
        devices.join("auto", broken)


def test_all_stop_at_the_step_after_all_have_heard() -> None:
    preemption = SharedPreemption()
    with preemption:
        os.kill(os.getpid(), signal.SIGTERM)
        with preemption.at_once():
            preemption.check()
        assert preemption.asked and not preemption.came
        for heard in (0.0, 0.5, 0.5):
            assert not preemption.came
            preemption.check()
            preemption.hear(tf.constant(heard))
        assert preemption.came
        with pytest.raises(Preempted):
            preemption.check()


def test_a_worker_that_nobody_asked_stops_too(capsys: pytest.CaptureFixture[str]) -> None:
    preemption = SharedPreemption()
    for heard in (0.5, 0.5, 0.5):
        preemption.hear(tf.constant(heard))
    with pytest.raises(Preempted):
        preemption.check()
    assert capsys.readouterr().err == "another worker was asked to stop\n"


def test_a_lost_worker_is_one_line() -> None:
    strategy = tf.distribute.get_strategy()
    lost = tf.errors.UnavailableError(
        None, None, "Collective ops is aborted by: Error reported from /job:worker/task:1: "
        "unhealthy\n/job:worker/replica:0/task:1\n"
    )  # fmt: skip
    with (
        pytest.raises(OutputError, match=r"^RUN: worker 1 is gone, and none .* start all of them"),
        losses_explained(Workers(strategy, Cluster((FIRST, SECOND), 0)), Path("RUN")),
    ):
        raise lost
    alone = losses_explained(Workers(strategy), Path("RUN"))
    with pytest.raises(tf.errors.UnavailableError), alone:
        raise lost


def free_ports(count: int) -> list[int]:
    """Return ports that are not in use now."""
    with socket.socket() as first, socket.socket() as second:
        sockets = [first, second][:count]
        for one in sockets:
            one.bind(("localhost", 0))
        return [one.getsockname()[1] for one in sockets]


def start_workers(
    flags: Sequence[Mapping[str, Any]], missing: int = 0
) -> list[subprocess.Popen[str]]:
    """Start one training command a worker, each with a TF_CONFIG of its own."""
    jobs = {"worker": [f"localhost:{port}" for port in free_ports(len(flags) + missing)]}
    return [
        subprocess.Popen(
            [sys.executable, "-m", "bladerunner_ae.train", *arguments(own)],
            cwd=ROOT,
            env={**environment(), **tf_config(jobs, {"type": "worker", "index": index})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index, own in enumerate(flags)
    ]


def finish(workers: Sequence[subprocess.Popen[str]], *codes: int) -> list[str]:
    """Wait for all workers; return what each has printed to stderr."""
    try:
        outputs = [worker.communicate(timeout=300) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    errors = [err for _, err in outputs]
    assert [worker.returncode for worker in workers] == list(codes), errors
    assert not any("Traceback" in err for err in errors), errors
    for (out, _), worker in zip(outputs[1:], workers[1:], strict=True):
        assert out == "", f"worker {worker.pid} wrote something"
    return errors


def parallel(records: Path, run: Path, **changes: Any) -> dict[str, Any]:
    """Return the flags of a run by two workers."""
    return tiny_flags(records, run, **{"strategy": "multi_worker", **changes})


def test_a_worker_that_waits_in_vain_can_be_stopped(small_records: Path, tmp_path: Path) -> None:
    (worker,) = start_workers([parallel(small_records, tmp_path / "run")], missing=1)
    assert worker.stderr is not None
    line = worker.stderr.readline()
    assert line.startswith("worker 0 of 2, waiting for localhost:")
    time.sleep(1.0)
    worker.send_signal(signal.SIGINT)
    try:
        _, err = worker.communicate(timeout=20)
    finally:
        worker.kill()
    assert (worker.returncode, err) == (-signal.SIGINT, "")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_two_workers_equal_one(small_records: Path, tmp_path: Path) -> None:
    """Also where gradients are clipped and averages kept; only the chief leaves anything."""
    both, alone = tmp_path / "both", tmp_path / "alone"
    options: dict[str, Any] = {
        "steps": 6, "checkpoint_every": 3, "clip_norm": 0.008, "ema": 0.9, "keep": "last",
    }  # fmt: skip
    flags = parallel(small_records, both, **options)
    errors = finish(start_workers([flags, flags]), 0, 0)
    assert "worker 0 of 2, waiting for localhost:" in errors[0]
    assert "6 steps of 8 frames, float32, 2 devices" in errors[1]
    trainer = train_here(tiny_flags(small_records, alone, **options))
    ends = (both / "checkpoints/step-6", alone / "checkpoints/step-6")
    check_nearly_same_checkpoint(*ends, before=alone / "checkpoints/step-3")
    ours, theirs = logged(both), logged(alone)
    assert [line["step"] for line in ours] == [line["step"] for line in theirs] == [
        0, 1, 2, 3, 4, 5, 6, 6
    ]  # fmt: skip
    clipped = [line["gradient_norm/decoder"] > 0.008 for line in theirs[1:-1]]
    assert any(clipped), "a norm that is never reached proves nothing"
    for our, their in zip(ours, theirs, strict=True):
        # How long one device waits is measured, several are not.
        assert our.keys() == their.keys() - {"speed/waiting_for_data"}
        for name in their.keys() & {"loss/decoder", "term/kl", "probe/psnr_seen"}:
            assert our[name] == pytest.approx(their[name], rel=2e-4), (our["step"], name)
    assert checkpoint_steps(both) == [3, 6] and trainer.steps_done == 6
    assert (both / "export" / "autoencoder" / "1").exists()
    said = [line.split(" ", 2)[2] for line in (both / "log.txt").read_text().splitlines()]
    assert said[0] == "step 0: training from step 0 to 6", said
    assert len(said) == len(set(said)), "one worker's, not two's"
    # Stopped in its last moments: the same command shows what the run came to.
    metrics = both / "metrics.jsonl"
    lines = metrics.read_text().splitlines(keepends=True)
    metrics.write_text("".join(line for line in lines if '"finished"' not in line))
    (both / "prior.png").unlink()
    errors = finish(start_workers([flags, flags]), 0, 0)
    assert all("showing the results" in err for err in errors)
    assert (both / "prior.png").is_file() and checkpoint_steps(both) == [3, 6]


@pytest.mark.slow
def test_two_workers_have_the_chiefs_memory(tmp_path: Path) -> None:
    records, both, alone = (tmp_path / name for name in ("film", "both", "alone"))
    write_pictures(records, list(scenes()), image_format="png")
    options: dict[str, Any] = {"steps": 4, "checkpoint_every": 2, "augment": 0.0,
                               "latent_size": 64, "moments": 6, "components": 90}  # fmt: skip
    flags = parallel(records, both, **options)
    errors = finish(start_workers([flags, flags]), 0, 0)
    assert "memory of 6 key moments in 90 components" in errors[1]
    assert "key moments" not in errors[1].partition("MB")[2], "only the chief fits"
    trainer = train_here(tiny_flags(records, alone, **options))
    # A worker without the chief's memory would have sent gradients of something else.
    ends = (both / "checkpoints/step-4", alone / "checkpoints/step-4")
    check_nearly_same_checkpoint(*ends, before=alone / "checkpoints/step-2")
    assert trainer.networks.memory is not None


def logged(run: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's metrics but for those of its events, which no step repeats."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if not line.keys() & {"score/all", "watchdog", "finished"}]


def signal_at(
    workers: Sequence[subprocess.Popen[str]], which: int, how: signal.Signals, file: Path
) -> None:
    """Signal one worker when a file is there."""
    while not file.exists():
        assert all(worker.poll() is None for worker in workers), finish(workers, 0, 0)
        time.sleep(0.01)
    workers[which].send_signal(how)


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_stopped_or_killed_workers_resume_to_the_same_weights(
    killed: int, small_records: Path, tmp_path: Path
) -> None:
    run, unbroken = tmp_path / "run", tmp_path / "unbroken"
    options: dict[str, Any] = {
        "steps": 60,
        "checkpoint_every": 5,
        "log_every": 20,
        "sample_every": 1000,
    }
    flags = parallel(small_records, run, **options)
    # Asked to stop, one worker takes the other along.
    workers = start_workers([flags, flags])
    signal_at(workers, 1 - killed, signal.SIGTERM, run / "checkpoints" / "step-5.index")
    errors = finish(workers, 0, 0)
    (step,) = {err.partition("stopped at step ")[2].partition(",")[0] for err in errors}
    assert checkpoint_steps(run)[-1] == int(step) > 5
    assert "another worker was asked to stop" in errors[killed]
    # Killed, one worker leaves the other with an error.
    workers = start_workers([flags, flags])
    at = 5 * (int(step) // 5 + 2)
    signal_at(workers, killed, signal.SIGKILL, run / "checkpoints" / f"step-{at}.index")
    errors = finish(workers, *((-9, 3) if killed == 0 else (3, -9)))
    assert f"error: {run}: " in errors[1 - killed], errors
    assert "start all of them again with the same command" in errors[1 - killed]
    assert at <= checkpoint_steps(run)[-1] < 60
    errors = finish(start_workers([flags, flags]), 0, 0)
    assert all("resuming from step " in err for err in errors)
    other = parallel(small_records, unbroken, **options)
    finish(start_workers([other, other]), 0, 0)
    check_same_checkpoint(run / "checkpoints/step-60", unbroken / "checkpoints/step-60")


@pytest.mark.slow
def test_workers_that_do_not_agree(small_records: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    flags = parallel(small_records, run)
    errors = finish(start_workers([flags, {**flags, "seed": 2}]), 1, 1)
    assert "worker 1 cannot take part in this run; its own output says why" in errors[0]
    assert "worker 1 was asked for another run than the chief (seed: 1 -> 2); " in errors[1]
    elsewhere = {**flags, "model_dir": tmp_path / "elsewhere"}
    errors = finish(start_workers([flags, elsewhere]), 1, 2)
    assert "does not see the run that the chief has begun there" in errors[1]
    assert not (tmp_path / "elsewhere").exists()
