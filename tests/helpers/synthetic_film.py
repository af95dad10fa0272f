"""Films made of numbers, so that a test can say which frame it is looking at, and when.

Every frame carries a panel (`number_panel`) with its number, which flashes on some frames; on those
the sound beeps from their very start. Panel and beeps survive scaling, JPEG, x264 and AAC. Behind
the panel coloured discs move, cut hard to another scene every `SHOT_FRAMES` frames, and fade to
black at the end of the film and of every fifth shot.
"""

import math
import subprocess
import tempfile
import wave
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np

from tests.helpers.number_panel import Picture, draw_panel, is_flash, read_number
from tests.helpers.synthetic_scene import draw_disc, make_scene

__all__ = [
    "FADE_FRAMES",
    "SAMPLE_RATE",
    "SHOT_FRAMES",
    "beep_times",
    "film_pictures",
    "flash_frames",
    "flash_times",
    "frame_times",
    "is_flash",
    "make_film",
    "read_film",
    "read_number",
    "shot_starts",
]

SHOT_FRAMES = 40
"""A hard cut comes every so many frames."""

FADE_FRAMES = 6
"""How many frames a fade to black takes; the last of them is black but for the panel."""

SAMPLE_RATE = 48_000


def shot_starts(frames: int) -> list[int]:
    """Return the first frame of each shot."""
    return list(range(0, frames, SHOT_FRAMES))


def flash_frames(frames: int, flash_every: int | None) -> list[int]:
    """Return the frames that flash and beep: every `flash_every`th, from its half on."""
    return list(range(flash_every // 2, frames, flash_every)) if flash_every else []


def frame_times(
    frames: int,
    rate: Fraction = Fraction(24),
    variable_rate: bool = False,
    start_offset: float = 0,
) -> list[Fraction]:
    """Return the presentation time of each frame in seconds, exactly.

    With `variable_rate` every third frame lasts twice as long as the others.
    """
    offset = Fraction(start_offset).limit_denominator(1000)
    ticks = ((n + n // 3) if variable_rate else n for n in range(frames))
    return [tick / Fraction(rate) + offset for tick in ticks]


def film_pictures(
    frames: int,
    height: int,
    width: int,
    bars: Sequence[int] = (0, 0),
    seed: int = 0,
    flash_every: int | None = 24,
    black_frames: int = 0,
) -> Iterator[Picture]:
    """Yield the pictures of a film, uint8 [height, width, 3]; arguments as of `make_film`."""
    top, bottom, left, right = (*bars, 0, 0)[:4]
    flashes = set(flash_frames(frames, flash_every))
    picture = np.zeros((height, width, 3), np.uint8)
    inside = picture[top : height - bottom, left : width - right]
    for number in range(frames):
        if number < black_frames:
            yield picture.copy()
            continue
        within = number % SHOT_FRAMES
        if within == 0 or number == black_frames:
            ground, discs = make_scene(
                inside.shape[0], inside.shape[1], seed, number // SHOT_FRAMES
            )
        inside[:] = ground
        for disc in discs:
            draw_disc(inside, disc, within)
        brightness = _brightness(number, frames)
        if brightness < 1:
            inside[:] = (inside * brightness).astype(np.uint8)
        draw_panel(inside, number, number in flashes)
        yield picture.copy()


def _brightness(number: int, frames: int) -> float:
    """Return 1, or less in a fade: 0 at its last frame."""
    shot, within = divmod(number, SHOT_FRAMES)
    # A film of a few frames would be nothing but its fade.
    to_end = frames - 1 - number if frames > 2 * FADE_FRAMES else FADE_FRAMES
    if shot % 5 == 4:
        to_end = min(to_end, SHOT_FRAMES - 1 - within)
    return min(1.0, to_end / FADE_FRAMES)


def make_film(
    path: str | Path,
    *,
    frames: int = 48,
    rate: Fraction | int = Fraction(24),
    height: int = 180,
    width: int = 320,
    bars: Sequence[int] = (0, 0),
    seed: int = 0,
    audio: bool = True,
    flash_every: int | None = 24,
    codec: str = "libx264",
    audio_codec: str = "aac",
    variable_rate: bool = False,
    start_offset: float = 0,
    sample_aspect: Fraction | int = 1,
    rotation: int = 0,
    black_frames: int = 0,
    extra_ffmpeg_args: Sequence[str] = (),
) -> Path:
    """Make a film at `path`, whose suffix decides the container; return `path`.

    Args:
        frames: how many frames, up to 65,536.
        height, width: as stored, even.
        bars: black rows at (top, bottom), or rows and columns at (top, bottom, left, right).
        seed: another seed, another film.
        audio: whether there is a sound track; it starts at time 0.
        flash_every: a flash and a beep every so many frames; see `flash_frames`.
        codec: video encoder of ffmpeg; libx264 is run with B-frames, 4:2:0, BT.709 and tagged so.
        variable_rate: whether frames last differently long; see `frame_times`.
        start_offset: the picture begins so many seconds after the sound.
        sample_aspect: width / height of a stored pixel.
        rotation: degrees that a player has to turn the stored picture counterclockwise.
        black_frames: so many frames at the start are black all over, without a panel.
        extra_ffmpeg_args: put before the output's name.
    """
    path, rate = Path(path), Fraction(rate)
    times = frame_times(frames, rate, variable_rate, start_offset)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-y"]
        command += ["-noautorotate", "-display_rotation", str(rotation)] if rotation else []
        command += ["-f", "rawvideo", "-pixel_format", "rgb24", "-video_size", f"{width}x{height}"]
        command += ["-framerate", str(rate), "-i", "pipe:0"]
        if audio:
            sound = Path(folder) / "sound.wav"
            beeps = [times[number] for number in flash_frames(frames, flash_every)]
            _write_sound(sound, times[-1] + 1 / rate, beeps, 1 / rate, seed)
            command += ["-i", str(sound), "-c:a", audio_codec]
        command += _video_arguments(rate, codec, variable_rate, start_offset, sample_aspect)
        command += [*extra_ffmpeg_args, str(path)]
        pictures = film_pictures(frames, height, width, bars, seed, flash_every, black_frames)
        _run_ffmpeg(command, pictures)
    return path


def _video_arguments(
    rate: Fraction,
    codec: str,
    variable_rate: bool,
    start_offset: float,
    sample_aspect: Fraction | int,
) -> list[str]:
    """Return ffmpeg's arguments for the video stream: filters, time base, encoder."""
    filters = ["scale=out_color_matrix=bt709:out_range=tv"]
    arguments = []
    if variable_rate or start_offset:
        # One tick that all times are whole multiples of, so that nothing is ever rounded.
        offset = Fraction(start_offset).limit_denominator(1000)
        ticks = math.lcm(rate.numerator, offset.denominator)
        number = "(N+floor(N/3))" if variable_rate else "N"
        filters += [f"settb=1/{ticks}", f"setpts={number}*{ticks / rate}+{ticks * offset}"]
        arguments += ["-fps_mode:v", "passthrough", "-enc_time_base:v", f"1:{ticks}"]
    aspect = Fraction(sample_aspect)
    filters += [f"setsar={aspect.numerator}/{aspect.denominator}"]
    arguments += ["-vf", ",".join(filters), "-c:v", codec, "-pix_fmt", "yuv420p"]
    for tag in ("-colorspace", "-color_primaries", "-color_trc"):
        arguments += [tag, "bt709"]
    if codec == "libx264":
        arguments += ["-preset", "ultrafast", "-bf", "2", "-crf", "18"]
    return arguments


def _run_ffmpeg(command: list[str], pictures: Iterator[Picture]) -> None:
    """Feed the pictures to ffmpeg's standard input."""
    with tempfile.TemporaryFile() as log:
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=log) as process:
            assert process.stdin is not None
            try:
                for picture in pictures:
                    process.stdin.write(picture.tobytes())
                process.stdin.close()
            except BrokenPipeError:
                pass  # ffmpeg gave up; its words say why
        if process.returncode != 0:
            log.seek(0)
            raise RuntimeError(log.read().decode(errors="replace").strip())


def _write_sound(
    path: Path, duration: Fraction, beeps: list[Fraction], beep_length: Fraction, seed: int
) -> None:
    """Write a mono WAV: faint noise, so that no two packets are equal, and loud beeps."""
    random = np.random.default_rng(seed)
    samples = random.integers(-150, 150, int(duration * SAMPLE_RATE), np.int16)
    phase = np.arange(int(beep_length * SAMPLE_RATE)) * (2 * np.pi * 1000 / SAMPLE_RATE)
    beep = (26_000 * np.cos(phase)).astype(np.int16)  # a cosine is loud from its first sample on
    for time in beeps:
        start = round(time * SAMPLE_RATE)
        samples[start : start + len(beep)] = beep[: len(samples) - start]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(samples.tobytes())


def beep_times(path: str | Path, audio_stream: int = 0) -> list[float]:
    """Return the seconds, from the first stream's start, at which beeps begin in the sound.

    Right to about a millisecond for AAC and MP3, to a sample for PCM.
    """
    times: list[float] = []
    with av.open(str(path)) as container:
        film_start = (container.start_time or 0) / av.time_base
        last_loud = -math.inf
        for block in container.decode(audio=audio_stream):
            if block.format.is_planar and block.layout.nb_channels > 8:
                # PyAV reads planes beyond the eighth from where none are.
                (block,) = av.AudioResampler("flt").resample(block)
            samples = block.to_ndarray()
            if block.format.is_packed:
                samples = samples.reshape(-1, block.layout.nb_channels).T
            level = np.abs(samples.astype(np.float64)).max(0)
            if samples.dtype.kind == "i":
                level /= np.iinfo(samples.dtype).max
            start = float(block.pts * block.time_base) - film_start
            for sample in np.flatnonzero(level > 0.3):
                moment = float(start + sample / block.sample_rate)
                if moment - last_loud > 0.005:
                    times.append(moment)
                last_loud = moment
    return times


def flash_times(path: str | Path) -> list[float]:
    """Return when the frames that flash are shown: seconds on the clock of `beep_times`."""
    with av.open(str(path)) as container:
        film_start = (container.start_time or 0) / av.time_base
        return [
            float(frame.pts * frame.time_base) - film_start
            for frame in container.decode(video=0)
            if is_flash(frame.to_ndarray(format="rgb24"))
        ]


def read_film(path: str | Path) -> list[tuple[int, float]]:
    """Return (number, seconds from the start of the film) of each frame of a film, as shown."""
    with av.open(str(path)) as container:
        film_start = (container.start_time or 0) / av.time_base
        return [
            (
                read_number(frame.to_ndarray(format="rgb24")),
                float(frame.pts * frame.time_base) - film_start,
            )
            for frame in container.decode(video=0)
        ]
