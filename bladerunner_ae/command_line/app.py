"""Frame of every command: flags, help, one-line errors, exit codes.

Exit codes: 0 done, 1 wrong usage, 2 bad input, 3 output could not be written or failed its own
verification, 130 Ctrl-C, 143 SIGTERM, 141 the reader of our output has gone, as `head` does (the
code of SIGPIPE). Results go to stdout, everything else to stderr.
"""

import errno
import os
import re
import select
import signal
import sys
import textwrap
import traceback
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, TextIO, cast

from absl import app, flags, logging

import bladerunner_ae
from bladerunner_ae.command_line import signals, temporary_files
from bladerunner_ae.command_line.arguments import check_places
from bladerunner_ae.command_line.installed import missing_package
from bladerunner_ae.command_line.tensorflow_import import set_up_tensorflow
from bladerunner_ae.errors import BladerunnerError, UsageError
from tfrecords import storage
from tfrecords.system_failures import is_out_of_memory, system_failure
from tfrecords.wording import first_line, visible

# Errors of the operating system about the path given; any other OSError interrupted the work.
_BAD_PATH = {
    errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EEXIST,
    errno.EROFS, errno.ENAMETOOLONG, errno.ENOTEMPTY,
}  # fmt: skip
# absl adds this to the help of flags that may be given several times.
_REPEATED = "; repeat this option to specify a list of values"
_NO_READER = 128 + signal.SIGPIPE
OVERWRITE_HINT = "BLADERUNNER_AE_OVERWRITE_HINT"
"""Environment variable: a line to print after an error that --overwrite would fix, for a calling
command whose own flag has another name."""

_LESS_MEMORY = "end other programs, or use a machine with more memory"
_less_memory = _LESS_MEMORY
_HELP_END = (
    "",
    "Also: --flagfile=FILE reads flags from a file, --verbosity=1 shows tracebacks, --version.",
    "",
    "Exit codes: 0 done, 1 wrong usage, 2 bad input, 3 output failed, 130 Ctrl-C, 143 SIGTERM.",
    "Training that SIGTERM stops writes a checkpoint and ends with 0.",
)
# absl knows the long ones too, but leaves with exit code 1.
_HELP = {"-h", "-help", "--help", "--helpshort", "--helpfull"}


def run(
    main: Callable[[], int | None],
    less_memory: str = "",
    define_flags: Callable[[], Mapping[str, Sequence[str]]] | None = None,
) -> None:
    """Parse the command line, call `main` and exit with its code, 0 for None. Never returns.

    The docstring of main's module is the command's help, so it should end with examples.
    `less_memory` is a clause that names the flags with which the command takes less memory;
    `define_flags` defines flags that need slow imports, and returns the groups that --help lists.
    """
    global _less_memory
    _less_memory = less_memory or _LESS_MEMORY

    def without_arguments(arguments: list[str]) -> int | None:
        if arguments:
            problem = f"unexpected argument {arguments[0]!r}; flags are written --name=value"
            print(f"error: {problem}, see --help", file=sys.stderr)
            return 1
        return main()

    _start(without_arguments, main.__module__, define_flags)


def run_with_arguments(main: Callable[[list[str]], int | None]) -> None:
    """Like `run`, for a command whose `main` takes the arguments that are no flags."""
    _start(main, main.__module__)


def _start(
    main: Callable[[list[str]], int | None],
    module_name: str,
    define_flags: Callable[[], Mapping[str, Sequence[str]]] | None = None,
) -> None:
    set_up_tensorflow()
    if not isinstance(sys.stdout, VisibleText):
        sys.stdout, sys.stderr = _shown(sys.stdout), _shown(sys.stderr)
    module = sys.modules[module_name]
    groups: dict[str, Sequence[str]] = {}
    if define_flags and (code := _call(lambda: groups.update(define_flags()))):
        sys.exit(code)
    arguments = sys.argv[1:]
    if _HELP.intersection(arguments):
        sys.exit(_call(lambda: print(_help_text(module, sys.argv[0], groups))))
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
        arguments = flags.FLAGS(list(argv))
        check_places(flags.FLAGS, arguments[1:])
        return arguments
    except UsageError as error:
        print(f"error: {visible(str(error))} (see --help)", file=sys.stderr)
        sys.exit(1)
    except (flags.Error, UnicodeDecodeError) as error:
        # absl's own runner would print the whole help text under the message.
        text = " ".join(str(error).split())
        if isinstance(error, UnicodeDecodeError):
            text = "--flagfile: holds bytes that are no text; give a file of flags, one a line"
        elif isinstance(error, flags.CantOpenFlagFileError):
            text = _unreadable_flagfile(error)
        elif missing := re.match(r"flag --(\w+)=None: .* must have a value other than None", text):
            text = f"--{missing[1]} is needed"
        print(f"error: {visible(text)} (see --help)", file=sys.stderr)
        sys.exit(1)


def _unreadable_flagfile(error: flags.CantOpenFlagFileError) -> str:
    """Return what absl says with the words of Python's error, and a prefix of its own."""
    cause = error.__cause__ or error.__context__
    if not isinstance(cause, OSError):
        return str(error)
    reason = {errno.ENOENT: "no such file", errno.EISDIR: "is a folder, not a file"}
    problem = reason.get(cause.errno or 0, cause.strerror)
    return f"--flagfile={cause.filename}: {problem}; check the name"


def _call(main: Callable[[], int | None]) -> int:
    """Call `main`; return the exit code once all output is written."""
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
        logging.set_verbosity(logging.WARNING)  # TensorFlow logs through absl, too
    try:
        with signals.working():
            return main() or 0
    except signals.Interrupted:
        return 128 + signal.SIGINT
    except KeyboardInterrupt:
        return _say_stopped(signal.SIGINT)
    except signals.Terminated:
        return _say_stopped(signal.SIGTERM)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _no_reader():
            return _NO_READER
        if stopped := signals.received():  # native code turned it into another error
            return _say_stopped(stopped)
        code = _report(*explain(error))
        hint = os.environ.get(OVERWRITE_HINT)
        if hint and isinstance(error, BladerunnerError) and error.cured_by_overwrite:
            print(hint, file=sys.stderr)
        return code


def explain(error: Exception) -> tuple[str, int]:
    """Return an error in one line, and its exit code."""
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
    what = f"unexpected {type(error).__name__}: {first_line(error, 300)}"
    return f"{what} (--verbosity=1 shows the traceback)", 3


def _say_stopped(number: signal.Signals) -> int:
    print(signals.LINES[number], file=sys.stderr)
    return 128 + number


def _report(message: str, code: int) -> int:
    if logging.get_verbosity() >= logging.DEBUG:
        _show_causes(sys.exc_info()[1])
        traceback.print_exc()
    # One write, so that a signal's line cannot come between the text and its end of line.
    print(f"error: {visible(message)}\n", end="", file=sys.stderr)
    return code


def _show_causes(error: BaseException | None) -> None:
    """Have the traceback show the errors that others were raised from, also `from None`."""
    while error is not None:
        error.__suppress_context__ = error.__cause__ is not None
        error = error.__cause__ or error.__context__


class VisibleText:
    """Text stream that writes control characters visibly, so that a terminal does not obey them.

    Names of films and notes on cards are foreign text. Line breaks, tabs and the carriage return of
    a progress bar pass.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
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
    """Whether the reader of stdout or stderr is gone; otherwise another pipe broke."""
    gone = False
    for stream in filter(None, (sys.stdout, sys.stderr)):
        poll = select.poll()
        poll.register(stream.fileno(), select.POLLOUT)
        if any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0)):
            _drop(stream)
            gone = True
    return gone


def _drop(stream: TextIO) -> None:
    """Discard what a stream still holds; Python would fail to write it at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def version_text() -> str:
    """Return the versions of this package and of the libraries that decide its results."""
    from importlib.metadata import PackageNotFoundError, version  # takes a tenth of a second

    found = [f"bladerunner_ae {bladerunner_ae.__version__}"]
    for name in ("tensorflow", "tensorflow-cpu", "keras", "moviepy", "av", "imageio-ffmpeg"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def _help_text(module: ModuleType, program: str, groups: Mapping[str, Sequence[str]]) -> str:
    if not groups:
        key_flags = flags.FLAGS.get_key_flags_for_module(module)
        groups = {"": sorted(flag.name for flag in key_flags)}
    lines = [(module.__doc__ or "").strip(), "", f"Flags of {os.path.basename(program)}:"]
    heading = ""
    for group, name in ((group, name) for group, names in groups.items() for name in names):
        if group != heading:
            lines += ["", f"{group}:"]
            heading = group
        flag = flags.FLAGS[name]
        # absl quotes every value, numbers too.
        default = (flag.default_as_str or "").strip("'")
        default = f" (default: {default})" if default else ""
        text = " ".join(flag.help.split()).removesuffix(_REPEATED) + default
        wrapped = textwrap.wrap(text, 88, break_on_hyphens=False)
        lines += [f"  --{flag.name}", *(f"      {line}" for line in wrapped)]
    return "\n".join([*lines, *_HELP_END])
