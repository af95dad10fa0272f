"""Errors that a person can fix, apart from those of records (`tfrecords.record_errors`).

Every message is one line that names the file, the problem and the fix.
`command_line.app` prints it without a traceback.
"""

from tfrecords.record_errors import BladerunnerError
from tfrecords.system_failures import system_failure

__all__ = [
    "BladerunnerError",
    "InputError",
    "OutputError",
    "ReplaceableError",
    "UsageError",
    "system_error",
]


class UsageError(BladerunnerError):
    """Missing, unknown or contradictory flag."""

    exit_code = 1


class InputError(BladerunnerError):
    """Missing, damaged or unsuitable file or folder given to the command."""


class ReplaceableError(InputError):
    """Earlier result that is in the way or damaged; --overwrite would replace it."""

    cured_by_overwrite = True


class OutputError(BladerunnerError):
    """Output that could not be written completely, or failed its own verification."""

    exit_code = 3


def system_error(error: BaseException, where: object = "") -> BladerunnerError | None:
    """Return a refusal by the operating system as an error that names the fix; None for any other.

    `error` is an `OSError`, or one of a library that quotes it; `where` a file or folder to name,
    by default the error's own. `InputError` if the path cannot be used, `OutputError` if the work
    broke off.
    """
    failure = system_failure(error)
    if failure is None:
        return None
    kind = OutputError if failure.exit_code == OutputError.exit_code else InputError
    return kind(failure.line(where))
