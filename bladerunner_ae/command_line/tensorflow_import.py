"""Import of TensorFlow in a command: its settings, its log lines, and signals meanwhile.

TF_CPP_MIN_LOG_LEVEL does not hide all of them: TensorFlow 2.21 announces oneDNN twice before its
log is set up, on every processor where oneDNN is on.
"""

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec

from bladerunner_ae.command_line import signals
from bladerunner_ae.command_line.installed import missing_package
from bladerunner_ae.errors import InputError

# The warning announces the other lines. The errors are of CUDA's libraries, which are registered
# twice and work all the same.
_CHATTER = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog\(\) is called"
    rb"|[IW]\d{4} \d\d:\d\d:\S+ +\d+ \S+:\d+\] "
    rb"|E\d{4} \S+ +\d+ \S+:\d+\] Unable to register cu\w+ factory"
)


def set_up_tensorflow() -> None:
    """Set the environment variables of TensorFlow that are not set; must precede its import.

    oneDNN's kernels, which TensorFlow leaves off on processors without AVX-512 VNNI, take a quarter
    off a step of `preview` there.
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")


def need_tensorflow() -> None:
    """Raise InputError if TensorFlow is not installed, without the seconds of its import."""
    if find_spec("tensorflow") is None:
        raise InputError(missing_package(ModuleNotFoundError(name="tensorflow")))


def import_tensorflow() -> None:
    """Import TensorFlow and Keras, for functions that import them when they are called."""
    with slow_imports():
        import_module("keras")
        import_module("tensorflow")


@contextlib.contextmanager
def slow_imports() -> Iterator[None]:
    """Import TensorFlow, and modules that import it, inside the block.

    A signal ends the process at once, and TensorFlow's early log lines do not reach stderr unless
    TF_CPP_MIN_LOG_LEVEL asks for more.
    """
    set_up_tensorflow()
    with _without_chatter() as stderr:

        def end_process(number: int, _: object) -> None:
            signals.end_process(number, stderr)

        with signals.handled_by(end_process):
            yield


@contextlib.contextmanager
def quiet_imports() -> Iterator[None]:
    """Import TensorFlow inside the block, as `slow_imports` does, for a function of the library.

    Signals stay the business of the program that called it.
    """
    set_up_tensorflow()
    with _without_chatter():
        yield


@contextlib.contextmanager
def _without_chatter() -> Iterator[int]:
    """Hold stderr back inside the block, then write all but the chatter; yield the real one."""
    if os.environ["TF_CPP_MIN_LOG_LEVEL"] != "3" or "tensorflow" in sys.modules:
        yield 2
        return
    with contextlib.ExitStack() as stack:
        try:
            held = stack.enter_context(tempfile.TemporaryFile())
            stderr = os.dup(2)
        except OSError:  # no room for it, or no stderr
            yield 2
            return
        _flush()
        os.dup2(held.fileno(), 2)
        try:
            yield stderr
        finally:
            _flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            kept = (line for line in held if not _CHATTER.match(line))
            with contextlib.suppress(OSError):
                os.write(2, b"".join(kept))


def _flush() -> None:
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
