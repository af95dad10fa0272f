"""The command with Beam's runners on this machine: the same records, byte for byte."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.helpers.s3_server import BUCKET, S3Server, Stalled

ROOT = Path(__file__).resolve().parent.parent.parent
FilmFactory = Callable[..., Path]

pytestmark = [
    pytest.mark.beam,
    pytest.mark.skipif(find_spec("apache_beam") is None, reason="needs make beam_test"),
]

SMALL = ("--height=72", "--width=128", "--num_shards=6", "--crop_bars=none")
RUNNERS = {
    "default": "",
    "DirectRunner": "--runner=DirectRunner",
    "processes": "--direct_running_mode=multi_processing --direct_num_workers=2",
    # The protocol by which Flink and Spark are spoken to, and workers that answer by it.
    "portable": "--runner=PortableRunner --job_endpoint=embed --environment_type=LOOPBACK",
}


def command(*arguments: object) -> list[str]:
    return [sys.executable, str(ROOT / "tools" / "make_tfrecords.py"), *map(str, arguments)]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=200)


def contents(data: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too."""
    return {
        path.relative_to(data).as_posix(): path.read_bytes()
        for path in data.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def films(film_factory: FilmFactory) -> list[Path]:
    """H.264 with B-frames, HEVC of open groups, and a film that is read in a single pass."""
    size = {"frames": 120, "height": 96, "width": 160}
    hevc = "keyint=24:min-keyint=24:open-gop=1:bframes=3:log-level=none"
    return [
        film_factory("h264.mp4", **size, extra_ffmpeg_args=("-g", "24", "-bf", "3")),
        film_factory("hevc.mkv", **size, codec="libx265", extra_ffmpeg_args=("-x265-params", hevc)),
        film_factory("single.avi", **size, codec="mpeg4"),
    ]


@pytest.fixture(scope="module")
def local(films: list[Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The records that the command makes without Beam."""
    data = tmp_path_factory.mktemp("local")
    done = run(*(f"--film={film}" for film in films), f"--output_dir={data}", *SMALL)
    assert done.returncode == 0, done.stderr
    assert "note: single.avi: read in a single pass" in done.stderr
    found = contents(data)
    assert len(found) == 3 * (6 + 1)
    return found


@pytest.mark.parametrize("runner", RUNNERS)
def test_the_same_records(
    films: list[Path], local: dict[str, bytes], tmp_path: Path, runner: str
) -> None:
    data, nonsense = tmp_path / "data", tmp_path / "nonsense.mp4"
    nonsense.write_bytes(b"no film")
    arguments = (
        *(f"--film={film}" for film in (films[0], nonsense, *films[1:])), f"--output_dir={data}",
        *SMALL, "--runner=beam", f"--beam_options={RUNNERS[runner]}",
    )  # fmt: skip
    done = run(*arguments)
    assert done.returncode == 2, done.stderr
    assert contents(data) == local
    assert done.stdout.startswith(f"{data}/h264: 120 frames 72x128, 24 fps")
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and f"{nonsense}: is not a film" in errors[0]
    assert "note: single.avi: read in a single pass" in done.stderr
    assert len(list(data.glob(".beam-*"))) == 0

    again = run(*arguments)
    assert again.returncode == 2
    assert [line.endswith("; up to date") for line in again.stdout.splitlines()] == [True] * 3


@pytest.mark.parametrize("runner", ["DirectRunner", "processes"])
def test_the_same_records_in_a_bucket(
    films: list[Path], local: dict[str, bytes], s3: S3Server, tmp_path: Path, runner: str
) -> None:
    nonsense = tmp_path / "nonsense.mp4"
    nonsense.write_bytes(b"no film")
    arguments = (
        *(f"--film={film}" for film in (films[0], nonsense, *films[1:])),
        f"--output_dir=s3://{BUCKET}/{runner}", *SMALL, "--runner=beam",
        f"--beam_options={RUNNERS[runner]}",
    )  # fmt: skip
    tool = ROOT / "tools" / "make_tfrecords.py"
    done = s3.run(tool, *arguments)
    assert done.code == 2, done.err
    assert s3.objects(f"{runner}/") == local
    assert done.out.startswith(f"s3://{BUCKET}/{runner}/h264: 120 frames 72x128, 24 fps")
    assert f"{nonsense}: is not a film" in done.error
    for film in ("h264", "hevc", "single"):
        written = s3.written(f"{runner}/{film}/")
        assert written[-1] == "film.json" and written.count("film.json") == 1
        assert sum(name.endswith(".tfrecord") for name in written) == 6, "each is sent once"
    again = s3.run(tool, *arguments)
    assert [line.endswith("; up to date") for line in again.out.splitlines()] == [True] * 3


def test_a_bucket_that_is_missing_is_one_line(films: list[Path], s3: S3Server) -> None:
    done = s3.run(
        ROOT / "tools" / "make_tfrecords.py", f"--film={films[0]}", "--output_dir=s3://nowhere/a",
        "--runner=beam",
    )  # fmt: skip
    assert done.code == 2 and "there is no bucket 'nowhere'" in done.error


def test_a_worker_killed_while_it_sends_is_made_up_for(
    films: list[Path], local: dict[str, bytes], s3: S3Server
) -> None:
    arguments = (
        ROOT / "tools" / "make_tfrecords.py", f"--film={films[0]}",
        f"--output_dir=s3://{BUCKET}/killed", *SMALL, "--runner=beam",
    )  # fmt: skip
    door = Stalled(s3, writes=11)  # in the middle of the shards and their states
    process = s3.start(*arguments, AWS_ENDPOINT_URL=door.endpoint)
    assert door.closed.wait(100), process.communicate()
    process.kill()
    process.communicate()
    door.close()
    there = s3.objects("killed/")
    assert "h264/film.json" not in there and "h264/upload.json" in there
    kept = [name for name in there if name.startswith(".h264.apart/part-")]
    before = len(s3.written("killed/h264/"))
    assert 1 <= len(kept) < 6
    done = s3.run(*arguments)
    assert done.code == 0, done.err
    written = s3.written("killed/h264/")[before:]
    assert sum(name.endswith(".tfrecord") for name in written) == 6 - len(kept)
    there = {
        name: data for name, data in s3.objects("killed/").items() if not name.startswith(".beam-")
    }
    assert there == {name: data for name, data in local.items() if name.startswith("h264/")}


def worker_of(session: int) -> int:
    """A process of a session in which Beam's worker runs."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            pid = int(folder.name)
            # Its shell has the same as a part of one word.
            if b"apache_beam.runners.worker.sdk_worker_main" in words and os.getsid(pid) == session:
                return pid
    raise AssertionError("no worker runs")


@pytest.mark.parametrize("runner", ["default", "processes"])
def test_killed_it_goes_on(film_factory: FilmFactory, tmp_path: Path, runner: str) -> None:
    film = film_factory("long.mp4", frames=144, extra_ffmpeg_args=("-g", "24", "-bf", "3"))
    slow = ("--height=270", "--width=480", "--format=png", "--num_shards=8", "--crop_bars=none")
    data = tmp_path / "data"
    arguments = (f"--film={film}", f"--output_dir={data}", *slow, "--runner=beam",
                 f"--beam_options={RUNNERS[runner]}")  # fmt: skip
    parts = data / ".long.apart"
    process = subprocess.Popen(
        command(*arguments), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 100
    while len(list(parts.glob("part-0000?.json"))) < 2:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    if runner == "processes":  # Beam gives up here; on a cluster another worker would take over
        os.kill(worker_of(process.pid), signal.SIGKILL)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 2
        assert "error: --runner=beam: Beam did not finish" in said.splitlines()[-1]
    else:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    assert not (data / "long").exists()
    kept = {path.stat().st_ino for path in parts.glob("part-0000?")
            if path.with_name(f"{path.name}.json").exists()}  # fmt: skip
    assert 2 <= len(kept) < 8
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    # The same files under their final names: they were not made again.
    assert kept <= {path.stat().st_ino for path in (data / "long").glob("frames-*")}
    assert run(f"--film={film}", f"--output_dir={tmp_path / 'local'}", *slow).returncode == 0
    assert contents(data / "long") == contents(tmp_path / "local" / "long")
    assert not parts.exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--direct_running_modes=x", "Beam has no option --direct_running_modes"),
        ("--runner=FlinkRuner", "Unexpected pipeline runner: FlinkRuner"),
        ("--direct_num_workers=many", "--direct_num_workers=many: cannot be read"),
    ],
)
def test_options_that_beam_does_not_know(
    films: list[Path], tmp_path: Path, options: str, words: str
) -> None:
    done = run(f"--film={films[0]}", f"--output_dir={tmp_path / 'data'}", "--runner=beam",
               f"--beam_options={options}")  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: --beam_options")
    assert words in done.stderr.splitlines()[-1]
    assert not (tmp_path / "data").exists()
