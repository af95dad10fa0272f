"""Read films as a player does: with ffmpeg's own program and none of this project's code.

Pictures and sound with their times, packets, titles, languages, chapters. All times are seconds on
the clock of the file.
"""

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

Pictures = NDArray[np.uint8]

_LIMIT_SECONDS = 180
# A tone begins where its level first comes to this part of the loudest there is.
_LOUD = 0.3
_APART_SECONDS = 0.045


class UnreadableError(Exception):
    """ffmpeg cannot read a film; the message is from ffmpeg."""


def run_ffmpeg(*arguments: object, data: bytes | None = None) -> tuple[bytes, str]:
    """Run ffmpeg; return its stdout and stderr."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-nostats", "-y", "-threads", "1"]
    try:
        done = subprocess.run(
            [*command, *map(str, arguments)], capture_output=True, timeout=_LIMIT_SECONDS,
            **({"stdin": subprocess.DEVNULL} if data is None else {"input": data}),
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise UnreadableError(f"no end within {_LIMIT_SECONDS} s") from error
    words = done.stderr.decode(errors="replace")
    if done.returncode:
        raise UnreadableError(" ".join(words.split())[-300:])
    return done.stdout, words


def url(path: Path) -> str:
    """Return a name that ffmpeg takes for a file, whatever characters it has."""
    return f"file:{path}"


@dataclass(frozen=True)
class Shown:
    """The pictures of a film, uint8 [height, width, 3], upright, in the film's own pixels.

    Attributes:
        seconds: when each is shown.
        tick: seconds per unit of the film's clock.
        aspect: width of a pixel divided by its height.
    """

    pictures: list[Pictures]
    seconds: list[Fraction]
    tick: Fraction
    aspect: Fraction


def show(
    path: Path, stream: str = "", source: Sequence[object] = (), deinterlace: bool = False
) -> Shown:
    """Decode the pictures of a film; `stream` is as of ffmpeg's -map, "" for ffmpeg's own choice.

    `source` are options of ffmpeg before its input.
    """
    filters = ("bwdif=mode=send_frame:deint=interlaced," if deinterlace else "") + "showinfo"
    maps = ["-map", stream] if stream else []
    raw, found = decode(*source, "-i", url(path), *maps, "-an", "-sn", "-dn", filters=filters)
    if len(raw) != found.height * found.width * 3 * len(found.seconds):
        raise UnreadableError("pictures of several sizes")
    pictures = np.frombuffer(raw, np.uint8).reshape(-1, found.height, found.width, 3)
    return Shown(list(pictures), found.seconds, found.tick, found.aspect)


@dataclass(frozen=True)
class Frames:
    """Times, clock and format of the frames that reach the filter `showinfo`."""

    seconds: list[Fraction]
    tick: Fraction
    height: int
    width: int
    aspect: Fraction


def decode(*arguments: object, filters: str) -> tuple[bytes, Frames]:
    """Decode a film through `filters` with `showinfo`; return RGB bytes and frames."""
    raw, log = run_ffmpeg("-copyts", *arguments, "-fps_mode", "passthrough", "-vf", filters,
                          "-f", "rawvideo", "-pix_fmt", "rgb24", "-")  # fmt: skip
    base = re.search(r"config in time_base: (\d+)/(\d+)", log)
    found = re.findall(r"\] n: *\d+ pts: *(-?\d+|NOPTS) .*? sar:(\d+)/(\d+) s:(\d+)x(\d+) ", log)
    if base is None or not found:
        raise UnreadableError("no picture")
    if any(one[3:] != found[0][3:] for one in found):
        raise UnreadableError("pictures of several sizes")
    tick = Fraction(int(base[1]), int(base[2]))
    across, down, width, height = map(int, found[0][1:])
    aspect = Fraction(across or 1, down if across else 1)
    return raw, Frames([int(one[0]) * tick for one in found], tick, height, width, aspect)


@dataclass(frozen=True)
class Heard:
    """One sound track of a film, decoded.

    Attributes:
        tones: when each loud tone begins.
        seconds: length, counted in samples.
        rate: samples a second.
    """

    tones: list[float]
    begin: float
    seconds: float
    rate: int
    channels: int


def hear(path: Path, track: int = 0, source: Sequence[object] = ()) -> Heard:
    """Decode a sound track, from 0, and find its loud tones on any channel."""
    raw, log = run_ffmpeg(
        "-copyts", *source, "-i", url(path), "-map", f"0:a:{track}", "-vn", "-af",
        "ashowinfo,aformat=sample_fmts=flt", "-f", "f32le", "-c:a", "pcm_f32le", "-",
    )  # fmt: skip
    pattern = r"pts_time:(-?[\d.e+-]+|NOPTS) .*?channels:(\d+) .*?rate:(\d+) nb_samples:(\d+)"
    found = re.findall(pattern, log)
    if not found:
        raise UnreadableError(f"no sound in track {track}")
    channels, rate = int(found[0][1]), int(found[0][2])
    samples = np.abs(np.frombuffer(raw, np.float32).reshape(-1, channels)).max(1)
    times = np.concatenate([
        float("nan" if pts == "NOPTS" else pts) + np.arange(int(count)) / rate
        for pts, _, _, count in found
    ])  # fmt: skip
    level = _LOUD * float(samples.max(initial=0))
    loud = times[: len(samples)][(samples > level)[: len(times)]] if level > 0.01 else times[:0]
    tones = [
        float(time)
        for time, before in zip(loud, [-np.inf, *loud], strict=False)
        if not time - before <= _APART_SECONDS
    ]
    return Heard(tones, float(times[0]), len(samples) / rate, rate, channels)


@dataclass(frozen=True)
class Packets:
    """The packets of one stream, as stored; each ends by its own duration.

    `digests` are of the bytes of each; `tick` is seconds per unit of their clock.
    """

    seconds: list[Fraction]
    ends: list[Fraction]
    digests: list[str]
    tick: Fraction

    @property
    def longest(self) -> Fraction:
        """Seconds of the longest packet."""
        return max((e - s for s, e in zip(self.seconds, self.ends, strict=True)), default=self.tick)


def packets(path: Path, stream: str, filters: str = "", source: Sequence[object] = ()) -> Packets:
    """Read the packets of a stream, after bitstream filters, in the order of the file."""
    out, _ = run_ffmpeg(
        "-copyts", *source, "-i", url(path), "-map", stream, "-c", "copy",
        *(["-bsf", filters] if filters else []), "-f", "framehash", "-hash", "md5", "-",
    )  # fmt: skip
    lines = out.decode().splitlines()
    base = next((line for line in lines if line.startswith("#tb 0:")), None)
    if base is None:
        raise UnreadableError(f"no packets in {stream}")
    tick = Fraction(base.split(":", 1)[1].strip())
    rows = [[cell.strip() for cell in line.split(",")] for line in lines if line[:1].isdigit()]
    return Packets(
        [int(row[2]) * tick for row in rows],
        [(int(row[2]) + int(row[3])) * tick for row in rows],
        [row[5] for row in rows],
        tick,
    )


def payload(path: Path, stream: str) -> str:
    """Return a digest of all bytes of a stream, whatever its packets."""
    out, _ = run_ffmpeg("-i", url(path), "-map", stream, "-c", "copy", "-f", "hash", "-hash",
                        "md5", "-")  # fmt: skip
    return out.decode().strip()


@dataclass(frozen=True)
class Described:
    """The metadata of a file.

    Attributes:
        kinds: "Video: h264", "Audio: aac" ... of each stream, in order.
        languages: of each sound track, or "".
        chapters: (begin, end) in seconds and title of each.
        seconds: length in the header, or NaN.
        covers: number of attached pictures.
    """

    kinds: list[str]
    languages: list[str]
    title: str
    chapters: list[tuple[float, float, str]]
    seconds: float
    covers: int

    @property
    def sounds(self) -> list[str]:
        """Codec of each sound track."""
        return [kind.split(": ")[1] for kind in self.kinds if kind.startswith("Audio")]


_STREAM = re.compile(
    r"^ *Stream #0:\d+(?:\[0x\w+\])?(?:\((?P<lang>[^)]*)\))?: (?P<kind>\w+): (?P<codec>\w+)"
    r"(?P<rest>.*)$",
    re.M,
)


def describe(path: Path, source: Sequence[object] = ()) -> Described:
    """Read the metadata of a file."""
    try:
        _, log = run_ffmpeg(*source, "-i", url(path), "-map", "0:v?", "-map", "0:a?", "-c", "copy",
                            "-t", "0", "-f", "null", "-")  # fmt: skip
    except UnreadableError as error:
        raise UnreadableError(f"cannot be opened: {error}") from error
    log = log.partition("\nStream mapping")[0].partition("\nOutput #0")[0]
    out, _ = run_ffmpeg(*source, "-i", url(path), "-map_metadata", "0", "-f", "ffmetadata", "-")
    head, *rest = re.split(r"^\[(?:CHAPTER|STREAM)\]\n", out.decode("utf-8", "replace"), flags=re.M)
    chapters = []
    for part in rest:
        values = _fields(part)
        if "TIMEBASE" in values:
            unit = Fraction(values["TIMEBASE"])
            begin, end = (float(int(values[name]) * unit) for name in ("START", "END"))
            chapters.append((begin, end, values.get("title", "")))
    streams = [one.groupdict() for one in _STREAM.finditer(log)]
    length = re.search(r"Duration: (\d+):(\d+):([\d.]+)", log)
    return Described(
        [f"{one['kind']}: {one['codec']}" for one in streams],
        [(one["lang"] or "").replace("und", "") for one in streams if one["kind"] == "Audio"],
        _fields(head).get("title", ""),
        chapters,
        int(length[1]) * 3600 + int(length[2]) * 60 + float(length[3]) if length else float("nan"),
        sum("(attached pic)" in one["rest"] for one in streams),
    )


def _fields(text: str) -> dict[str, str]:
    """Return the key=value lines of ffmpeg's own format, in which a backslash quotes."""
    fields = {}
    for line in re.split(r"(?<!\\)\n", text):
        key, separator, value = line.partition("=")
        if separator and not key.startswith(";"):
            fields[key] = re.sub(r"\\(.)", r"\1", value, flags=re.S)
    return fields
