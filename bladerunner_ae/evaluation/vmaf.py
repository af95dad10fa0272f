"""VMAF by the ffmpeg of imageio-ffmpeg, with frames piped into it.

VMAF (Li et al. 2016, Netflix; model vmaf_v0.6.1, built into libvmaf) predicts from measures of
detail and motion how people rate films on a television. One pipe carries the film's frame above
the dream's: with two, each side could wait for the other.
"""

import contextlib
import functools
import os
import subprocess
import tempfile
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from bladerunner_ae.errors import OutputError
from bladerunner_ae.geometry import Size

MODEL = "vmaf_v0.6.1"

ROWS = 288
"""Height to which film and dream are both scaled, by ffmpeg's bicubic filter: the model was made
for larger pictures than ours, and its numbers depend on the size."""

_LOG = "vmaf.csv"
_COLUMN = "vmaf"
_SCALING = "flags=bicubic+accurate_rnd+full_chroma_int:out_color_matrix=bt709:out_range=tv"


@functools.cache
def missing_vmaf() -> str:
    """Return the reason why VMAF cannot be measured here, for people; empty if it can."""
    try:
        executable = imageio_ffmpeg.get_ffmpeg_exe()
        listing = subprocess.run(
            [executable, "-hide_banner", "-filters"], capture_output=True, text=True, check=True
        )
    except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
        return f"no VMAF: ffmpeg does not run ({error})"
    if " libvmaf " not in listing.stdout:
        return f"no VMAF: {executable} was built without libvmaf"
    return ""


class VmafMeter:
    """Comparison of frames in the film's order; leaves no process running as a context manager."""

    def __init__(self, raster: Size) -> None:
        self._raster, self._frames = raster, 0
        self._folder = tempfile.TemporaryDirectory(prefix="vmaf-")
        self._words = (Path(self._folder.name) / "stderr").open("w+", errors="replace")
        self._process = subprocess.Popen(
            [imageio_ffmpeg.get_ffmpeg_exe(), *_arguments(raster)],
            cwd=self._folder.name,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._words,
            start_new_session=True,  # Ctrl-C is for this process, which ends it
        )

    def write(self, originals: NDArray[np.uint8], outputs: NDArray[np.uint8]) -> None:
        """Compare more frames, uint8 [n, height, width, 3] each; OutputError if ffmpeg failed."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(np.concatenate([originals, outputs], axis=1).tobytes())
        except OSError as error:
            self._process.wait()
            raise self._failure() from error
        self._frames += len(originals)

    def finish(self) -> NDArray[np.float32]:
        """Return the VMAF of each frame, float32 [frames], 0..100; NaN where it is undefined.

        OutputError if ffmpeg failed, or measured another number of frames than it was given.
        """
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        if self._process.wait():
            raise self._failure()
        if not self._frames:
            return np.empty(0, np.float32)
        try:
            lines = (Path(self._folder.name) / _LOG).read_text("utf-8").splitlines()
            column = lines[0].split(",").index(_COLUMN)
            values = np.array([line.split(",")[column] for line in lines[1:]], np.float32)
        except (OSError, ValueError, IndexError) as error:
            raise self._failure() from error
        if len(values) != self._frames:
            raise OutputError(
                f"libvmaf measured {len(values)} frames of {self._frames}; skip VMAF with "
                "--vmaf=off"
            )
        return values

    def _failure(self) -> OutputError:
        self._words.seek(0)
        last = (self._words.read().strip().splitlines() or ["no message"])[-1]
        return OutputError(f"ffmpeg could not measure VMAF ({last}); skip it with --vmaf=off")

    def __enter__(self) -> "VmafMeter":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._words.close()
        self._folder.cleanup()


def _arguments(raster: Size) -> list[str]:
    height, width = raster
    columns = max(2 * round(width * ROWS / height / 2), 16)
    scaling = f"scale={columns}:{ROWS}:{_SCALING},format=yuv420p"
    model = f"model=version={MODEL}:n_threads={os.cpu_count() or 1}:log_fmt=csv:log_path={_LOG}"
    graph = (
        f"split[above][below];[above]crop={width}:{height}:0:0,{scaling}[film];"
        f"[below]crop={width}:{height}:0:{height},{scaling}[dream];[dream][film]libvmaf={model}"
    )
    return [
        *("-hide_banner", "-loglevel", "error", "-f", "rawvideo", "-pixel_format", "rgb24"),
        *("-video_size", f"{width}x{2 * height}", "-framerate", "24", "-i", "pipe:0"),
        *("-lavfi", graph, "-f", "null", "-"),
    ]
