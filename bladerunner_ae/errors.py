"""Errors a person can do something about, apart from those of records (`tfrecords.record_errors`).

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
    """A flag is missing, unknown or contradicts another."""

    exit_code = 1


class InputError(BladerunnerError):
    """A file or folder given to the command is missing, of the wrong kind or damaged."""


class ReplaceableError(InputError):
    """An earlier result is in the way, or damaged, and --overwrite would replace it."""

    cured_by_overwrite = True


class OutputError(BladerunnerError):
    """The output could not be written completely, or failed its own verification."""

    exit_code = 3


def system_error(error: BaseException, where: object = "") -> BladerunnerError | None:
    """Return what the operating system refused as an error that names the fix.

    Args:
        error: an `OSError`, or one of a library that quotes the operating system.
        where: file or folder to name; by default the one that the error names.

    Returns:
        `InputError` if the path cannot be used, `OutputError` if the work broke off; None for any
        other error.
    """
    failure = system_failure(error)
    if failure is None:
        return None
    kind = OutputError if failure.exit_code == OutputError.exit_code else InputError
    return kind(failure.line(where))
