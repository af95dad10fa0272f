"""The sound of a film, packet by packet: copied as it is wherever the new file can hold it."""

import contextlib
import math
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from threading import Thread
from typing import IO, Any, cast

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet

from bladerunner_ae.errors import InputError
from bladerunner_ae.film import metadata
from bladerunner_ae.film.ffmpeg import ffmpeg_program
from bladerunner_ae.film.opening import open_film
from bladerunner_ae.film.packets import film_stream
from bladerunner_ae.film.probe import FilmInfo
from bladerunner_ae.film.steady import JUMPING_FORMATS, SteadyPackets

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv")

# What players expect to find in such files. libav would also put PCM, Vorbis or DTS into mp4, but
# hardly anything plays that. QuickTime has always held plain PCM.
_MOV_CODECS = ("aac", "mp3", "mp2", "ac3", "eac3", "alac")
_MP4_CODECS = (*_MOV_CODECS, "opus", "flac")
_PLAIN_PCM = ("pcm_s16", "pcm_s24", "pcm_s32", "pcm_f32", "pcm_f64")
_MATROSKA_STRANGERS = ("pcm_bluray", "pcm_dvd", "adpcm")

# The clock of these containers begins at 0, and what begins later is meant to. The clock of all
# others (broadcasts, streams) begins anywhere.
_CLOCK_FROM_ZERO = ("mov", "matroska", "avi", "images")

_AAC_BITS_PER_CHANNEL = 96_000


@dataclass(frozen=True)
class SoundTrack:
    """One audio stream of the film and what becomes of it.

    Attributes:
        index: of the stream in its file.
        codec: its codec, e.g. "mp3".
        channels: how many.
        copied: whether its packets are copied; otherwise it is encoded anew as AAC.
    """

    index: int
    codec: str
    channels: int
    copied: bool


def film_origin(info: FilmInfo) -> Fraction:
    """Seconds on the film's clock that are the time 0 of what is written."""
    if info.container.startswith(_CLOCK_FROM_ZERO):
        return Fraction(0)
    return info.film_start


def plan_sound(info: FilmInfo, suffix: str) -> list[SoundTrack]:
    """Decides what becomes of every audio stream in a file with this suffix.

    Raises:
        InputError: the film cannot be opened any more.
    """
    if info.kind == "images":
        return []
    with open_film(info.path) as container:
        return [
            SoundTrack(stream.index, codec, stream.channels, _fits(codec, suffix))
            for stream in container.streams.audio
            if stream.codec_context is not None
            for codec in [stream.codec_context.codec.canonical_name]
        ]


def _fits(codec: str, suffix: str) -> bool:
    if suffix == ".mkv":
        return not codec.startswith(_MATROSKA_STRANGERS)
    if suffix == ".mov":
        return codec in _MOV_CODECS or codec.startswith(_PLAIN_PCM)
    return codec in _MP4_CODECS


@contextlib.contextmanager
def open_sound(
    info: FilmInfo, tracks: Sequence[SoundTrack]
) -> Iterator[list[tuple[InputContainer, AudioStream]]]:
    """Opens the audio streams for reading packets, in the order of `tracks`.

    Streams that are copied come from the film itself; those that are not come from an ffmpeg that
    encodes them while they are read, and that ends with this context.
    """
    with contextlib.ExitStack() as stack:
        opened: dict[bool, Iterator[tuple[InputContainer, AudioStream]]] = {}
        copied = [track for track in tracks if track.copied]
        encoded = [track for track in tracks if not track.copied]
        if copied:
            film = stack.enter_context(open_film(info.path))
            opened[True] = iter(
                [(film, cast(AudioStream, film.streams[track.index])) for track in copied]
            )
        if encoded:
            process = stack.enter_context(_encoder(info, encoded))
            opening = av.open(process.stdout, format="matroska", **metadata.OPENING)
            anew = cast(InputContainer, stack.enter_context(opening))
            metadata.make_readable(anew)
            opened[False] = iter([(anew, stream) for stream in anew.streams.audio])
        yield [next(opened[track.copied]) for track in tracks]


@contextlib.contextmanager
def _encoder(info: FilmInfo, tracks: Sequence[SoundTrack]) -> Iterator[subprocess.Popen[bytes]]:
    """An ffmpeg that writes the streams as AAC to its standard output, at their own times.

    A pipe rather than a file: when this process dies, so does ffmpeg.
    """
    fed = info.container in JUMPING_FORMATS  # ffmpeg would read jumps in its own way
    source = ["-f", "nut", "-i", "pipe:0"] if fed else ["-nostdin", "-i", str(info.path)]
    command = [ffmpeg_program(), "-loglevel", "error", "-copyts", *source]
    for number, track in enumerate(tracks):
        command += ["-map", f"0:{number if fed else track.index}"]
    command += ["-c:a", "aac"]
    for number, track in enumerate(tracks):
        command += [f"-b:a:{number}", str(_AAC_BITS_PER_CHANNEL * track.channels)]
    command += ["-avoid_negative_ts", "disabled", "-f", "matroska", "pipe:1"]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE if fed else subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    feeder = Thread(target=_feed, args=(info, tracks, process.stdin), daemon=True)
    try:
        if fed:
            feeder.start()
        yield process
    finally:
        process.kill()
        process.wait()
        if fed:
            feeder.join()
        if process.stdout:
            process.stdout.close()


def _feed(info: FilmInfo, tracks: Sequence[SoundTrack], pipe: IO[bytes]) -> None:
    """Writes the packets of some streams, at the times of the film's pictures."""
    # A pipe that breaks means that nobody wants more; what is missing, verification finds.
    with (
        contextlib.suppress(OSError, ValueError, InputError),
        pipe,
        open_film(info.path) as film,
        av.open(f"pipe:{pipe.fileno()}", "w", "nut") as fed,
    ):
        streams = [cast(AudioStream, film.streams[track.index]) for track in tracks]
        targets = {one.index: fed.add_stream_from_template(one) for one in streams}
        for packet in sound_packets(film_packets(film, info, streams), Fraction(0)):
            packet.stream = targets[packet.stream_index]
            fed.mux_one(packet)


def film_packets(
    container: InputContainer, info: FilmInfo, streams: Sequence[AudioStream]
) -> Iterator[Packet]:
    """The packets of some audio streams of a film, at the times of its pictures.

    Where the film's times jump, sound jumps along with the pictures; what would then be heard at
    the same time as the sound before is left out.
    """
    if container.format.name not in JUMPING_FORMATS:
        yield from container.demux(*streams)
        return
    earliest = dict.fromkeys((stream.index for stream in streams), -math.inf)
    steady = SteadyPackets(container, film_stream(container, info), info.frame_rate)
    for packet in steady:
        index, time = packet.stream_index, packet.pts
        if index not in earliest or (steady.jumps and time is not None and time < earliest[index]):
            continue
        if time is not None:
            earliest[index] = time + (packet.duration or 0) / 2
        yield packet


def sound_packets(packets: Iterator[Packet], origin: Fraction) -> Iterator[Packet]:
    """Packets of audio streams with times counted from `origin`.

    Reading ends where the file cannot be read any further: the pictures' decoder has said so.
    """
    previous: dict[int, int] = {}
    while True:
        try:
            packet = next(packets)
        except (StopIteration, IndexError, av.FFmpegError):
            return
        if not packet.size or (packet.pts is None and packet.dts is None):
            continue
        shift = round(origin / packet.time_base)
        pts = cast(int, packet.pts if packet.pts is not None else packet.dts)
        packet.pts = pts - shift
        # Sound is never reordered; some files claim otherwise, or repeat a time after a splice.
        last = previous.get(packet.stream_index)
        packet.dts = packet.pts if last is None else max(packet.pts, last + 1)
        packet.pts = packet.dts
        previous[packet.stream_index] = packet.dts
        yield packet


def describe_stream(stream: Any) -> dict[str, Any]:
    """What a copied stream keeps besides its packets: language, title and role."""
    keep = ("language", "title", "handler_name")
    kept = {key: value for key, value in stream.metadata.items() if key.lower() in keep}
    return {"metadata": kept, "disposition": stream.disposition}


def refuse_unknown_suffix(path: Path) -> None:
    """Raises InputError unless films can be written into files with this suffix."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"{path}: films are written as {', '.join(SUFFIXES)}; give the output such a name"
        )
