"""Keeps what TensorFlow's native code says while it is imported off the terminal.

TF_CPP_MIN_LOG_LEVEL does not reach it: the lines are written before that log is set up (seen with
tensorflow 2.21: oneDNN's notice, twice, on any processor where oneDNN is on). So stderr leads to a
temporary file during that one import, and all but those lines follow when it is over.
"""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from bladerunner_ae.command_line import signals

# The first announces the others. The errors are of CUDA's libraries, which are loaded twice and
# work all the same.
_CHATTER = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog\(\) is called"
    rb"|[IW]\d{4} \d\d:\d\d:\S+ +\d+ \S+:\d+\] "
    rb"|E\d{4} \S+ +\d+ \S+:\d+\] Unable to register cu\w+ factory"
)


class QuietImport(importlib.abc.MetaPathFinder):
    """Stands in front of Python's own finders until a certain module is imported.

    Args:
        name: the module, such as "tensorflow".
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Returns where the module is, with a loader that filters; None for other modules."""
        if fullname != self._name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            loader: Any = spec.loader
            execute = loader.exec_module

            def execute_quietly(module: ModuleType) -> None:
                del loader.exec_module  # the loader is as it was
                with without_chatter():
                    execute(module)

            loader.exec_module = execute_quietly
        return spec


@contextlib.contextmanager
def without_chatter() -> Iterator[None]:
    """Holds stderr back until the block ends and leaves TensorFlow's early log lines out of it."""
    with contextlib.ExitStack() as stack:
        try:
            held = stack.enter_context(tempfile.TemporaryFile())
            stderr = os.dup(2)
        except OSError:  # no room for it, or no stderr: then all of it
            yield
            return
        _flush()
        os.dup2(held.fileno(), 2)
        signals.stderr = stderr  # what a signal has to say may not wait, nor get lost
        try:
            yield
        finally:
            _flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            signals.stderr = 2
            held.seek(0)
            kept = (line for line in held if not _CHATTER.match(line))
            with contextlib.suppress(OSError):
                os.write(2, b"".join(kept))


def _flush() -> None:
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
