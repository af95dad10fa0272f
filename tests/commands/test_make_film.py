"""The whole path, as `make film` runs it, on a short synthetic film."""

import dataclasses
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bladerunner_ae.errors import InputError, ReplaceableError, UsageError
from bladerunner_ae.runs.folder import writing
from tests.helpers.small_records import flip_byte
from tests.helpers.synthetic_film import read_film
from tools import make_film as command

ROOT = Path(__file__).resolve().parent.parent.parent
FRAMES = 50
MADE = ("autoencoded.mp4", "side_by_side.mp4", "contact_sheet.png", "result.json",
        "run/evaluation.json", "run/config.json", "run/metrics.jsonl", "run/flags.txt")  # fmt: skip


def make_film(film: Path, out: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "tools/make_film.py", f"--film={film}", f"--output_dir={out}"]
    return subprocess.run(
        [*command, *flags], cwd=ROOT, capture_output=True, text=True, timeout=900, check=False
    )


@pytest.fixture(scope="module")
def made(
    film_factory: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, subprocess.CompletedProcess[str]]:
    """(film, its result folder, what the command said)."""
    film = film_factory("A tale.mp4", frames=FRAMES, height=90, width=160)
    out = tmp_path_factory.mktemp("out")
    return film, out / "A_tale", make_film(film, out, "--steps=3", "--holdout=0.1",
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

    from tests.helpers.synthetic_film import read_number

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
    assert other.stderr.count("hint: OVERWRITE=1") == 1
    # Who else writes the run is no reason to start it over.
    with writing(folder / "run"):
        locked = make_film(film, folder.parent, "--steps=4", "--holdout=0.1",
                           "--holdout_seconds=0.2")  # fmt: skip
    assert locked.returncode == 2 and f"process {os.getpid()} is writing it" in locked.stderr
    assert "hint:" not in locked.stderr


@pytest.mark.parametrize(
    ("name", "content"),
    [("autoencoded.mp4", ""), ("side_by_side.mp4", "x"), ("contact_sheet.png", None),
     ("run/evaluation.json", "{}"), ("run/evaluation.json", "[]"), ("result.json", ""),
     ("result.json", "[]"), ("result.json", '{"key": 1'), ("result.json", '{"films": []}'),
     ("result.json", "[" * 100_000), ("result.json", "\udcff")],
)  # fmt: skip
def test_only_whole_results_count(
    made: tuple[Path, Path, subprocess.CompletedProcess[str]],
    tmp_path: Path,
    name: str,
    content: str | None,
) -> None:
    film, folder, _ = made
    copy = Path(
        shutil.copytree(folder, tmp_path / "A_tale", ignore=shutil.ignore_patterns("export"))
    )
    job = dataclasses.replace(make_job(film, copy), holdout=0.1, holdout_seconds=0.2)
    key = command._key(job, job.data)
    assert command._finished_result(job, key) is not None
    os.utime(copy / "side_by_side.mp4")  # touched, and still the same
    assert command._finished_result(job, key) is not None
    assert command._finished_result(job, {**key, "steps": 4}) is None
    if content is None:
        (copy / name).unlink()
    else:
        (copy / name).write_text(content, "utf-8", "surrogateescape")
    assert command._finished_result(job, key) is None


def test_a_byte_that_changed_in_a_film_counts(
    made: tuple[Path, Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    film, folder, _ = made
    copy = Path(
        shutil.copytree(folder, tmp_path / "A_tale", ignore=shutil.ignore_patterns("export"))
    )
    flip_byte(copy / "autoencoded.mp4", 100)
    job = dataclasses.replace(make_job(film, copy), holdout=0.1, holdout_seconds=0.2)
    assert command._finished_result(job, command._key(job, job.data)) is None


def make_job(film: Path, folder: Path) -> command.Job:
    return command.Job(film=film, folder=folder, preset="preview", steps=3, holdout=0.0,
                       holdout_seconds=0.0, max_height=None, overwrite=False)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "folder"),
    [("film.mp4", "film"), ("A tale.mp4", "A_tale"), ("...mp4", "film"), ("..mp4", "film"),
     (".mp4", "mp4"), ("x.v2.mkv", "x.v2")],
)  # fmt: skip
def test_a_film_s_folder_lies_in_the_output_folder(tmp_path: Path, name: str, folder: str) -> None:
    (tmp_path / name).write_text("film")
    assert command.job_folder(tmp_path / "out", tmp_path / name) == tmp_path / "out" / folder


def test_links_and_folders_of_images_have_the_name_that_they_are_given_by(tmp_path: Path) -> None:
    (tmp_path / "real.mp4").write_text("film")
    (tmp_path / "link.mp4").symlink_to("real.mp4")
    (tmp_path / "x.v2").mkdir()
    out = tmp_path / "out"
    folders = [command.job_folder(out, tmp_path / n) for n in ("real.mp4", "link.mp4", "x.v2")]
    assert folders == [out / "real", out / "link", out / "x.v2"]
    # What an earlier version has begun under the name of a link's target, or with a space.
    (out / "real" / "records" / "link").mkdir(parents=True)
    (out / "real" / "records" / "link" / "film.json").write_text("{}")
    assert command.job_folder(out, tmp_path / "link.mp4") == out / "real"
    (out / "link").mkdir()
    assert command.job_folder(out, tmp_path / "link.mp4") == out / "link"


def test_a_film_where_results_belong_is_refused_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "out" / "autoencoded"
    (folder / "run" / "samples").mkdir(parents=True)
    film, link = folder / "autoencoded.mp4", tmp_path / "autoencoded.mp4"
    film.write_text("film")
    link.symlink_to(film)
    hard = tmp_path / "hard.mp4"
    os.link(film, hard)
    for path in (film, link, hard, folder / "run" / ".." / "autoencoded.mp4"):
        with pytest.raises(
            InputError, match=r"is where autoencoded\.mp4 is to be written; give OUT"
        ):
            command.check_film(make_job(path, folder))
    hidden = folder / ".side_by_side.partial.mp4"
    hidden.write_text("film")
    with pytest.raises(InputError, match=r"is where side_by_side\.mp4 is to be written"):
        command.check_film(make_job(hidden, folder))
    samples = folder / "run" / "samples"
    (samples / "step-1.png").write_text("picture")
    with pytest.raises(UsageError, match="belongs to the run"):
        command.check_film(make_job(samples, folder))
    with pytest.raises(InputError, match="lies in the film, a folder of images"):
        command.check_film(make_job(folder, folder))
    inside = folder / "run" / "film.mp4"
    inside.write_text("film")
    command.check_film(make_job(inside, folder))  # nobody's but the person's, so it stays there


def test_somebody_else_s_file_is_not_replaced(tmp_path: Path) -> None:
    folder, film = tmp_path / "out" / "film", tmp_path / "film.mp4"
    folder.mkdir(parents=True)
    film.write_text("film")
    (folder / "autoencoded.mp4").write_text("precious")
    with pytest.raises(ReplaceableError, match="exists and was not made by this command; move it"):
        command.check_film(make_job(film, folder))
    command.check_film(dataclasses.replace(make_job(film, folder), overwrite=True))
    (folder / "records").mkdir()  # begun: then it is a result
    command.check_film(make_job(film, folder))


def test_a_command_ends_with_the_one_that_called_it(tmp_path: Path) -> None:
    """Killed so that it can tell nobody. The command waits for a flagfile that never comes."""
    fifo = tmp_path / "flags"
    os.mkfifo(fifo)
    program = (
        "import sys; from tools.make_film import _run; "
        "_run('1/1', ['tools/inspect_records.py', '--flagfile=' + sys.argv[1]])"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(fifo)], cwd=ROOT) as caller:
        until = time.monotonic() + 60
        while True:
            try:
                writer = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
                break
            except OSError:  # nobody reads it yet
                assert time.monotonic() < until
                time.sleep(0.05)
        poll = select.poll()
        poll.register(writer, 0)
        assert poll.poll(200) == []
        caller.kill()
    assert poll.poll(30_000), "the command is gone"
    os.close(writer)


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
    done: list[str] = []

    def run(title: str, arguments: list[str]) -> str:
        done.append(title[:3])
        return ""

    monkeypatch.setattr(command, "_run", run)
    monkeypatch.setattr(command, "_key", lambda job, data: "key")
    job = make_job(tmp_path / "film.mp4", tmp_path / "out")
    with pytest.raises(SystemExit) as stopped:
        command.make_film(job)
    assert stopped.value.code == 143
    assert done == ["1/4", "2/4"]
    assert "stopped before its end; the same command goes on" in capsys.readouterr().err


def job_of(film: Path, out: Path) -> command.Job:
    return command.Job(film, out / "film", "preview", None, 0.0, 0.0, None, False)


def test_what_reassembly_needs_is_checked_before_training(
    film_factory: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    film = film_factory("film.mkv", frames=24, height=96, width=160, audio_codec="libvorbis")
    command.check_reassembly(job_of(film, tmp_path))
    said = capsys.readouterr().err
    assert "sound in vorbis will be re-encoded as aac: .mp4 does not hold vorbis" in said
    usage = shutil.disk_usage(tmp_path)._replace(free=10_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(InputError, match=r"about 0\.4 GB will be written, 10 MB are free"):
        command.check_reassembly(job_of(film, tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--steps=0"], "--steps must be at least 1, not 0"),
        (["--holdout=2"], "--holdout=2: give a fraction"),
        (["--holdout_seconds=2"], "give both"),
        (["--preset=huge"], "--preset=huge: choose one of preview"),
    ],
)
def test_numbers_that_cannot_be_trained_with_are_refused_before_the_conversion(
    synthetic_film: Path, tmp_path: Path, flags: list[str], words: str
) -> None:
    done = make_film(synthetic_film, tmp_path / "out", *flags)
    assert done.returncode == 1 and done.stderr.startswith("error: ")
    assert words in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_two_signals_at_once_leave_no_command_behind(tmp_path: Path) -> None:
    """As of `timeout 60 make film`: it signals the whole group, and make its own children."""
    slow = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: None)\n"
        f"open({str(tmp_path / 'begun')!r}, 'w').close()\n"
        "signal.pause(); time.sleep(1.5)\n"
        f"open({str(tmp_path / 'ended')!r}, 'w').close()\n"
    )
    code = (
        "from bladerunner_ae.command_line import signals\nfrom tools import make_film\n"
        f"with signals.working(): make_film._run('slow', ['-c', {slow!r}])"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.DEVNULL)
    limit = time.monotonic() + 60
    while not (tmp_path / "begun").exists():
        assert time.monotonic() < limit and process.poll() is None
        time.sleep(0.05)
    process.terminate()
    time.sleep(0.3)
    process.terminate()
    assert process.wait(60) == 128 + signal.SIGTERM
    assert (tmp_path / "ended").exists(), "the command was still at work"
