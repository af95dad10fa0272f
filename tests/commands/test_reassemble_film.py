"""The command as people run it: its output, its errors, and the files that a kill leaves."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bladerunner_ae.errors import InputError
from bladerunner_ae.output_files import UnfinishedFilm
from bladerunner_ae.reassembly import ReassemblyOptions, check_outputs
from tests.helpers.commands import error_of, run_python, run_tool, start_python, tool
from tests.helpers.synthetic_film import read_film
from tests.helpers.tiny_networks import save_autoencoder, save_stranger

FilmFactory = Callable[..., Path]
Started = tuple[subprocess.Popen[str], list[int]]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return run_tool("reassemble_film", "--crop_bars=none", *arguments)


def check_error(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    line = error_of(done, code)
    assert all(word in line for word in words), line
    assert done.stdout == ""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_autoencoder(tmp_path_factory.mktemp("run") / "export" / "autoencoder", (96, 160))


@pytest.fixture(scope="module")
def slow_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_autoencoder(tmp_path_factory.mktemp("slow"), (96, 160), "slow")


@pytest.fixture(scope="module")
def film(film_factory: FilmFactory) -> Path:
    return film_factory(height=96, width=160)


# --- It works ---


def test_both_films_and_what_is_said(film: Path, model: Path, tmp_path: Path) -> None:
    output = tmp_path / "dream.mp4"
    # The run folder stands for its newest exported autoencoder.
    exports = f"--model={model.parent.parent}"
    done = run(f"--film={film}", exports, f"--output={output}", "--side_by_side")
    assert done.returncode == 0, done.stderr
    both = tmp_path / "dream_side_by_side.mp4"
    assert sorted(path.name for path in tmp_path.iterdir()) == [output.name, both.name]
    said = (
        "48 frames in, 48 out, 24 fps, largest timestamp error 0 s; "
        "sound copied (aac, 95 packets identical); sync verified"
    )
    assert done.stdout.splitlines() == [f"{output}: {said}", f"{both}: {said}"]
    assert [number for number, _ in read_film(output)] == list(range(48))


def test_dry_run_says_what_would_be_written(film: Path, model: Path, tmp_path: Path) -> None:
    done = run(
        f"--film={film}", f"--model={model}", f"--output={tmp_path / 'a.mp4'}", "--dry_run",
        "--side_by_side", "--max_height=48",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"model {model / '1'}, 96x160 (height x width)"
    assert lines[1].endswith("a.mp4: about 48 frames, 48x80 (height x width); sound aac copied")
    assert "a_side_by_side.mp4: about 48 frames, 48x160" in lines[2]
    assert list(tmp_path.iterdir()) == []


def test_json_has_the_facts_as_values(film: Path, model: Path, tmp_path: Path) -> None:
    output = tmp_path / "dream.mp4"
    done = run(f"--film={film}", f"--model={model}", f"--output={output}", "--json")
    (found,) = json.loads(done.stdout)
    assert found == {
        "path": str(output), "frames_read": 48, "frames": 48, "rate": "24", "variable": False,
        "largest_error": "0", "sound": ["copied (aac, 95 packets identical)"], "left_out": [],
    }  # fmt: skip


def test_no_training_code_is_loaded() -> None:
    code = (
        "import sys; sys.argv = ['x', '--help']\n"
        "import tools.reassemble_film, bladerunner_ae.reassembly\n"
        "heavy = ('keras', 'tensorflow', 'bladerunner_ae.model.networks', 'bladerunner_ae.train',\n"
        "         'bladerunner_ae.objectives', 'bladerunner_ae.training.trainer')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = run_python("-c", code)
    assert done.stdout.strip() == "[]", done.stderr


# --- Bad input: one line, exit 2, at once ---


def test_films_that_are_none(model: Path, film_factory: FilmFactory, tmp_path: Path) -> None:
    text, empty, sound = tmp_path / "text.mp4", tmp_path / "empty.mp4", tmp_path / "sound.m4a"
    text.write_text("this is no film\n" * 100)
    empty.touch()
    _only_sound(film_factory(height=96, width=160), sound)
    for path, word in (
        (tmp_path / "none.mp4", "no such file"),
        (text, "text.mp4"),
        (empty, "is empty"),
        (sound, "only sound"),
    ):
        done = run(f"--film={path}", f"--model={model}", f"--output={tmp_path / 'out.mp4'}")
        check_error(done, 2, str(path), word)
        assert not list(tmp_path.glob("*out*")) and not list(tmp_path.glob(".*"))


def _only_sound(film: Path, output: Path) -> None:
    import imageio_ffmpeg

    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", str(film)]
    subprocess.run([*command, "-vn", "-c", "copy", str(output)], check=True)


def test_models_that_are_none(film: Path, tmp_path: Path) -> None:
    # All kinds are in test_autoencoder.py; here, that the command passes them on.
    stranger = save_stranger(tmp_path / "stranger")
    for path, word in (
        (tmp_path / "none", "no such model folder"),
        (stranger, "has no signature 'reconstruct' (it has: double)"),
    ):
        done = run(f"--film={film}", f"--model={path}", f"--output={tmp_path / 'out.mp4'}")
        check_error(done, 2, str(path), word)
        assert not (tmp_path / "out.mp4").exists()


def test_outputs_that_cannot_be(film: Path, model: Path, tmp_path: Path) -> None:
    copy, file, existing = tmp_path / "film.mp4", tmp_path / "file", tmp_path / "existing.mp4"
    shutil.copy(film, copy)
    file.touch()
    existing.write_bytes(b"mine")
    given = (f"--film={copy}", f"--model={model}")
    for arguments, words in (
        ((f"--output={copy}", "--overwrite"), "is the film itself"),
        ((f"--output={file / 'out.mp4'}",), "cannot be written to"),
        ((f"--output={existing}",), "exists; use --overwrite"),
        (
            (f"--output={tmp_path / 'out.mp4'}", f"--side_by_side_output={existing}"),
            f"{existing}: exists",
        ),
    ):
        check_error(run(*given, *arguments), 2, words)
    assert existing.read_bytes() == b"mine"
    assert len(list(tmp_path.iterdir())) == 3


def test_more_outputs_that_cannot_be(film: Path, tmp_path: Path) -> None:
    for output, words in (
        (tmp_path / "out.avi", "films are written as .mp4"),
        (tmp_path, "films are written as .mp4"),
        (Path("/proc/nowhere/out.mp4"), "cannot be written to"),
    ):
        with pytest.raises(InputError, match=words):
            check_outputs(film, output, ReassemblyOptions())
            with UnfinishedFilm(output):
                pass
    folder = tmp_path / "folder.mp4"
    folder.mkdir()
    with pytest.raises(InputError, match="is a folder"):
        check_outputs(film, folder, ReassemblyOptions(overwrite=True))
    twin = tmp_path / "out.mp4"
    with pytest.raises(InputError, match="is to be both films"):
        check_outputs(film, twin, ReassemblyOptions(side_by_side=twin))


def test_wrong_usage(film: Path, model: Path, tmp_path: Path) -> None:
    arguments = (f"--film={film}", f"--model={model}", f"--output={tmp_path / 'out.mp4'}")
    for flag, word in (
        ("--crop_bars=12", "top:bottom:left:right"),
        ("--frame_rate=fast", "frames per second"),
        ("--frame_rate=25", f"is for folders of images, and {film} is a film with its own"),
        ("--preset=warp", "preset"),
        ("--crf=99", "crf"),
    ):
        check_error(run(*arguments, flag), 1, word)
    for flag in ("--crop_bars=none", "--fit=cover"):
        check_error(run(*arguments, flag, "--data=records"), 1, "--data gives the geometry")
    check_error(run_tool("reassemble_film"), 1, "--film")
    wide = run_tool("reassemble_film", *arguments, "--crop_bars=0:0:80:80")
    check_error(wide, 2, f"error: {film}: --crop_bars=0:0:80:80 (top:bottom:left:right) leave")


# --- Writing fails: exit 3; killed: nothing half made ---


@contextlib.contextmanager
def _small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small disk can be mounted by root only")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk(film_factory: FilmFactory, model: Path, tmp_path: Path) -> None:
    film = film_factory(height=96, width=160, frames=211)
    output_size = 300_000
    for megabytes, filled in ((1, 900_000), (1, 1_048_576 - output_size)):
        with _small_disk(tmp_path / f"disk{filled}", megabytes) as disk:
            (disk / "filler").write_bytes(bytes(filled))
            done = run(
                f"--film={film}", f"--model={model}", f"--output={disk / 'out.mp4'}", "--crf=4"
            )
            check_error(done, 3, "the disk is full", str(disk))
            assert [path.name for path in disk.iterdir()] == ["filler"]


def _children(process: int, name: str) -> list[int]:
    """Return the numbers of a process's children whose command line has a name in it."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, IndexError):
            fields = (entry / "stat").read_text().rsplit(")", 1)[-1].split()
            if int(fields[1]) == process and name in (entry / "cmdline").read_text():
                found.append(int(entry.name))
    return found


@contextlib.contextmanager
def under_way(film: Path, model: Path, output: Path) -> Iterator[Started]:
    """Yield the command at a moment when it is writing, and the ffmpegs it has started."""
    process = start_python(
        tool("reassemble_film"), "--crop_bars=none", f"--film={film}", f"--model={model}",
        f"--output={output}", "--batch_size=1", "--side_by_side", start_new_session=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        encoders: list[int] = []
        while len(encoders) < 2 and time.monotonic() < deadline and process.poll() is None:
            encoders = _children(process.pid, "ffmpeg")
            time.sleep(0.05)
        assert len(encoders) == 2
        time.sleep(0.3)
        assert process.poll() is None
        yield process, encoders
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _wait_until_gone(processes: list[int]) -> None:
    deadline = time.monotonic() + 20
    while any(_lives(number) for number in processes):
        assert time.monotonic() < deadline, "ffmpeg is left running"
        time.sleep(0.05)


def _lives(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[-1].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGKILL, -9),
        pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
    ],
)
def test_stopped_on_the_way(
    film_factory: FilmFactory, model: Path, slow_model: Path, tmp_path: Path, number: int, code: int
) -> None:
    film = film_factory(height=96, width=160, frames=211)
    output = tmp_path / "out.mp4"
    with under_way(film, slow_model, output) as (process, encoders):
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # Ctrl-C reaches ffmpeg as well
        else:
            process.send_signal(number)
        _, words = process.communicate(timeout=30)
        assert process.returncode == code, words
        assert "Traceback" not in words and "error:" not in words
        _wait_until_gone(encoders)
    assert not output.exists() and not (tmp_path / "out_side_by_side.mp4").exists()
    if number != signal.SIGKILL:
        assert list(tmp_path.iterdir()) == []
        return
    done = run(f"--film={film}", f"--model={model}", f"--output={output}", "--side_by_side")
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.slow
def test_ffmpeg_killed(film_factory: FilmFactory, slow_model: Path, tmp_path: Path) -> None:
    film = film_factory(height=96, width=160, frames=211)
    with under_way(film, slow_model, tmp_path / "out.mp4") as (process, encoders):
        os.kill(encoders[0], signal.SIGKILL)
        output, words = process.communicate(timeout=30)
        done = subprocess.CompletedProcess([], process.returncode, output, words)
        check_error(done, 3, "ffmpeg was stopped by SIGKILL")
        _wait_until_gone(encoders)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_two_at_once_do_not_disturb_each_other(
    film_factory: FilmFactory, model: Path, slow_model: Path, tmp_path: Path
) -> None:
    film = film_factory(height=96, width=160, frames=211)
    output = tmp_path / "out.mp4"
    with under_way(film, slow_model, output) as (process, _):
        done = run(f"--film={film}", f"--model={model}", f"--output={output}")
        check_error(done, 2, f"process {process.pid} is writing it")
        process.terminate()
        process.wait(30)
