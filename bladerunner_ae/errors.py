"""The errors a person can do something about, each with the exit code of its kind.

Every message is one line that names the file, says what is wrong and what would cure it.
`cli.run` prints it without a traceback.
"""

from tfrecords.system_failures import system_failure


class BladerunnerError(Exception):
    """Base of the errors whose message is meant for the person at the terminal."""

    exit_code = 2
    cured_by_overwrite = False
    """Whether --overwrite would do what was refused, or replace what is damaged."""


class UsageError(BladerunnerError):
    """The command line makes no sense: a flag is missing, unknown or contradicts another."""

    exit_code = 1


class InputError(BladerunnerError):
    """A file or folder given to the command is missing, of the wrong kind or damaged."""

    exit_code = 2


class ReplaceableError(InputError):
    """An earlier result is in the way, or damaged, and --overwrite would replace it."""

    cured_by_overwrite = True


class OutputError(BladerunnerError):
    """The output could not be written whole, or failed its own verification."""

    exit_code = 3


def system_error(error: BaseException, where: object = "") -> BladerunnerError | None:
    """Returns an error that says what the operating system refused, and the cure.

    Args:
        error: an `OSError`, or one of a library that quotes the operating system.
        where: the file or folder to name; by default the one that the error names.

    Returns:
        `InputError` if a path is no good, `OutputError` if the work broke off; None for an error
        of another kind.
    """
    failure = system_failure(error)
    if failure is None:
        return None
    kind = OutputError if failure.exit_code == OutputError.exit_code else InputError
    return kind(failure.line(where))
