"""The error of a records folder that cannot be used."""


class RecordsError(Exception):
    """A records folder is missing, incomplete or damaged; the message names file and record."""

    exit_code = 2
