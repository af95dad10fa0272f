"""The errors a person can do something about, each with the exit code of its kind.

Every message is one line that names the file, says what is wrong and what would cure it.
`cli.run` prints it without a traceback.
"""


class BladerunnerError(Exception):
    """Base of the errors whose message is meant for the person at the terminal."""

    exit_code = 2


class UsageError(BladerunnerError):
    """The command line makes no sense: a flag is missing, unknown or contradicts another."""

    exit_code = 1


class InputError(BladerunnerError):
    """A file or folder given to the command is missing, of the wrong kind or damaged."""

    exit_code = 2


class OutputError(BladerunnerError):
    """The output could not be written whole, or failed its own verification."""

    exit_code = 3
