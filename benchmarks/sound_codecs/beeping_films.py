"""Films that flash and beep at the same moments, with the sound of one codec each.

ffmpeg lists what it can encode; each codec goes into the first container that holds it and from
which ffmpeg reads flashes and beeps at their times.
"""

import re
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.judging.player import Heard, UnreadableError, hear, run_ffmpeg, show

RATE, FRAMES, SIDE = 24, 60, 64
# No two distances are alike, so that shifted sound cannot seem right.
FLASHES = (7, 14, 25, 43)
_BEEP_SECONDS = 0.07

_H264 = "-c:v libx264 -preset ultrafast -bf 2 -g 12 -pix_fmt yuv420p"
_MPEG4, _MPEG2 = "-c:v mpeg4 -q:v 2 -g 12", "-c:v mpeg2video -q:v 2 -g 12"
CONTAINERS = {
    "mkv": (".mkv", _H264),
    "mp4": (".mp4", _H264),
    "mov": (".mov", _H264),
    "avi": (".avi", _MPEG4),
    "nut": (".nut", _MPEG4),
    "ts": (".ts", _H264),
    "m2ts": (".m2ts", f"{_H264} -mpegts_m2ts_mode 1"),
    "vob": (".vob", f"{_MPEG2} -f vob"),
    "flv": (".flv", _H264),
    "wmv": (".wmv", "-c:v wmv2 -q:v 2 -g 12"),
    "wtv": (".wtv", _MPEG2),
    "mxf": (".mxf", _MPEG2),
    "3gp": (".3gp", _MPEG4),
    "rm": (".rm", "-c:v rv20 -q:v 2"),
    "ogv": (".ogv", "-c:v libtheora -q:v 8"),
    "roq": (".roq", "-c:v roqvideo -r 30"),
    "amv": (".amv", "-c:v amv -r 25"),
}
_ORDER = ("mkv", "mov", "mp4", "avi", "nut", "flv", "wmv", "ts", "vob", "mxf", "3gp", "rm", "roq",
          "amv", "wtv")  # fmt: skip
# Usual containers of such sound.
_HOMES = {
    "aac": "mp4", "alac": "mov", "mp3": "avi", "mp2": "ts", "ac3": "vob", "pcm_bluray": "m2ts",
    "pcm_dvd": "vob", "s302m": "ts", "nellymoser": "flv", "adpcm_swf": "flv", "wmav1": "wmv",
    "wmav2": "wmv", "pcm_s24le": "mxf", "amr_nb": "3gp", "ra_144": "rm", "roq_dpcm": "roq",
    "adpcm_ima_amv": "amv", "vorbis": "ogv", "pcm_s16le": "avi", "adpcm_ima_qt": "mov",
    "g723_1": "avi", "pcm_mulaw": "flv",
}  # fmt: skip
# (samples a second, channels) that an encoder needs.
_WANTS = {
    "amr_nb": (8000, 1), "g723_1": (8000, 1), "ra_144": (8000, 1), "adpcm_g726": (8000, 1),
    "adpcm_g726le": (8000, 1), "adpcm_g722": (16000, 1), "roq_dpcm": (22050, 2),
    "adpcm_ima_amv": (22050, 1), "nellymoser": (22050, 1), "adpcm_swf": (44100, 2),
    "aptx": (48000, 2), "aptx_hd": (48000, 2), "pcm_vidc": (8000, 1), "wmav1": (44100, 2),
    "adpcm_argo": (44100, 2), "pcm_s24daud": (96000, 6),
}  # fmt: skip
_EXTRAS = {"adpcm_ima_amv": "-block_size 882", "pcm_bluray": "-ac 2"}


@dataclass(frozen=True)
class Track:
    """One sound track: ffmpeg's encoder with its options, samples a second, three letters or ""."""

    encoder: str
    rate: int = 48000
    channels: int = 2
    language: str = ""


@dataclass(frozen=True)
class Film:
    """A film to be made.

    Attributes:
        name: of the row.
        containers: of `CONTAINERS`, the first that works is taken.
        sound_at: seconds from the picture's start to the sound's, may be below 0.
        longer: seconds from the picture's end to the sound's, may be below 0.
        options: more of ffmpeg's arguments.
        cut: seconds from which the finished film is copied once more, or 0.
    """

    name: str
    containers: Sequence[str]
    tracks: tuple[Track, ...]
    sound_at: float = 0
    longer: float = 0
    options: str = ""
    cut: float = 0


@dataclass(frozen=True)
class Made:
    """A film as ffmpeg reads it, in one of `CONTAINERS`, with the seconds of each flash."""

    path: Path
    container: str
    flashes: list[float]
    heard: list[Heard]

    def apart(self) -> list[float]:
        """Return the seconds from each flash to its beep, of each track."""
        return [
            tone - flash
            for one in self.heard
            for tone, flash in zip(one.tones, self.flashes, strict=True)
        ]


def encoders() -> dict[str, str]:
    """Return every sound codec that ffmpeg encodes, with its encoder (a library's own first)."""
    out, _ = run_ffmpeg("-encoders")
    found: dict[str, str] = {}
    for name, rest in re.findall(r"^ A\S+ +(\w+) +(.*)$", out.decode(), re.M):
        codec = re.search(r"\(codec (\w+)\)", rest)
        canonical = codec[1] if codec else {"dca": "dts", "g722": "adpcm_g722"}.get(name, name)
        if canonical not in found or name.startswith("lib"):
            found[canonical] = name
    # The sound of these two is silence.
    return {c: e for c, e in sorted(found.items()) if c not in ("anull", "comfortnoise")}


def codec_films() -> list[Film]:
    """Return a film for each codec."""
    films = []
    for codec, encoder in encoders().items():
        rate, channels = _WANTS.get(codec, (48000, 2))
        home = _HOMES.get(codec, _ORDER[0])
        order = [home, *(one for one in _ORDER if one != home)]
        track = Track(f"{encoder} {_EXTRAS.get(codec, '')}", rate, channels)
        films.append(Film(codec, order, (track,)))
    return films


_AAC, _PCM = Track("aac"), Track("pcm_s16le")
SPECIAL_FILMS = (
    Film("aac, in ts", ["ts"], (_AAC,)),
    Film("aac, LATM in ts", ["ts"], (_AAC,), options="-mpegts_flags latm"),
    Film("aac, in flv", ["flv"], (_AAC,)),
    Film("aac, in mkv", ["mkv"], (_AAC,)),
    Film("mp3, in mp4", ["mp4"], (Track("libmp3lame"),)),
    Film("ac3, in ts", ["ts"], (Track("ac3"),)),
    Film("opus, in mp4", ["mp4"], (Track("libopus"),)),
    Film("opus, in ts", ["ts"], (Track("libopus"),)),
    Film("flac, in ogv", ["ogv"], (Track("flac"),)),
    Film("pcm_s16le, in mp4", ["mp4"], (_PCM,)),
    Film("pcm_s16le, in wmv", ["wmv"], (_PCM,)),
    Film("aac, 5.1", ["mp4"], (Track("aac", channels=6),)),
    Film("ac3, 5.1", ["mkv"], (Track("ac3", channels=6),)),
    Film("pcm, 16 channels, mov", ["mov"], (Track("pcm_s16le", channels=16),)),
    Film("pcm, 16 channels, mkv", ["mkv"], (Track("pcm_s24le", channels=16),)),
    Film("pcm, mono, 8 kHz", ["avi"], (Track("pcm_s16le", 8000, 1),)),
    Film("aac, mono, 8 kHz", ["mp4"], (Track("aac", 8000, 1),)),
    Film("pcm, 96 kHz, 24 bit", ["mov"], (Track("pcm_s24le", 96000),)),
    Film("pcm, 192 kHz, 24 bit", ["mkv"], (Track("pcm_s24le", 192000),)),
    Film("flac, 96 kHz, 24 bit", ["mkv"],
         (Track("flac -sample_fmt s32 -bits_per_raw_sample 24", 96000),)),
    Film("flac, 192 kHz, 24 bit", ["mkv"],
         (Track("flac -sample_fmt s32 -bits_per_raw_sample 24", 192000),)),
    Film("pcm_u8, 11,025 Hz", ["avi"], (Track("pcm_u8", 11025, 1),)),
    *(
        Film(f"{track.encoder}, {words}, {container}", [container], (track,), **how)
        for track, container in ((_AAC, "mp4"), (Track("libmp3lame"), "mkv"), (_PCM, "mov"),
                                 (Track("ac3"), "ts"), (Track("libvorbis"), "mkv"))
        for words, how in (
            ("11.7 ms late", {"sound_at": 0.0117}),
            ("0.2 s late, ends 0.7 s early", {"sound_at": 0.2, "longer": -0.7}),
            ("0.35 s before the picture", {"sound_at": -0.35}),
            ("1.3 s longer", {"longer": 1.3}),
        )
    ),
    Film("aac, the first 0.2 s hidden by an edit list", ["mp4"], (_AAC,), cut=0.2),
    Film("pcm, the first 0.2 s hidden by an edit list", ["mov"], (_PCM,), cut=0.2),
    Film("two tracks, aac and ac3", ["mp4"],
         (Track("aac", language="eng"), Track("ac3", language="jpn"))),
    Film("three tracks, vorbis, flac and mp3", ["mkv"],
         (Track("libvorbis", language="pol"), Track("flac", 44100, language="eng"),
          Track("libmp3lame", 44100, 1, language="jpn"))),
    Film("two tracks, pcm_bluray and ac3", ["m2ts"],
         (Track("pcm_bluray", language="eng"), Track("ac3", language="jpn"))),
)  # fmt: skip


def make_master(folder: Path) -> Path:
    """Write the lossless film of flashes that all others are made of."""
    path = folder / "flashes.mkv"
    if not path.exists():
        random = np.random.default_rng(0)
        pictures = random.integers(20, 60, (FRAMES, SIDE, SIDE, 3), np.uint8)
        pictures[list(FLASHES)] = 235
        run_ffmpeg("-f", "rawvideo", "-pixel_format", "rgb24", "-video_size", f"{SIDE}x{SIDE}",
                   "-framerate", RATE, "-i", "-", "-c:v", "ffv1", "-pix_fmt", "gbrp", path,
                   data=pictures.tobytes())  # fmt: skip
    return path


def write_beeps(
    path: Path, track: Track, moments: Sequence[float], begin: float, end: float
) -> None:
    """Write a WAV that beeps at `moments`, over faint noise so that no two packets are alike.

    Each channel beeps in a tone of its own; `begin` is the time of the first sample.
    """
    count = round((end - begin) * track.rate)
    random = np.random.default_rng(1)
    samples = random.uniform(-0.004, 0.004, (count, track.channels))
    length = round(_BEEP_SECONDS * track.rate)
    tones = 900 + 40 * np.arange(track.channels)
    # A cosine is loud from its first sample on.
    beep = 0.8 * np.cos(2 * np.pi * tones * np.arange(length)[:, None] / track.rate)
    for moment in moments:
        first = round((moment - begin) * track.rate)
        if 0 <= first < count:
            samples[first : first + length] = beep[: count - first]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(track.channels)
        file.setsampwidth(4)
        file.setframerate(track.rate)
        file.writeframes((samples * (2**31 - 1)).astype("<i4").tobytes())


def make(film: Film, folder: Path, master: Path) -> Made:
    """Make a film in the first container that holds it; if none does, give the first's reason."""
    reason: UnreadableError | None = None  # of its home
    for container in film.containers:
        path = folder / f"{re.sub('[^a-z0-9]+', '_', film.name)}{CONTAINERS[container][0]}"
        try:
            _encode(film, container, path, folder, master)
            made = look(path, container, len(film.tracks))
        except UnreadableError as error:
            reason = reason or error
            path.unlink(missing_ok=True)
            continue
        if len(made.flashes) == len(FLASHES) and all(
            len(one.tones) == len(FLASHES) for one in made.heard
        ):
            worst = max(map(abs, made.apart()))
            if worst < 1 / RATE:
                return made
            found = f"{container}: beeps {worst:.3f} s beside their flashes"
        else:
            heard = [len(one.tones) for one in made.heard]
            found = f"{container}: {len(made.flashes)} flashes, {heard} beeps"
        reason = reason or UnreadableError(found)
        path.unlink()
    raise reason or UnreadableError("no container")


def _encode(film: Film, container: str, path: Path, folder: Path, master: Path) -> None:
    picture_at = max(-film.sound_at, 0.0)
    moments = [number / RATE + picture_at for number in FLASHES]
    begin = max(film.sound_at, 0.0)
    end = FRAMES / RATE + picture_at + film.longer
    command: list[object] = ["-itsoffset", picture_at, "-i", master]
    maps: list[object] = ["-map", "0:v"]
    for number, track in enumerate(film.tracks):
        wav = folder / f"{path.stem}_{number}.wav"
        write_beeps(wav, track, moments, begin, end)
        command += ["-itsoffset", begin, "-i", wav]
        encoder, *options = track.encoder.split()
        maps += ["-map", f"{number + 1}:a", f"-c:a:{number}", encoder, *options]
        if track.language:
            maps += [f"-metadata:s:a:{number}", f"language={track.language}"]
    _, video = CONTAINERS[container]
    target = path.with_name(f"uncut_{path.name}") if film.cut else path
    run_ffmpeg(*command, *maps, "-strict", "-2", *video.split(), *film.options.split(), target)
    if film.cut:
        run_ffmpeg("-ss", film.cut, "-i", target, "-map", "0", "-c", "copy", path)


def look(path: Path, container: str, tracks: int) -> Made:
    """Read flashes and beeps of a film."""
    shown = show(path)
    flashes = [
        float(second)
        for second, picture in zip(shown.seconds, shown.pictures, strict=True)
        if picture.mean() > 128
    ]
    # Containers of a fixed rate repeat frames; a flash begins with the first.
    first = [b for a, b in zip([-1.0, *flashes], flashes, strict=False) if b - a > 1.5 / RATE]
    return Made(path, container, first, [hear(path, track) for track in range(tracks)])
