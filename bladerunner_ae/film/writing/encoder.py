"""Encoding of a film's pictures: raw frames go into ffmpeg, H.264 without sound comes out.

moviepy's writer carries the frames. Corrected here: its two-decimal frame rate (a filter numbers
the frames instead), its untagged colours (they are converted to BT.709 and tagged), and that it
ignores ffmpeg's exit status. `film.writing.mux` adds true timestamps and sound.
"""

import contextlib
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bladerunner_ae.errors import OutputError
from bladerunner_ae.film.writing.ffmpeg import ffmpeg_program
from bladerunner_ae.film.writing.layout import Layout
from bladerunner_ae.geometry import Size
from tfrecords.system_failures import system_failure_in

# The names that ffmpeg knows x264's presets by, fastest first.
PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower",
           "veryslow")  # fmt: skip

# Superfast leaves out the one thing that makes files small. With it, and a short look ahead, a
# dream in 1280x720 takes 55 % of veryfast's time for the same size and quality (PSNR 50 dB).
_TUNING = {"superfast": ("-x264-params", "mbtree=1:rc-lookahead=10")}

# swscale takes short cuts with colour unless told not to.
_EXACT = "accurate_rnd+full_chroma_int+full_chroma_inp"
_TO_FILM = f"in_range=pc:out_color_matrix=bt709:out_range=tv:flags=bicubic+{_EXACT}"
_TAGS = "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv"


@dataclass(frozen=True)
class Encoding:
    """Settings of x264; `crf` is 0 (lossless) to 51, and 18 looks like the original."""

    crf: int = 18
    preset: str = "superfast"


@contextlib.contextmanager
def _block_sigint() -> Iterator[None]:
    """Block SIGINT in children started inside, which inherit the mask.

    A terminal interrupts the whole group, and an ffmpeg that ended first would look like a failure
    of the encoder.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class PictureWriter:
    """Encoder of a film's pictures into a file without sound, at a nominal constant rate.

    A context manager: leaving with an exception stops ffmpeg at once, leaving without one waits
    until the file is complete.

    Args:
        path: the .mp4 file to write; replaced if it exists.
        size: (height, width) of the pictures that `write` gets.
        filters: ffmpeg's filters from such a picture to that of the film, e.g. `dream_filters`.
        rate: frames per second; frame n gets the time n / rate.
        name: the film that is made, for messages; default: `path`.

    Raises:
        InputError: there is no ffmpeg that runs.
        OutputError: while writing or at the end: ffmpeg failed; the message holds its words.
    """

    def __init__(
        self,
        path: Path,
        size: Size,
        filters: str,
        rate: Fraction,
        encoding: Encoding,
        name: Path | None = None,
    ) -> None:
        ffmpeg_program()  # or moviepy cannot be imported
        from moviepy.video.io.ffmpeg_writer import FFMPEG_VideoWriter

        self._name, self._size = name or path, size
        self._log = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - see close
        clock = f"settb={rate.denominator}/{rate.numerator},setpts=N"
        with _block_sigint():
            self._ffmpeg = FFMPEG_VideoWriter(
                # Absolute: ffmpeg takes what is before a colon for a protocol.
                str(path.absolute()),
                (size[1], size[0]),
                float(rate),
                preset=encoding.preset,
                logfile=self._log,
                ffmpeg_params=[
                    *("-loglevel", "error", "-nostats", "-crf", str(encoding.crf)),
                    *_TUNING.get(encoding.preset, ()),
                    *("-vf", f"{filters},{_TAGS},{clock}", "-r", f"{rate}"),
                    *("-video_track_timescale", str(_timescale(rate))),
                ],
            )
        self._process = self._ffmpeg.proc

    def write(self, picture: NDArray[np.uint8]) -> None:
        """Encode one picture, uint8 [height, width, 3], RGB 0..255."""
        if picture.shape != (*self._size, 3) or picture.dtype != np.uint8:
            raise ValueError(f"picture is {picture.dtype} {picture.shape}, not {self._size}")
        try:
            self._ffmpeg.write_frame(picture)
        except OSError as error:
            raise self._failure(self._process.wait()) from error

    def finish(self) -> None:
        """Wait until the file is complete."""
        # A pipe that breaks only now shows in the exit status.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        status = self._process.wait()
        failure = self._failure(status) if status else None
        self.abort()
        if failure:
            raise failure

    def abort(self) -> None:
        """Kill ffmpeg and release resources. Idempotent."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        with contextlib.suppress(OSError, ValueError):  # unsent data, or closed before
            self._ffmpeg.close()
        self._log.close()

    def __enter__(self) -> "PictureWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.finish()
        else:
            self.abort()

    def _failure(self, status: int) -> OutputError:
        self._log.seek(0)
        return OutputError(f"{self._name}: {explain_ffmpeg(status, self._log.read())}")


def nominal_rate(frame_rate: Fraction) -> Fraction:
    """The rate to encode at: the film's, unless moviepy or x264 could not express it.

    Slide shows have a frame a minute, some phones claim 90,000 frames a second. The true times are
    put in later.
    """
    return frame_rate if 1 <= frame_rate <= 1000 else Fraction(24)


def dream_filters(layout: Layout) -> str:
    """Filters from the network's picture to that of the film."""
    source, place, (height, width) = layout.source, layout.place, layout.output
    filters = []
    if source.size != layout.raster:
        filters.append(f"crop={source.width}:{source.height}:{source.left}:{source.top}")
    # One step to 4:2:0: enlarging in RGB first would cost three times as much.
    filters += [f"scale={place.width}:{place.height}:{_TO_FILM}", "format=yuv420p"]
    if place.size != layout.output:
        filters.append(f"pad={width}:{height}:{place.left}:{place.top}:color=black")
    aspect = layout.sample_aspect
    filters.append(f"setsar={aspect.numerator}/{aspect.denominator}")
    return ",".join(filters)


def side_by_side_size(layout: Layout) -> Size:
    height, width = layout.output
    return height + layout.raster[0], max(width, layout.raster[1])


def side_by_side_picture(
    layout: Layout, original: NDArray[np.uint8], dream: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Pack two pictures into one for ffmpeg, the network's picture, small, below the other.

    ffmpeg's standard input takes only one picture at a time; enlarging the dream here would double
    what goes through the pipe. `original` has the size of a panel (`layout.output`), `dream` that
    of the raster.
    """
    packed = np.zeros((*side_by_side_size(layout), 3), np.uint8)
    packed[: original.shape[0], : original.shape[1]] = original
    packed[original.shape[0] :, : dream.shape[1]] = dream
    return packed


def side_by_side_filters(layout: Layout) -> str:
    """Filters from a packed picture to the original on the left and the dream on the right."""
    (height, width), raster = layout.output, layout.raster
    return (
        "split[above][below];"
        f"[above]crop={width}:{height}:0:0,scale={_TO_FILM},format=yuv420p,setsar=1[original];"
        f"[below]crop={raster[1]}:{raster[0]}:0:{height},{dream_filters(layout)}[dream];"
        "[original][dream]hstack"
    )


def explain_ffmpeg(status: int, words: str) -> str:
    """One line with ffmpeg's reason for failing; a negative status is the signal that ended it."""
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    failure = system_failure_in(" ".join(lines))
    if failure is not None:
        return f"{failure.reason}; {failure.cure}"
    if status == -signal.SIGKILL:
        return (
            "ffmpeg was stopped by SIGKILL, as systems do where memory runs out; run the same "
            "command again, or with a smaller --max_height"
        )
    if status < 0:
        return f"ffmpeg was stopped by {signal.Signals(-status).name}; run the same command again"
    # The first words name the cause, the last only what came of it.
    reason = lines[0].split("] ", 1)[-1] if lines else "it does not say why"
    return f"ffmpeg failed with status {status}: {reason[:300]}"


def _timescale(rate: Fraction) -> int:
    """Units per second in which the time of every frame is a whole number, at least 1,000."""
    return rate.numerator * -(-1000 // rate.numerator)
