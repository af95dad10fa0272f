"""The ffmpeg that encodes pictures and sound, found by moviepy; films are read without it."""

import functools
import os
import subprocess

from bladerunner_ae.errors import InputError

# What decides where moviepy and imageio-ffmpeg look for it, in their order.
_VARIABLES = ("FFMPEG_BINARY", "IMAGEIO_FFMPEG_EXE")


@functools.cache
def ffmpeg_program() -> str:
    """Return the program's name or path, after running it once."""
    try:
        # Not at the top: moviepy looks for the program while it is imported.
        from moviepy.config import FFMPEG_BINARY

        subprocess.run(
            [FFMPEG_BINARY, "-version"],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
        raise InputError(_cure(error)) from error
    return str(FFMPEG_BINARY)


def _cure(error: Exception) -> str:
    for name in _VARIABLES:
        if os.environ.get(name):
            return (
                f"{name}={os.environ[name]}: does not run as ffmpeg; let it name one that does, or "
                "unset it for the one that imageio-ffmpeg brings"
            )
    if isinstance(error, RuntimeError):
        found = "no ffmpeg found"
    else:
        found = f"ffmpeg does not run ({' '.join(str(error).split())})"
    return (
        f"{found}: pip install --force-reinstall imageio-ffmpeg, or let IMAGEIO_FFMPEG_EXE name one"
    )
