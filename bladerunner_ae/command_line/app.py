"""What every command shares: help that exits 0, one-line errors, exit codes, quiet TensorFlow.

Exit codes: 0 done, 1 wrong usage, 2 bad input, 3 output could not be written or failed its own
verification, 130 Ctrl-C, 143 SIGTERM, 141 whoever read our output has gone, as `head` does (that is
how a shell sees other programs end then). Results go to stdout, everything else to stderr.
"""

import errno
import os
import re
import select
import signal
import sys
import textwrap
import traceback
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, TextIO, cast

from absl import app, flags, logging

import bladerunner_ae
from bladerunner_ae.command_line import signals, temporary_files
from bladerunner_ae.command_line.installed import missing_package
from bladerunner_ae.command_line.quiet_import import QuietImport
from bladerunner_ae.errors import BladerunnerError
from tfrecords import storage
from tfrecords.messages import visible
from tfrecords.system_failures import is_out_of_memory, system_failure

# Errors of the operating system that say "this path is no good"; any other OSError means that
# writing or reading broke off half way.
_BAD_PATH = {
    errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EEXIST,
    errno.EROFS, errno.ENAMETOOLONG, errno.ENOTEMPTY,
}  # fmt: skip
_REPEATED = "; repeat this option to specify a list of values"
_NO_READER = 128 + signal.SIGPIPE
OVERWRITE_HINT = "BLADERUNNER_AE_OVERWRITE_HINT"
"""Environment variable: what to say behind an error that --overwrite cures, for a command that
calls this one and has another name for it."""

_LESS_MEMORY = "end other programs, or use a machine with more memory"
_less_memory = _LESS_MEMORY
# absl knows the long ones too, but leaves with exit code 1.
_HELP = {"-h", "-help", "--help", "--helpshort", "--helpfull"}


def run(main: Callable[[], int | None], less_memory: str = "") -> None:
    """Parses the command line, calls `main` and exits with its code. Never returns.

    The docstring of `main`'s module is the command's help, so it should end with examples.

    Args:
        main: reads the flags, does the work and returns an exit code or None for 0.
        less_memory: with which flags the command takes less memory, for the end of a sentence.
    """
    global _less_memory
    _less_memory = less_memory or _LESS_MEMORY

    def without_arguments(arguments: list[str]) -> int | None:
        if arguments:
            print(f"error: unexpected argument {arguments[0]!r}; flags are written --name=value, "
                  "see --help", file=sys.stderr)  # fmt: skip
            return 1
        return main()

    _start(without_arguments, main.__module__)


def run_with_arguments(main: Callable[[list[str]], int | None]) -> None:
    """Like `run`, for a command that takes arguments beside its flags.

    Args:
        main: gets the arguments that are no flags; else as for `run`.
    """
    _start(main, main.__module__)


def _start(main: Callable[[list[str]], int | None], module_name: str) -> None:
    quiet_tensorflow()
    use_onednn()
    if not isinstance(sys.stdout, VisibleText):
        sys.stdout, sys.stderr = _shown(sys.stdout), _shown(sys.stderr)
    module = sys.modules[module_name]
    arguments = sys.argv[1:]
    if _HELP.intersection(arguments):
        sys.exit(_call(lambda: print(_help_text(module, sys.argv[0]))))
    if "--version" in arguments:
        sys.exit(_call(lambda: print(version_text())))

    def guarded(argv: Sequence[str]) -> int:
        return _call(lambda: main(list(argv[1:])))

    temporary_files.use_own_folder()
    try:
        app.run(guarded, flags_parser=_parse)
    except SystemExit as leaving:
        if storage.aborts_at_exit():
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(
                leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
            )
        raise


def _parse(argv: Sequence[str]) -> list[str]:
    try:
        return flags.FLAGS(list(argv))
    except flags.Error as error:
        # absl's own runner would print the whole help text under the message.
        text = " ".join(str(error).split())
        if missing := re.match(r"flag --(\w+)=None: .* must have a value other than None", text):
            text = f"--{missing[1]} is needed"
        print(f"error: {visible(text)} (see --help)", file=sys.stderr)
        sys.exit(1)


def _call(main: Callable[[], int | None]) -> int:
    """Calls `main`; returns the exit code once all that was printed is written."""
    code = _call_main(main)
    try:
        if sys.stdout is not None:  # as in a shell's >&-
            sys.stdout.flush()  # or a failure would show only when Python ends, as a traceback
    except OSError as error:
        _drop(sys.stdout)
        if isinstance(error, BrokenPipeError):
            return code or _NO_READER
        failure = system_failure(error)
        reason = failure.line("stdout") if failure else f"stdout: {error.strerror}"
        code = code or _report(reason, 3)
    return code


def _call_main(main: Callable[[], int | None]) -> int:
    if logging.WARNING < logging.get_verbosity() < logging.DEBUG:
        logging.set_verbosity(logging.WARNING)  # TensorFlow's notes are not for the person
    try:
        with signals.working():
            return main() or 0
    except KeyboardInterrupt:
        return _say_stopped(signal.SIGINT)
    except signals.Terminated:
        return _say_stopped(signal.SIGTERM)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _no_reader():
            return _NO_READER
        if stopped := signals.signal_that_came():  # native code made another error of it
            return _say_stopped(stopped)
        code = _report(*explain(error))
        hint = os.environ.get(OVERWRITE_HINT)
        if hint and isinstance(error, BladerunnerError) and error.cured_by_overwrite:
            print(hint, file=sys.stderr)
        return code


def explain(error: Exception) -> tuple[str, int]:
    """Returns an error in one line, and the exit code that it deserves."""
    if isinstance(error, BladerunnerError):
        return str(error), error.exit_code
    if isinstance(error, ModuleNotFoundError) and (missing := missing_package(error)):
        return missing, 2
    if is_out_of_memory(error):
        return f"out of memory; {_less_memory}", 3
    if failure := system_failure(error):
        return failure.line(), failure.exit_code
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}", 2 if error.errno in _BAD_PATH else 3
    if reason := storage.failure(error):
        return f"a remote store failed ({reason}); run the same command again", 3
    # a fault of ours: still one line, the traceback on request
    what = f"unexpected {type(error).__name__}: {_first_line(error)}"
    return f"{what} (--verbosity=1 shows the traceback)", 3


def _say_stopped(number: signal.Signals) -> int:
    print(signals.LINES[number], file=sys.stderr)
    return 128 + number


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else ""


def _report(message: str, code: int) -> int:
    if logging.get_verbosity() >= logging.DEBUG:
        _show_causes(sys.exc_info()[1])
        traceback.print_exc()
    # One write, so that a signal's line cannot come between the text and its end of line.
    print(f"error: {visible(message)}\n", end="", file=sys.stderr)
    return code


def _show_causes(error: BaseException | None) -> None:
    """Has the traceback show what an error was made of, where only a person is to be spared it."""
    while error is not None:
        error.__suppress_context__ = error.__cause__ is not None
        error = error.__cause__ or error.__context__


class VisibleText:
    """A stream of text that shows the control characters in it instead of having them obeyed.

    Names of films and notes on cards come from anybody, and go to terminals. Line breaks and tabs
    pass, and so does what draws a progress bar.

    Args:
        stream: that the text goes to; answers everything else.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes text; returns its length."""
        try:
            self._stream.write(visible(text, lines=True))
        except OSError as error:
            raise OSError(error.errno, error.strerror, self._stream.name.strip("<>")) from error
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _shown(stream: TextIO) -> TextIO:
    return cast(TextIO, VisibleText(stream)) if stream is not None else stream


def _no_reader() -> bool:
    """Whether stdout or stderr leads to a program that is gone; else another pipe broke."""
    gone = False
    for stream in filter(None, (sys.stdout, sys.stderr)):
        poll = select.poll()
        poll.register(stream.fileno(), select.POLLOUT)
        if any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0)):
            _drop(stream)
            gone = True
    return gone


def _drop(stream: TextIO) -> None:
    """Lets what is still to be written to a stream vanish; Python would complain at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def quiet_tensorflow() -> None:
    """Hides the log lines of TensorFlow's native code. Must run before TensorFlow is imported."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    if os.environ["TF_CPP_MIN_LOG_LEVEL"] == "3" and "tensorflow" not in sys.modules:
        sys.meta_path.insert(0, QuietImport("tensorflow"))


def use_onednn() -> None:
    """Turns oneDNN's kernels on, which TensorFlow leaves off on processors without AVX-512 VNNI.

    There a step of `preview` takes three quarters of the processor's time with them. Must run
    before TensorFlow is imported; a value that is already set stays.
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def version_text() -> str:
    """Versions of this package and of what decides its results, one line."""
    from importlib.metadata import PackageNotFoundError, version

    found = [f"bladerunner_ae {bladerunner_ae.__version__}"]
    for name in ("tensorflow", "tensorflow-cpu", "keras", "moviepy", "av", "imageio-ffmpeg"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def _help_text(module: ModuleType, program: str) -> str:
    # Not __main__: where an installed command starts, that is the script that imports the module.
    key_flags = flags.FLAGS.get_key_flags_for_module(module)
    lines = [(module.__doc__ or "").strip(), "", f"Flags of {os.path.basename(program)}:"]
    for flag in sorted(key_flags, key=lambda flag: flag.name):
        # absl quotes every value, numbers too.
        default = (flag.default_as_str or "").strip("'")
        default = f" (default: {default})" if default else ""
        # absl adds that a flag may be repeated, behind our own full stop.
        text = " ".join(flag.help.split()).removesuffix(_REPEATED) + default
        lines += [f"  --{flag.name}", *textwrap.wrap(text, 94, initial_indent=" " * 6,
                  subsequent_indent=" " * 6, break_on_hyphens=False)]  # fmt: skip
    lines += ["", "Also: --flagfile=FILE reads flags from a file, --verbosity=1 shows tracebacks,",
              "--version.", "",
              "Exit codes: 0 done, 1 wrong usage, 2 bad input, 3 output failed, 130 Ctrl-C, "
              "143 SIGTERM."]  # fmt: skip
    return "\n".join(lines)
