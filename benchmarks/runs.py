"""Commands that benchmarks run and their cost, processes that answer, and the machine."""

import json
import os
import platform
import select
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import imageio_ffmpeg

from bladerunner_ae.errors import InputError, OutputError

ROOT = Path(__file__).resolve().parent.parent
DEMO_FILM = ROOT / ".cache/big_buck_bunny_trailer.mp4"
FILM_FRAMES = 168_480
"""Frames of a film of 117 minutes at 24 a second."""

Json = dict[str, Any]


def say(text: object) -> None:
    """Print a line of progress."""
    print(text, file=sys.stderr, flush=True)


def machine() -> Json:
    """Return the processor's name, the usable cores, and its instructions for networks."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text("utf-8", "replace").splitlines() if file.exists() else []
    facts = {
        key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)
    }
    usable = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))(0)
    flags, kinds = facts.get("flags", "").split(), ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
    return {
        "processor": facts.get("model name") or platform.processor() or platform.machine(),
        "cores": len(usable),
        "native": [kind for kind in kinds if kind in flags],
    }


def cores_of_processor() -> str:
    """Return the machine in words, "2 cores of NAME"."""
    facts = machine()
    return f"{facts['cores']} cores of {facts['processor']}"


def memory_of(process: int, kind: str = "VmRSS") -> float:
    """Return the memory of a process in MiB, 0 if it has ended; "VmHWM" is its peak."""
    try:
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith(f"{kind}:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0


@dataclass(frozen=True)
class Usage:
    """The cost of a process: seconds by the clock and of processors, and peak memory in MiB."""

    wall: float
    processor: float
    memory: float


def start(*command: object, **options: Any) -> "subprocess.Popen[bytes]":
    """Start a silent command in the project's root."""
    quiet: Json = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    return subprocess.Popen([*map(str, command)], cwd=ROOT, **{**quiet, **options})


def run(*command: object, log: IO[bytes] | None = None) -> Usage:
    """Run a command to its end; its stderr goes to `log`.

    Raises:
        OutputError: it failed.
    """
    if log is None:
        with tempfile.TemporaryFile() as log:
            return run(*command, log=log)
    began = time.perf_counter()
    process = start(*command, stderr=log)
    memory, ended = 0.0, 0
    while not ended:
        # Not `ru_maxrss`: a process inherits the peak of the one that started it.
        memory = max(memory, memory_of(process.pid, "VmHWM"))
        ended, status, used = os.wait4(process.pid, os.WNOHANG)
        time.sleep(0 if ended else 0.02)
    wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        reason = last_line(log) or f"exit code {process.returncode}"
        raise OutputError(f"{' '.join(map(str, command))}: {reason}")
    return Usage(wall, used.ru_utime + used.ru_stime, memory)


def last_line(log: IO[bytes]) -> str:
    """Return the last line of a file, or ""."""
    log.seek(0)
    return ["", *log.read().decode(errors="replace").strip().splitlines()][-1]


def conversion_command(film: Path, output: Path, height: int, width: int) -> list[object]:
    """Return the command that makes records of a film."""
    return [
        sys.executable,
        "tools/make_tfrecords.py",
        f"--film={film.absolute()}",
        f"--output_dir={output.absolute()}",
        f"--height={height}",
        f"--width={width}",
    ]


def repeat_film(film: Path, path: Path, times: int, *options: object) -> Path:
    """Write the picture of a film several times over, its packets copied."""
    if not path.exists():
        names = path.with_suffix(".txt")
        names.write_text(f"file '{film.resolve()}'\n" * times)
        run(
            imageio_ffmpeg.get_ffmpeg_exe(),
            "-v",
            "error",
            "-y",
            "-f",
            "concat",
            "-safe",
            "0",
            "-i",
            names.absolute(),
            "-map",
            "0:v",
            "-c",
            "copy",
            *options,
            path.absolute(),
        )
    return path


class WorkerError(InputError):
    """A process ended, or took too long; the message is the last line that it printed."""


class Worker:
    """A process of a benchmark, e.g. "training.ours", that answers JSON objects line by line.

    The first line is `config`; its answer is `about`. Any answer may take `limit` seconds.
    """

    def __init__(self, python: str, module: str, config: Json, limit: float) -> None:
        self._limit = limit
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  closed with the process
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [python, "-m", f"benchmarks.{module}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": os.pathsep.join(paths)},
        )
        try:
            self.about = self.ask(config)
        except WorkerError:
            self.close()
            raise

    def ask(self, question: Json) -> Any:
        """Send one object and return the answer."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        try:
            stdin.write((json.dumps(question) + "\n").encode())
            stdin.flush()
        except BrokenPipeError:
            raise WorkerError(self._last_words()) from None
        end = time.monotonic() + self._limit
        while not select.select([stdout], [], [], 1.0)[0]:
            if time.monotonic() > end:
                raise WorkerError(f"no answer in {self._limit:.0f} s")
        line = stdout.readline()
        if not line:
            raise WorkerError(self._last_words())
        return json.loads(line)

    def _last_words(self) -> str:
        self._process.wait(10)
        return last_line(self._said) or f"exit code {self._process.returncode}"

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
        self._said.close()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Pieces:
    """A JSON file of measured pieces, in which those of earlier runs stay."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self.found: Json = json.loads(self._path.read_text("utf-8")) if self._path.exists() else {}

    def keep(self, piece: str, results: Json) -> None:
        """Add to the results of a piece and write the file."""
        self.found[piece] = {**self.found.get(piece, {}), **results}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps(self.found, indent=1) + "\n", "utf-8")
