"""Fixtures that several test modules share."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bladerunner_ae.command_line.tensorflow_import import set_up_tensorflow
from tests.helpers.commands import Commands, Result
from tests.helpers.s3_server import S3Server
from tests.helpers.small_records import write_numbered_film
from tests.helpers.synthetic_film import make_film

# As in commands: results are compared with theirs to the bit.
set_up_tensorflow()

# A shell has its background jobs ignore Ctrl-C, and so would the commands that tests interrupt. A
# handler is not inherited.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Divide the CPU in two, CPU:0 and CPU:1, for tests of `tf.distribute`.

    That is possible only before TensorFlow's first operation, so no test module may run one while
    it is imported. A run of tests without TensorFlow does not import it.
    """
    if "tensorflow" in sys.modules:
        import tensorflow as tf

        (cpu,) = tf.config.list_physical_devices("CPU")
        halves = [tf.config.LogicalDeviceConfiguration() for _ in range(2)]
        tf.config.set_logical_device_configuration(cpu, halves)


@pytest.fixture(scope="session")
def film_factory(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return `make_film` without its path: the same arguments give the same file, made once.

    `name` is the file's name, by default film.mp4; its suffix decides the container. The file is
    shared by all tests: copy it before you damage it.
    """
    made: dict[str, Path] = {}

    def film(name: str = "film.mp4", **arguments: Any) -> Path:
        key = repr((name, sorted(arguments.items())))
        if key not in made:
            made[key] = make_film(tmp_path_factory.mktemp("film") / name, **arguments)
        return made[key]

    return film


@pytest.fixture(scope="session")
def synthetic_film(film_factory: Callable[..., Path]) -> Path:
    """Return the default film: 48 frames, 180 x 320, 24 a second, with sound."""
    return film_factory()


@pytest.fixture(scope="session", autouse=True)
def spool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder for copies of remote folders, in place of the user's."""
    folder = tmp_path_factory.mktemp("spool")
    os.environ["BLADERUNNER_SPOOL"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Return an S3 server on this machine with a bucket: `tests.helpers.s3_server`."""
    pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    server = S3Server(tmp_path_factory.mktemp("s3"))
    yield server
    server.close()


@pytest.fixture
def s3_here(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """Return the same server, which this process uses too."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "S3_"))]:
        monkeypatch.delenv(name)
    for name, value in s3.variables().items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    return s3


@pytest.fixture(scope="session")
def commands() -> Iterator[Commands]:
    """Return a runner of our commands that imports TensorFlow once: `tests.helpers.commands`."""
    runner = Commands()
    yield runner
    runner.close()


@pytest.fixture(scope="session")
def small_records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the synthetic film's 48 frames as lossless records of 24 x 32. Copy before damage."""
    folder = tmp_path_factory.mktemp("records") / "film"
    write_numbered_film(folder, 48, 24, 32, image_format="png")
    return folder


@pytest.fixture(scope="session")
def trained_run(
    small_records: Path, tmp_path_factory: pytest.TempPathFactory, commands: Commands
) -> tuple[Path, Result]:
    """Return the run folder of a tiny, finished training command, and what the command said.

    Frames 40 to 47 of `small_records`, the second shot, were held out. Copy before you change it.
    """
    run = tmp_path_factory.mktemp("run") / "run"
    flags = {"data": small_records, "model_dir": run, "steps": 4, "batch_size": 8, "seed": 1,
             "strategy": "none", "precision": "float32", "checkpoint_every": 2, "log_every": 1,
             "sample_every": 100, "holdout": 0.17, "objective": "vae", "augment": 0.25,
             "keep": "last"}  # fmt: skip
    result = commands.run("train", *(f"--{name}={value}" for name, value in flags.items()))
    assert result.code == 0, result.err
    return run, result


@pytest.fixture(scope="session")
def tiny_export(small_records: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return RUN/export of untrained networks, version 1 of each: `tests.helpers.tiny_exports`.

    Copy before you change it.
    """
    from tests.helpers.tiny_exports import small_networks, write_export

    folder = tmp_path_factory.mktemp("run") / "export"
    return write_export(folder, small_records, small_networks())
