"""Our commands as a person runs them, without waiting for TensorFlow's import every time.

A server process imports TensorFlow once and forks for every command, so that each has a process of
its own: flags, signals, exit code and both output streams are the real ones.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent

_SERVER = """
import json, os, runpy, sys
from bladerunner_ae.command_line.tensorflow_import import import_tensorflow
import_tensorflow()
import tensorboard

def command(module, arguments, out, err):
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as exit:
        return exit.code or 0
    except BaseException:
        import traceback
        traceback.print_exc()
        return 99
    return 0

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        code = command(**json.loads(line))
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@dataclass(frozen=True)
class Result:
    """The exit code of a command, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line of its error message; anything else fails."""
        assert "Traceback" not in self.err, self.err
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1 and self.err.rstrip().endswith(lines[0]), self.err
        return lines[0]


class Commands:
    """A running server; see the module."""

    def __init__(self, variables: Mapping[str, str] | None = None) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-c", _SERVER],
            cwd=ROOT,
            env={**environment(), **(variables or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, module: str, *arguments: object) -> Result:
        assert self._server.stdin is not None and self._server.stdout is not None
        with tempfile.TemporaryDirectory() as folder:
            out, err = Path(folder) / "out", Path(folder) / "err"
            request = {
                "module": f"bladerunner_ae.{module}",
                "arguments": [str(argument) for argument in arguments],
                "out": str(out),
                "err": str(err),
            }
            self._server.stdin.write(json.dumps(request) + "\n")
            self._server.stdin.flush()
            code = int(self._server.stdout.readline())
            return Result(code, out.read_text("utf-8"), err.read_text("utf-8"))

    def close(self) -> None:
        self._server.communicate()


def environment() -> dict[str, str]:
    """Return the environment of a command: as ours, and quiet."""
    return {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}


def start(module: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a command in a process of its own, to be signalled; it imports TensorFlow itself."""
    return start_python("-m", f"bladerunner_ae.{module}", *arguments, env=environment())


def start_python(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Start Python in the checkout, with its output in pipes."""
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)], text=True,
        **{"cwd": ROOT, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
    )  # fmt: skip


def run_python(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run Python in the checkout to its end, at most two minutes."""
    process = start_python(*arguments, **options)
    try:
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def tool(name: str) -> str:
    return str(ROOT / "tools" / f"{name}.py")


def run_tool(name: str, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    return run_python(tool(name), *arguments, **options)


def error_of(done: subprocess.CompletedProcess[str], code: int) -> str:
    """Return the one line of an error, the last on stderr; nothing else was said of it."""
    errors = [line for line in done.stderr.splitlines() if "error" in line.lower()]
    assert done.returncode == code and "Traceback" not in done.stderr, done.stderr
    assert len(errors) == 1 and errors[0].startswith("error: "), done.stderr
    assert done.stderr.splitlines()[-1] == errors[0], done.stderr
    return errors[0]
