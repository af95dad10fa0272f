"""The whole path, as `make film` runs it, on a short synthetic film."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.synthetic_film import read_film

ROOT = Path(__file__).resolve().parent.parent
FRAMES = 50
MADE = ("autoencoded.mp4", "side_by_side.mp4", "contact_sheet.png", "result.json",
        "run/evaluation.json", "run/config.json", "run/metrics.jsonl", "run/flags.txt")  # fmt: skip


def make_film(film: Path, out: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "tools/make_film.py", f"--film={film}", f"--output_dir={out}"]
    return subprocess.run(
        [*command, *flags], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def made(
    film_factory: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, subprocess.CompletedProcess[str]]:
    """(film, its result folder, what the command said)."""
    film = film_factory("A tale.mp4", frames=FRAMES, height=90, width=160)
    out = tmp_path_factory.mktemp("out")
    return film, out / "A tale", make_film(film, out, "--steps=3", "--holdout=0.1",
                                           "--holdout_seconds=0.2")  # fmt: skip


def test_leaves_everything(made: tuple[Path, Path, subprocess.CompletedProcess[str]]) -> None:
    _, folder, done = made
    assert done.returncode == 0, done.stderr
    assert [name for name in MADE if not (folder / name).is_file()] == []
    for model in ("autoencoder", "encoder", "decoder"):
        assert (folder / "run" / "export" / model / "1" / "saved_model.pb").is_file()
    assert len(list((folder / "run" / "tensorboard").glob("events*"))) == 1
    assert not [path for path in folder.rglob("*partial*")]


def test_last_line_sums_up(made: tuple[Path, Path, subprocess.CompletedProcess[str]]) -> None:
    _, folder, done = made
    last = done.stdout.splitlines()[-1]
    groups = json.loads((folder / "run/evaluation.json").read_text())["groups"]
    assert last.startswith(f"{folder / 'autoencoded.mp4'}: ")
    for label in ("seen", "held out"):
        assert f"{label} PSNR {groups[label]['psnr']:.1f} dB" in last
    assert groups["seen"]["frames"] + groups["held out"]["frames"] == FRAMES
    assert f"{FRAMES} frames in, {FRAMES} out, 24 fps" in last
    assert "sound copied" in last
    assert "sync verified" in last


def test_films_keep_every_frame_time(
    made: tuple[Path, Path, subprocess.CompletedProcess[str]],
) -> None:
    import av

    film, folder, _ = made
    for name in ("autoencoded.mp4", "side_by_side.mp4"):
        with av.open(film) as before, av.open(folder / name) as after:
            times = [[frame.time for frame in c.decode(video=0)] for c in (before, after)]
        assert len(times[1]) == FRAMES
        assert times[1] == pytest.approx(times[0], abs=1e-6)


def test_side_by_side_shows_the_original_on_the_left(
    made: tuple[Path, Path, subprocess.CompletedProcess[str]],
) -> None:
    import av

    from tests.synthetic_film import read_number

    film, folder, _ = made
    numbers = []
    with av.open(folder / "side_by_side.mp4") as container:
        for frame in container.decode(video=0):
            picture = frame.to_ndarray(format="rgb24")
            numbers.append(read_number(picture[:, : picture.shape[1] // 2]))
    assert numbers == [number for number, _ in read_film(film)]


def test_second_call_does_nothing_again(
    made: tuple[Path, Path, subprocess.CompletedProcess[str]],
) -> None:
    film, folder, first = made
    before = {name: (folder / name).stat().st_mtime_ns for name in MADE[:4]}
    again = make_film(film, folder.parent, "--steps=3", "--holdout=0.1", "--holdout_seconds=0.2")
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[-1] == first.stdout.splitlines()[-1]
    assert {name: (folder / name).stat().st_mtime_ns for name in MADE[:4]} == before


def test_another_hold_out_is_refused_with_the_difference(
    made: tuple[Path, Path, subprocess.CompletedProcess[str]],
) -> None:
    film, folder, _ = made
    other = make_film(film, folder.parent, "--steps=3")
    assert other.returncode == 2
    errors = [line for line in other.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert "held_out" in errors[0]
    assert "--overwrite" in errors[0]


@pytest.mark.parametrize("name", ["missing.mp4", "text.mp4", "empty.mp4"])
def test_what_is_no_film_is_one_line(tmp_path: Path, name: str) -> None:
    if name != "missing.mp4":
        (tmp_path / name).write_text("no film" if name == "text.mp4" else "")
    done = make_film(tmp_path / name, tmp_path / "out")
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert name in errors[0]
    assert "Traceback" not in done.stderr


def test_a_training_that_was_told_to_stop_ends_the_film_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It ends with exit code 0, its checkpoint written, but there is no model to go on with."""
    from tools import make_film as command

    done: list[str] = []

    def run(title: str, arguments: list[str], again: bool = False) -> str:
        done.append(title[:3])
        return ""

    monkeypatch.setattr(command, "_run", run)
    monkeypatch.setattr(command, "_only_records", lambda folder: folder)
    monkeypatch.setattr(command, "_key", lambda job, data: "key")
    job = command.Job(film=tmp_path / "film.mp4", folder=tmp_path / "out", preset="preview",
                      steps=3, holdout=0.0, holdout_seconds=0.0, max_height=None,
                      overwrite=False)  # fmt: skip
    with pytest.raises(SystemExit) as stopped:
        command.make_film(job)
    assert stopped.value.code == 143
    assert done == ["1/4", "2/4"]
    assert "stopped before its end; the same command goes on" in capsys.readouterr().err
