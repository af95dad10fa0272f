"""From a film to its dream: the whole command on a short film, and each check before it."""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import av
import pytest

from bladerunner_ae import pipeline
from bladerunner_ae.errors import InputError, ReplaceableError, UsageError
from bladerunner_ae.pipeline import Job, check_paths, check_reassembly, finished_result, job_folder
from bladerunner_ae.runs.folder import writing
from tests.helpers.commands import ROOT
from tests.helpers.small_records import flip_byte
from tests.helpers.synthetic_film import read_film, read_number

Made = tuple[Path, Path, subprocess.CompletedProcess[str]]
FRAMES = 50
FILES = (
    *("autoencoded.mp4", "side_by_side.mp4", "contact_sheet.png", "result.json"),
    *(f"run/{name}" for name in ("evaluation.json", "config.json", "metrics.jsonl", "flags.txt")),
)
FLAGS = ("--steps=3", "--holdout=0.1", "--holdout_seconds=0.2")


def make_film(film: Path, out: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "tools/make_film.py", f"--film={film}", f"--output_dir={out}"]
    return subprocess.run(
        [*command, *flags], cwd=ROOT, capture_output=True, text=True, timeout=900, check=False
    )


def job_of(film: Path, folder: Path) -> Job:
    return Job(film, folder, "preview", steps=3, holdout=0.1, holdout_seconds=0.2)


def errors(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert "Traceback" not in done.stderr
    return [line for line in done.stderr.splitlines() if line.startswith("error:")]


@pytest.fixture(scope="module")
def made(film_factory: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Made:
    """(film, its result folder, what the command printed)."""
    film = film_factory("A tale.mp4", frames=FRAMES, height=90, width=160)
    out = tmp_path_factory.mktemp("out")
    return film, out / "A_tale", make_film(film, out, *FLAGS)


@pytest.fixture
def copied(made: Made, tmp_path: Path) -> Iterator[Job]:
    """A copy of the results, without the exported models."""
    film, folder, _ = made
    copy = shutil.copytree(folder, tmp_path / folder.name, ignore=shutil.ignore_patterns("export"))
    yield job_of(film, Path(copy))


def test_the_command_leaves_everything_and_sums_it_up(made: Made) -> None:
    _, folder, done = made
    assert done.returncode == 0, done.stderr
    assert [name for name in FILES if not (folder / name).is_file()] == []
    for model in ("autoencoder", "encoder", "decoder"):
        assert (folder / "run" / "export" / model / "1" / "saved_model.pb").is_file()
    assert len(list((folder / "run" / "tensorboard").glob("events*"))) == 1
    assert not [path for path in folder.rglob("*partial*")]
    last = done.stdout.splitlines()[-1]
    groups = json.loads((folder / "run/evaluation.json").read_text())["groups"]
    assert last.startswith(f"{folder / 'autoencoded.mp4'}: ")
    for label in ("seen", "held out"):
        assert f"{label} PSNR {groups[label]['psnr']:.1f} dB" in last
    assert groups["seen"]["frames"] + groups["held out"]["frames"] == FRAMES
    found = f"{FRAMES} frames in, {FRAMES} out, 24 fps, largest timestamp error 0 s; sound copied"
    assert found in last and last.endswith("; sync verified")
    for name in ("autoencoded.mp4", "side_by_side.mp4"):
        assert f"{folder / name}: {found}" in done.stderr


def test_films_keep_every_frame_and_its_time(made: Made) -> None:
    film, folder, _ = made
    numbers = []
    for name in ("autoencoded.mp4", "side_by_side.mp4"):
        with av.open(film) as before, av.open(folder / name) as after:
            times = [frame.time for frame in before.decode(video=0)]
            frames = list(after.decode(video=0))
        assert len(frames) == FRAMES
        assert [frame.time for frame in frames] == pytest.approx(times, abs=1e-6)
    for frame in frames:  # of the side by side film: the original is on the left
        picture = frame.to_ndarray(format="rgb24")
        numbers.append(read_number(picture[:, : picture.shape[1] // 2]))
    assert numbers == [number for number, _ in read_film(film)]


def test_a_second_call_changes_nothing(made: Made) -> None:
    film, folder, first = made
    before = {name: (folder / name).stat().st_mtime_ns for name in FILES[:4]}
    again = make_film(film, folder.parent, *FLAGS)
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[-1] == first.stdout.splitlines()[-1]
    assert {name: (folder / name).stat().st_mtime_ns for name in FILES[:4]} == before


def test_another_hold_out_is_refused_with_a_hint(made: Made) -> None:
    film, folder, _ = made
    other = make_film(film, folder.parent, "--steps=3")
    (error,) = errors(other)
    assert other.returncode == 2 and "held_out" in error and "--overwrite" in error
    assert other.stderr.count("hint: OVERWRITE=1") == 1
    # A run that another process writes is no reason to start it over.
    with writing(folder / "run"):
        locked = make_film(film, folder.parent, "--steps=4", *FLAGS[1:])
    assert locked.returncode == 2 and f"process {os.getpid()} is writing it" in locked.stderr
    assert "hint:" not in locked.stderr


@pytest.mark.parametrize(
    ("name", "content"),
    [("autoencoded.mp4", ""), ("side_by_side.mp4", "x"), ("contact_sheet.png", None),
     ("run/evaluation.json", "{}"), ("run/evaluation.json", "[]"), ("result.json", ""),
     ("result.json", "[]"), ("result.json", '{"key": 1'), ("result.json", '{"films": []}'),
     ("result.json", "[" * 100_000), ("result.json", "\udcff")],
)  # fmt: skip
def test_only_whole_results_count(copied: Job, name: str, content: str | None) -> None:
    key = pipeline._key(copied)
    assert finished_result(copied, key) is not None
    os.utime(copied.folder / "side_by_side.mp4")  # touched, and still the same
    assert finished_result(copied, key) is not None
    assert finished_result(copied, {**key, "steps": 4}) is None
    if content is None:
        (copied.folder / name).unlink()
    else:
        (copied.folder / name).write_text(content, "utf-8", "surrogateescape")
    assert finished_result(copied, key) is None


def test_a_byte_that_changed_in_a_film_counts(copied: Job) -> None:
    flip_byte(copied.folder / "autoencoded.mp4", 100)
    assert finished_result(copied, pipeline._key(copied)) is None


def test_the_result_of_an_earlier_version_counts(copied: Job, made: Made) -> None:
    """It has the films in words, and nothing on the files it made."""
    result = json.loads(copied.result.read_text("utf-8"))
    films = [pipeline.WrittenFilm.from_json(film) for film in result["films"]]
    words = [replace(film, path=copied.folder / film.path.name).report() for film in films]
    copied.result.write_text(json.dumps({"key": result["key"], "films": words}), "utf-8")
    assert finished_result(copied, pipeline._key(copied)) is not None
    assert pipeline._timeline(copied, words[0]) == films[0].describe()
    assert films[0].describe() in made[2].stdout


@pytest.mark.parametrize(
    ("name", "folder"),
    [("film.mp4", "film"), ("A tale.mp4", "A_tale"), ("...mp4", "film"), ("..mp4", "film"),
     (".mp4", "mp4"), ("x.v2.mkv", "x.v2")],
)  # fmt: skip
def test_a_films_folder_is_in_the_output_folder(tmp_path: Path, name: str, folder: str) -> None:
    (tmp_path / name).write_text("film")
    assert job_folder(tmp_path / "out", tmp_path / name) == tmp_path / "out" / folder


def test_a_link_names_its_folder_unless_one_was_begun(tmp_path: Path) -> None:
    (tmp_path / "real.mp4").write_text("film")
    (tmp_path / "link.mp4").symlink_to("real.mp4")
    (tmp_path / "x.v2").mkdir()
    out = tmp_path / "out"
    folders = [job_folder(out, tmp_path / name) for name in ("real.mp4", "link.mp4", "x.v2")]
    assert folders == [out / "real", out / "link", out / "x.v2"]
    # Begun by an earlier version, under the name of the link's target.
    (out / "real" / "records" / "link").mkdir(parents=True)
    (out / "real" / "records" / "link" / "film.json").write_text("{}")
    assert job_folder(out, tmp_path / "link.mp4") == out / "real"
    (out / "link").mkdir()
    assert job_folder(out, tmp_path / "link.mp4") == out / "link"


def test_a_film_where_results_belong_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "out" / "autoencoded"
    samples = folder / "run" / "samples"
    samples.mkdir(parents=True)
    film, link = folder / "autoencoded.mp4", tmp_path / "autoencoded.mp4"
    film.write_text("film")
    link.symlink_to(film)
    hard = tmp_path / "hard.mp4"
    os.link(film, hard)
    hidden = folder / ".side_by_side.partial.mp4"
    hidden.write_text("film")
    (samples / "step-1.png").write_text("picture")
    same = r"is where autoencoded\.mp4 is to be written; give OUT"
    for path, kind, words in (
        (film, InputError, same),
        (link, InputError, same),
        (hard, InputError, same),
        (folder / "run" / ".." / "autoencoded.mp4", InputError, same),
        (hidden, InputError, r"is where side_by_side\.mp4 is to be written"),
        (samples, UsageError, "belongs to the run"),
        (folder, InputError, "is in the film, a folder of images"),
    ):
        with pytest.raises(kind, match=words):
            check_paths(job_of(path, folder))
    inside = folder / "run" / "film.mp4"
    inside.write_text("film")
    check_paths(job_of(inside, folder))  # not one of the run's own files, so it stays there


def test_a_foreign_file_is_not_replaced(tmp_path: Path) -> None:
    folder, film = tmp_path / "out" / "film", tmp_path / "film.mp4"
    folder.mkdir(parents=True)
    film.write_text("film")
    (folder / "autoencoded.mp4").write_text("precious")
    with pytest.raises(ReplaceableError, match="exists and was not made by this command; move it"):
        check_paths(job_of(film, folder))
    check_paths(replace(job_of(film, folder), overwrite=True))
    (folder / "records").mkdir()  # begun: then it is a result
    check_paths(job_of(film, folder))


@pytest.mark.parametrize("name", ["missing.mp4", "text.mp4", "empty.mp4"])
def test_what_is_no_film_is_one_line(tmp_path: Path, name: str) -> None:
    if name != "missing.mp4":
        (tmp_path / name).write_text("no film" if name == "text.mp4" else "")
    done = make_film(tmp_path / name, tmp_path / "out")
    (error,) = errors(done)
    assert done.returncode == 2 and name in error


@pytest.mark.parametrize(("level", "flag"), [(None, "--film"), ("1", "FILM")])
def test_a_missing_film_is_looked_for_where_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: str | None, flag: str
) -> None:
    monkeypatch.delenv("MAKELEVEL", raising=False)
    if level:
        monkeypatch.setenv("MAKELEVEL", level)
    film = tmp_path / "nope.mp4"
    done = make_film(film, tmp_path / "out")
    wrong = f"error: {film}: no such file or folder; check the path given to {flag}"
    assert (done.returncode, errors(done)) == (2, [wrong])


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--steps=0"], "--steps=0: give 1 or more"),
        (["--holdout=2"], "--holdout=2: give a fraction"),
        (["--holdout_seconds=2"], "give both"),
        (["--preset=huge"], "--preset=huge: choose one of preview"),
    ],
)
def test_impossible_training_is_refused_at_once(
    synthetic_film: Path, tmp_path: Path, flags: list[str], words: str
) -> None:
    done = make_film(synthetic_film, tmp_path / "out", *flags)
    (error,) = errors(done)
    assert done.returncode == 1 and words in error and done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_reassembly_is_checked_before_training(
    film_factory: Callable[..., Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    film = film_factory("film.mkv", frames=24, height=96, width=160, audio_codec="libvorbis")
    job = job_of(film, tmp_path / "film")
    check_reassembly(job)
    words = "sound in vorbis will be re-encoded as aac: .mp4 does not hold vorbis"
    assert words in capsys.readouterr().err
    usage = shutil.disk_usage(tmp_path)._replace(free=10_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(InputError, match=r"about 0\.6 GB will be written, 10 MB are free"):
        check_reassembly(job)
    assert not list(tmp_path.iterdir())


def test_a_training_that_was_stopped_ends_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It ends with exit code 0, its checkpoint written, but there is no model to use."""
    done: list[str] = []

    def run(title: str, arguments: list[str]) -> str:
        done.append(title[:3])
        return ""

    monkeypatch.setattr(pipeline, "_run", run)
    monkeypatch.setattr(pipeline, "_key", lambda job: "key")
    with pytest.raises(SystemExit) as stopped:
        pipeline.make_film(job_of(tmp_path / "film.mp4", tmp_path / "out"))
    assert stopped.value.code == 143
    assert done == ["1/4", "2/4"]
    assert "stopped before its end; the same command resumes" in capsys.readouterr().err


def test_a_step_ends_with_the_command_that_called_it(tmp_path: Path) -> None:
    """The command is killed. The step waits for a flagfile that never comes."""
    fifo = tmp_path / "flags"
    os.mkfifo(fifo)
    program = (
        "import sys; from bladerunner_ae.pipeline import _run; "
        "_run('1/1', ['tools/inspect_records.py', '--flagfile=' + sys.argv[1]])"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(fifo)], cwd=ROOT) as caller:
        until = time.monotonic() + 60
        while True:
            try:
                writer = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
                break
            except OSError:  # it has no reader yet
                assert time.monotonic() < until
                time.sleep(0.05)
        poll = select.poll()
        poll.register(writer, 0)
        assert poll.poll(200) == []
        caller.kill()
    assert poll.poll(30_000), "the step is gone"
    os.close(writer)


def test_two_signals_at_once_leave_no_step_behind(tmp_path: Path) -> None:
    """As `timeout 60 make film` does: it signals the whole group, and make its own children."""
    slow = (
        "import signal, time\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})\n"  # sigwait misses none
        f"open({str(tmp_path / 'begun')!r}, 'w').close()\n"
        "signal.sigwait({signal.SIGTERM}); time.sleep(1.5)\n"
        f"open({str(tmp_path / 'ended')!r}, 'w').close()\n"
    )
    code = (
        "from bladerunner_ae import pipeline\nfrom bladerunner_ae.command_line import signals\n"
        f"with signals.working(): pipeline._run('slow', ['-c', {slow!r}])"
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
    assert (tmp_path / "ended").exists(), "the step was still at work"


def test_the_length_is_handed_to_the_training() -> None:
    film, folder = Path("film.mp4"), Path("out/film")
    for asked in ({"steps": 3}, {"epochs": 2.5}, {"minutes": 60.0}):
        job = Job(film, folder, "preview", **asked)  # type: ignore[arg-type]
        pipeline.check_training(job)
        (name, value), *_ = asked.items()
        assert f"--{name}={value}" in job.train()
        lengths = ("--steps", "--epochs", "--minutes")
        assert sum(flag.startswith(lengths) for flag in job.train()) == 1
    with pytest.raises(UsageError, match=r"--steps=3 --minutes=60: .*give one of them"):
        pipeline.check_training(Job(film, folder, "preview", steps=3, minutes=60.0))
    job = Job(film, folder, "preview", memory=0.25)
    pipeline.check_training(job)
    assert "--memory=0.25" in job.train()
    with pytest.raises(UsageError, match=r"--memory=2: give 0 to 1"):
        pipeline.check_training(replace(job, memory=2.0))
    pipeline.check_training(replace(job, memory=1.0, preset="base"))
    with pytest.raises(UsageError, match=r"--minutes=0: give a finite number above 0"):
        pipeline.check_training(Job(film, folder, "preview", minutes=0.0))


def test_results_of_earlier_versions_keep_their_key(made: Made) -> None:
    film, folder, _ = made
    job = job_of(film, folder)
    assert not {"epochs", "minutes", "memory"} & pipeline._key(job).keys()
    assert pipeline._key(replace(job, steps=None, minutes=5.0))["minutes"] == 5.0
