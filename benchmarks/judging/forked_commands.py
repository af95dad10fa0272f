"""Run the project's own commands, each in a process of its own, without their long imports.

A server process imports what the commands import, once, and forks for each call; so a command's
arguments, output and exit code are those of a terminal, and a crash or a hang costs one call.
"""

import importlib
import multiprocessing
import os
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.runs import run

RECORDS, REASSEMBLE = "tools.make_tfrecords", "tools.reassemble_film"
_PRELOADED = [
    "numpy", "PIL.Image", "av", "moviepy.video.io.ffmpeg_writer", "tensorflow", RECORDS, REASSEMBLE,
    "bladerunner_ae.conversion.convert", "bladerunner_ae.reassembly",
]  # fmt: skip
CRASHED, HUNG = "crashed", "hung"
_OUT, _ERR, _CODE = "out", "err", "code"


@dataclass(frozen=True)
class Ended:
    """The exit code and output of a command; a negative code is a signal, None a hang."""

    code: int | None
    out: str
    err: str

    @property
    def error(self) -> str:
        """The text of the last "error:" line, or ""."""
        return ["", *re.findall(r"^error: (.*)$", self.err, re.M)][-1]

    @property
    def failure(self) -> str:
        """A failure that no input may cause, such as a traceback, or ""."""
        if self.code is None:
            return HUNG
        if self.code < 0:
            return f"{CRASHED} by signal {-self.code}"
        if "Traceback (most recent call last)" in self.err:
            return "traceback"
        if "error: unexpected " in self.err:
            return self.error
        if self.code and (self.code not in (1, 2, 3) or not self.error):
            return f"exit code {self.code} without an error: line"
        return ""


class Commands:
    """A server that forks a process for each command, which may take `limit_seconds`."""

    def __init__(self, limit_seconds: float = 240) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(_PRELOADED)
        self._limit = limit_seconds

    def run(self, module: str, *arguments: object, folder: Path | None = None) -> Ended:
        """Run a command, `RECORDS` or `REASSEMBLE`, in a folder."""
        with tempfile.TemporaryDirectory() as name:
            scratch = Path(name)
            process = self._context.Process(
                target=_call, args=(module, [*map(str, arguments)], scratch, folder), daemon=True
            )
            process.start()
            process.join(self._limit)
            code = process.exitcode
            if code is None:
                process.kill()
                process.join()
            process.close()
            # Threads that start processes at the same time take each other's exit codes away.
            if (scratch / _CODE).exists():
                code = int((scratch / _CODE).read_text())
            texts = [
                path.read_text("utf-8", "replace") if path.exists() else ""
                for path in (scratch / _OUT, scratch / _ERR)
            ]
        return Ended(code, *texts)


def _call(module: str, arguments: list[str], scratch: Path, folder: Path | None) -> None:
    """Run a command as if a shell had started it."""
    sys.stdin = open(os.devnull)  # noqa: SIM115 - as long as the process
    for name, descriptor in ((_OUT, 1), (_ERR, 2)):
        opened = os.open(scratch / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(opened, descriptor)
        os.close(opened)
    if folder is not None:
        os.chdir(folder)
    sys.argv = [module.replace(".", "/") + ".py", *arguments]
    try:
        importlib.import_module(module).cli()
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
        (scratch / _CODE).write_text(str(code))
        raise


def write_identity_model(folder: Path, raster: tuple[int, int] = (160, 160)) -> Path:
    """Write an autoencoder that changes nothing; return its folder.

    In a process of its own: TensorFlow and fork do not go together.
    """
    if not (folder / "1").exists():
        code = (
            "from pathlib import Path; from tests.helpers.tiny_networks import save_autoencoder; "
            f"save_autoencoder(Path({str(folder.absolute())!r}), {raster})"
        )
        run(sys.executable, "-c", code)
    return folder
