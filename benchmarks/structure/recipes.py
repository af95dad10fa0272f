"""Films put together at random: container, codecs, clocks, edits, tracks, names ...

A recipe, drawn from a seed and a number, decides the film. What a player shows of it follows by
arithmetic; `making` makes it.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

Random = np.random.Generator

_X265 = "-c:v libx265 -preset ultrafast -crf 14 -x265-params log-level=none:keyint=12:min-keyint=4"
VIDEO = {
    "h264": "-c:v libx264 -preset ultrafast -crf 12 -bf 2 -g 12",
    "h264, no B-frames": "-c:v libx264 -preset ultrafast -crf 12 -bf 0 -g 12",
    "h264, open groups": "-c:v libx264 -preset ultrafast -crf 12 -x264-params "
    "open-gop=1:keyint=12:bframes=3:b-adapt=0",
    "hevc": _X265,
    "hevc, open groups": f"{_X265}:open-gop=1:bframes=3:b-adapt=0",
    "mpeg1": "-c:v mpeg1video -q:v 2 -bf 2 -g 12",
    "mpeg2": "-c:v mpeg2video -q:v 2 -bf 2 -g 12",
    "mpeg4": "-c:v mpeg4 -q:v 2 -g 12",
    "mpeg4, B-frames": "-c:v mpeg4 -q:v 2 -bf 2 -g 12",
    "msmpeg4": "-c:v msmpeg4 -q:v 2 -g 12",
    "h263": "-c:v h263 -q:v 2 -g 12",
    "flv1": "-c:v flv -q:v 2 -g 12",
    "vp8": "-c:v libvpx -deadline realtime -cpu-used 8 -crf 5 -b:v 3M -g 12",
    "vp9": "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -crf 10 -b:v 0 -g 12",
    "av1": "-c:v libsvtav1 -preset 12 -crf 4 -g 12 -svtav1-params lp=1",
    "mjpeg": "-c:v mjpeg -q:v 2 -color_range pc",
    "png": "-c:v png",
    "ffv1": "-c:v ffv1",
    "huffyuv": "-c:v huffyuv",
    "ffvhuff": "-c:v ffvhuff",
    "utvideo": "-c:v utvideo",
    "magicyuv": "-c:v magicyuv",
    "prores": "-c:v prores_ks",
    "dnxhd": "-c:v dnxhd -profile:v dnxhr_hq",
    "cfhd": "-c:v cfhd",
    "jpeg2000": "-c:v jpeg2000",
    "qtrle": "-c:v qtrle",
    "rawvideo": "-c:v rawvideo",
    "v210": "-c:v v210",
    "wmv1": "-c:v wmv1 -q:v 2 -g 12",
    "wmv2": "-c:v wmv2 -q:v 2 -g 12",
    "theora": "-c:v libtheora -q:v 10 -g 12",
    "rv20": "-c:v rv20 -q:v 2",
    "gif": "-c:v gif",
    "apng": "-c:v apng",
    "svq1": "-c:v svq1 -q:v 2",
}
PIXELS = {
    "h264": ("yuv420p", "yuv422p", "yuv444p", "yuv420p10le"),
    "hevc": ("yuv420p", "yuv420p10le"),
    "vp9": ("yuv420p", "yuv444p"),
    "av1": ("yuv420p", "yuv420p10le"),
    "mjpeg": ("yuvj420p", "yuvj422p", "yuvj444p"),
    "png": ("rgb24",),
    "ffv1": ("yuv420p", "yuv422p", "gbrp", "yuv444p10le"),
    "huffyuv": ("yuv422p", "rgb24"),
    "ffvhuff": ("yuv420p", "yuv444p"),
    "utvideo": ("yuv422p", "gbrp"),
    "magicyuv": ("yuv444p", "gbrp"),
    "prores": ("yuv422p10le", "yuv444p10le"),
    "dnxhd": ("yuv422p",),
    "cfhd": ("yuv422p10le",),
    "jpeg2000": ("rgb24", "yuv422p"),
    "qtrle": ("rgb24",),
    "rawvideo": ("yuv420p", "uyvy422", "bgr24"),
    "v210": ("yuv422p10le",),
    "gif": ("pal8",),
    "apng": ("rgb24",),
    "svq1": ("yuv410p",),
}
# Codecs that can hold pairs of fields, with the encoder's option for it.
FIELDS = {"h264": "-x264-params {}=1", "mpeg2": ""}

SOUND = {
    "aac": ("aac", ((48000, 2), (44100, 2), (48000, 6), (32000, 1))),
    "mp3": ("libmp3lame", ((48000, 2), (44100, 2), (44100, 1))),
    "mp2": ("mp2", ((48000, 2), (44100, 1))),
    "ac3": ("ac3", ((48000, 2), (48000, 6), (44100, 2))),
    "eac3": ("eac3", ((48000, 2), (48000, 6))),
    "opus": ("libopus", ((48000, 2), (48000, 1))),
    "vorbis": ("libvorbis", ((48000, 2), (44100, 2))),
    "flac": ("flac", ((48000, 2), (44100, 1), (96000, 2))),
    "alac": ("alac", ((48000, 2), (44100, 2))),
    "pcm_s16le": ("pcm_s16le", ((48000, 2), (44100, 2), (8000, 1))),
    "pcm_s24le": ("pcm_s24le", ((48000, 2), (96000, 2))),
    "pcm_s16be": ("pcm_s16be", ((48000, 2), (22050, 1))),
    "pcm_f32le": ("pcm_f32le", ((48000, 2),)),
    "pcm_u8": ("pcm_u8", ((22050, 1),)),
    "pcm_mulaw": ("pcm_mulaw", ((8000, 1),)),
    "adpcm_ms": ("adpcm_ms", ((44100, 2),)),
    "adpcm_ima_qt": ("adpcm_ima_qt", ((44100, 2),)),
    "dts": ("dca", ((48000, 2), (48000, 6))),
    "truehd": ("truehd", ((48000, 2),)),
    "wavpack": ("wavpack", ((48000, 2),)),
    "tta": ("tta", ((44100, 2),)),
    "wmav2": ("wmav2", ((44100, 2),)),
    "pcm_bluray": ("pcm_bluray", ((48000, 2),)),
    "pcm_dvd": ("pcm_dvd", ((48000, 2),)),
    "s302m": ("s302m", ((48000, 2),)),
    "amr_nb": ("libopencore_amrnb", ((8000, 1),)),
}


@dataclass(frozen=True)
class Container:
    """A kind of file and its abilities.

    Attributes:
        videos, sounds: keys of `VIDEO` and `SOUND`.
        can: of "variable", "matrix", "clap", "edit", "aspect", "fields", "cover", "text",
            "chapters", "tracks", "languages", "title", "offset", "second", "programmes", "clock",
            "fragments", "data", "held", "late".
        rates: the only possible ones, or () for any.
        millisecond: whether its times are rounded to milliseconds.
        arguments: more for ffmpeg.
    """

    suffix: str
    videos: Sequence[str]
    sounds: Sequence[str]
    can: str
    rates: Sequence[str] = ()
    millisecond: bool = False
    arguments: str = ""


_FILM_RATES = ("24000/1001", "24", "25", "30000/1001", "30", "50", "60000/1001", "60")
_MOV = ("variable matrix clap edit aspect fields cover text chapters tracks languages title offset "
        "second fragments data held scales late")  # fmt: skip
CONTAINERS = {
    "mp4": Container(".mp4", ("h264", "h264, no B-frames", "h264, open groups", "hevc", "mpeg4",
                              "mpeg4, B-frames", "av1", "vp9", "mjpeg", "mpeg2", "png"),
                     ("aac", "aac", "mp3", "ac3", "eac3", "opus", "flac", "alac", "mp2",
                      "pcm_s16le", "dts"), _MOV),
    "mov": Container(".mov", ("h264", "hevc", "prores", "dnxhd", "png", "qtrle", "mjpeg", "mpeg4",
                              "cfhd", "rawvideo", "v210", "jpeg2000", "svq1"),
                     ("aac", "pcm_s16le", "pcm_s24le", "pcm_s16be", "pcm_f32le", "alac",
                      "adpcm_ima_qt", "pcm_mulaw", "mp3", "ac3"), _MOV),
    "m4v": Container(".m4v", ("h264", "h264, no B-frames", "mpeg4"), ("aac", "ac3", "alac"),
                     "variable matrix edit aspect tracks languages title offset held scales"),
    "f4v": Container(".f4v", ("h264",), ("aac", "mp3"), "variable matrix title offset"),
    "3gp": Container(".3gp", ("h263", "mpeg4", "h264"), ("aac", "amr_nb"), "matrix variable"),
    "mkv": Container(".mkv", tuple(key for key in VIDEO if key not in ("gif", "apng", "flv1")),
                     tuple(SOUND)[:-3], "variable rotation pixelcrop aspect fields cover text "
                     "chapters tracks languages title offset second attachment late",
                     millisecond=True),
    "webm": Container(".webm", ("vp8", "vp9", "av1"), ("opus", "vorbis"),
                      "variable tracks languages title offset chapters aspect",
                      millisecond=True),
    "avi": Container(".avi", ("mpeg4", "msmpeg4", "mjpeg", "huffyuv", "ffv1", "rawvideo", "png",
                              "utvideo", "h264, no B-frames", "ffvhuff"),
                     ("mp3", "pcm_s16le", "ac3", "adpcm_ms", "pcm_u8", "mp2"),
                     "title latin aspect tracks",
                     ("12", "15", *_FILM_RATES, "120", "2997/100")),
    "ts": Container(".ts", ("h264", "h264, open groups", "hevc", "mpeg2", "mpeg4"),
                    ("aac", "mp2", "ac3", "mp3", "eac3", "opus", "s302m"),
                    "fields aspect tracks languages offset programmes clock variable"),
    "m2ts": Container(".m2ts", ("h264", "hevc", "mpeg2"), ("ac3", "pcm_bluray", "dts", "eac3"),
                      "fields aspect tracks languages offset clock",
                      arguments="-mpegts_m2ts_mode 1"),
    "mpg": Container(".mpg", ("mpeg1", "mpeg2"), ("mp2", "ac3"), "aspect fields offset",
                     _FILM_RATES),
    "vob": Container(".vob", ("mpeg2",), ("mp2", "ac3", "pcm_dvd"), "aspect fields offset tracks",
                     _FILM_RATES, arguments="-f vob"),
    "flv": Container(".flv", ("h264", "flv1", "h264, no B-frames"), ("aac", "mp3", "pcm_s16le"),
                     "variable title offset", millisecond=True),
    "wmv": Container(".wmv", ("wmv1", "wmv2", "msmpeg4"), ("wmav2", "mp3", "pcm_s16le"),
                     "variable title aspect tracks offset", millisecond=True),
    "ogv": Container(".ogv", ("theora",), ("vorbis", "flac", "opus"), "title aspect"),
    "mxf": Container(".mxf", ("mpeg2", "h264, no B-frames", "prores", "dnxhd"),
                     ("pcm_s16le", "pcm_s24le"), "aspect fields tracks",
                     ("24", "25", "30000/1001", "50", "60000/1001")),
    "nut": Container(".nut", ("ffv1", "mpeg4", "h264", "huffyuv"),
                     ("pcm_s16le", "flac", "mp3", "vorbis"), "variable aspect title tracks"),
    "gif": Container(".gif", ("gif",), (), "variable held", ("10", "20", "25", "50", "100/3")),
    "apng": Container(".apng", ("apng",), (), "variable", ("10", "25", "50")),
    "y4m": Container(".y4m", ("rawvideo",), (), "aspect", arguments="-f yuv4mpegpipe"),
    "rm": Container(".rm", ("rv20",), ("ac3",), "title", millisecond=True),
    "wtv": Container(".wtv", ("mpeg2",), ("mp2", "ac3"), "fields"),
    "asf": Container(".asf", ("wmv2", "mpeg4", "h264"), ("wmav2", "aac"), "title",
                     millisecond=True),
    "h264": Container(".h264", ("h264", "h264, no B-frames"), (), "", _FILM_RATES),
    "ivf": Container(".ivf", ("vp8", "vp9", "av1"), (), "variable"),
    "images": Container("", ("png",), (), ""),
}  # fmt: skip
_WEIGHTS = {"mp4": 9, "mov": 6, "mkv": 9, "ts": 5, "avi": 4, "images": 4, "m4v": 2, "webm": 2,
            "m2ts": 2, "gif": 2}  # fmt: skip

ANY_RATES = (*_FILM_RATES, "12", "15", "10", "5", "1", "5/2", "120", "240", "120000/1001", "48",
             "1000", "1200", "18", "2997/100", "23976/1000", "90000/3003")  # fmt: skip
_STANDARD_ONLY = ("mpeg1", "mpeg2")

NAMES = (
    "film", "Film: A Story", "100%", "pct%05d", "-dash", "--overwrite", "it's", 'say "so"', "a b c",
    "naïve café", "映画", "кино", "😀 film", "one\ntwo", "tab\there", "a&b;c|d", "$HOME", "`x`",
    "[x]{y}", "a,b=c", "back\\slash", "file:x", "http:", "pipe:1", "concat:a|b", "e\u0301tude",
    "हिन्दी फिल्म", ".hidden", "film.", "film.mp4", "..dots", "#1", "?", "*", "x" * 200, "y" * 240,
    "ж" * 110, "~", "@list", "a'b\"c", "film (1)", "C:film", "0", "movie.partial", "(ab", "x^y!",
)  # fmt: skip
TITLES = ("A Film", "Ein Film: über Bären", "映画 — 一", "say \"it's\"", "a=b;c#d\\e", "",
          "two\nlines", "café", " spaces ", "😀")  # fmt: skip
# Those that QuickTime's own list has as well: libav writes no others into .mov.
LANGUAGES = ("eng", "jpn", "hun", "ita", "pol", "")

# (a, b, c, d) of the display matrix: x' = a x + c y, y' = b x + d y.
TURNS = (
    (1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0),
    (-1, 0, 0, 1), (1, 0, 0, -1), (0, 1, 1, 0), (0, -1, -1, 0),
)  # fmt: skip

IMAGE_NAMES = (
    "{n}", "{n:05}", "frame_{n:04}", "scene2_{n:03}", "shot1_{n:04}_final", "img ({n})",
    "IMG_{n:04}-2", "2024-01-01_{n:04}", "{n:05}-{seed}", "frame{n:06}_x4", "{n:03}_{n2:03}",
    "render.{n:04}", "x264_{n}", "20240101_{clock}", "{n:04}_4k", "v2-{n:02}-1080p", "a{n}b{seed}c",
)  # fmt: skip
# Names in which several numbers could be the frame's: a refusal is right as well.
UNCLEAR_NAMES = ("{n:03}_{n2:03}", "20240101_{clock}", "a{n}b{seed}c", "{n:05}-{seed}")


@dataclass(frozen=True)
class Sound:
    """One sound track: a key of `SOUND`, samples a second, channels, language, title."""

    codec: str
    rate: int
    channels: int
    language: str = ""
    title: str = ""


@dataclass(frozen=True)
class Recipe:
    """All that decides a film and its result.

    Attributes:
        number: of the case.
        container, video: keys of `CONTAINERS` and `VIDEO`.
        pixels: libav's name of the stored pixels.
        size: (height, width) of the upright picture.
        rate: frames per second, as text of a fraction.
        frames: their number.
        every, extra, gap_at, gap: frame n comes after n + extra * (n // every) + gap * (n >=
            gap_at) units of 1 / rate.
        flashes: numbers of the frames that flash and beep.
        sounds: the tracks.
        picture_at, sound_at: seconds at which each begins.
        longer: seconds by which the sound is longer than the picture.
        turn: index into `TURNS`.
        crop: hidden pixels at (top, bottom, left, right), as stored.
        crop_by: "clap", "pixelcrop" or "codec".
        aspect: width of a pixel divided by its height, upright.
        fields: "", "tff" or "bff".
        cut: seconds from which an edit list shows the film.
        scales: (units a second of the picture's clock, of the movie's), 0 for ffmpeg's own.
        clock: seconds at which a transport stream's clock begins.
        held: further seconds of the last picture.
        has: of "cover", "text", "chapters", "data", "second", "programmes", "attachment",
            "fragments", "faststart", "encrypted", "tail" (joined from the middle of a stream).
        name: of the file, without its suffix.
        latin: whether the title is stored in Latin-1.
        images: pattern, first number, step and suffix of a folder of images.
        output: suffix of the result.
        relative: whether names are given to the commands without their folder.
    """

    number: int
    container: str
    video: str
    pixels: str = "yuv420p"
    size: tuple[int, int] = (90, 160)
    rate: str = "24"
    frames: int = 36
    every: int = 1
    extra: int = 0
    gap_at: int = 0
    gap: int = 0
    flashes: tuple[int, ...] = ()
    sounds: tuple[Sound, ...] = ()
    picture_at: float = 0
    sound_at: float = 0
    longer: float = 0
    turn: int = 0
    crop: tuple[int, int, int, int] = (0, 0, 0, 0)
    crop_by: str = ""
    aspect: str = "1"
    fields: str = ""
    cut: float = 0
    scales: tuple[int, int] = (0, 0)
    clock: float = 0
    held: float = 0
    has: tuple[str, ...] = ()
    name: str = "film"
    title: str = ""
    latin: bool = False
    images: tuple[str, int, int, str] = ("", 0, 1, "")
    output: str = ".mp4"
    relative: bool = False

    @property
    def variable(self) -> bool:
        """Return whether frames differ in length."""
        return bool(self.extra or self.gap)

    def units(self) -> list[int]:
        """Return the time of each frame in units of 1 / rate from the first."""
        return [
            n + self.extra * (n // self.every) + self.gap * (n >= self.gap_at)
            for n in range(self.frames)
        ]

    def describe(self) -> str:
        """Return the differences from the plainest film, in words."""
        plain = Recipe(self.number, self.container, self.video)
        changed = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in dataclasses.fields(self)
            if field.name not in ("number", "container", "video", "flashes", "frames")
            and getattr(self, field.name) != getattr(plain, field.name)
        ]
        return f"{self.container}, {self.video}; {', '.join(changed)}"


def _one(random: Random, choices: Sequence[Any]) -> Any:
    return choices[int(random.integers(len(choices)))]


def draw(seed: int, number: int, attempt: int = 0) -> Recipe:
    """Draw the film of a case; `attempt` counts those that could not be made before it."""
    random = np.random.default_rng([seed, number, attempt])
    weights = np.array([_WEIGHTS.get(name, 1) for name in CONTAINERS], float)
    name = list(CONTAINERS)[int(random.choice(len(weights), p=weights / weights.sum()))]
    kind = CONTAINERS[name]
    can = set(kind.can.split())

    def maybe(what: str, chance: float) -> bool:
        return bool(random.random() < chance) and what in can

    video = _one(random, kind.videos)
    base = video.split(",")[0]
    values: dict[str, Any] = {
        "number": number,
        "container": name,
        "video": video,
        "pixels": _one(random, PIXELS.get(base, ("yuv420p",))),
        "output": _one(random, (".mp4", ".mkv", ".mov", ".m4v")),
        "relative": bool(random.random() < 0.4),
        "name": _one(random, NAMES) if random.random() < 0.35 else "film",
    }
    if base == "h263":
        values["size"] = (144, 176)
    elif base == "dnxhd":
        values["size"] = (144, 256)
    elif base == "v210":
        values["size"] = (96, 192)
    elif random.random() < 0.2 and base not in ("cfhd", "svq1", "av1", "mpeg1", "mpeg2"):
        values["size"] = _one(random, ((120, 120), (160, 90), (96, 176), (102, 182)))
    standard = kind.rates or (_FILM_RATES if base in _STANDARD_ONLY else ())
    rates = [
        rate
        for rate in (standard or ANY_RATES)
        if not (kind.millisecond and Fraction(rate) > 300)
        and not (base in ("mpeg4", "msmpeg4", "h263", "wmv1", "wmv2", "flv1", "rv20")
                 and Fraction(rate).numerator > 65535)
    ]  # fmt: skip
    if base == "h263":
        rates = ["30000/1001"]
    rate = Fraction(values.setdefault("rate", _one(random, rates)))
    frames = max(min(round(rate * random.uniform(1.2, 2.4)), 70), 6)
    values["frames"] = frames = max(frames, 10) if rate >= 5 else frames
    if maybe("variable", 0.3) and base not in _STANDARD_ONLY:
        if random.random() < 0.6:
            values |= {"every": int(random.integers(2, 7)), "extra": int(random.integers(1, 4))}
        if random.random() < 0.6 or "every" not in values:
            values |= {"gap_at": int(random.integers(2, frames - 1)),
                       "gap": int(random.integers(1, max(rate * 2, 3)))}  # fmt: skip
    if name == "images":
        return _images(random, values)
    if kind.sounds and random.random() < 0.85:
        count = int(random.integers(1, 4)) if maybe("tracks", 0.25) else 1
        values["sounds"] = tuple(_sound(random, kind, can) for _ in range(count))
        values["longer"] = float(_one(random, (0, 0, 0.4, 1.0, -0.3)))
    if maybe("offset", 0.35):
        later = float(_one(random, (0.0117, 0.023, 0.08, 0.21, 0.5, 1.3)))
        values["picture_at" if random.random() < 0.5 else "sound_at"] = later
    if maybe("late", 0.05):
        values |= {"picture_at": 2.0, "sound_at": 2.25}
    _looks(random, maybe, values, base)
    if maybe("title", 0.4):
        values["title"] = _one(random, TITLES)
    if maybe("latin", 0.3):
        values |= {"title": "café", "latin": True}
    if maybe("scales", 0.3):
        # Not coarser than the frames.
        scales = [one for one in (90000, 48000, 12800, 1000000) if one % rate.numerator == 0]
        values["scales"] = (_one(random, [0, *scales]), _one(random, (600, 1000, 48000, 90000)))
    if maybe("clock", 0.4):
        values["clock"] = float(_one(random, (10, 5000, 95440, 95442.3)))
    has = [what for what, chance in (("cover", 0.08), ("text", 0.1), ("chapters", 0.12),
                                     ("data", 0.08), ("second", 0.08), ("programmes", 0.2),
                                     ("attachment", 0.08)) if maybe(what, chance)]  # fmt: skip
    if not values.get("crop_by") and maybe("fragments", 0.25):
        layouts = ["faststart", "fragments"]
        if video in ("h264", "h264, no B-frames") and not has and frames > 24:
            layouts += ["encrypted", "tail", "tail"]
        has.append(_one(random, layouts))
    plain = not {"picture_at", "sound_at"} & set(values) and not set(has) - {"faststart"}
    if plain and base in ("h264", "mpeg4", "prores", "png", "mjpeg") and maybe("edit", 0.2):
        values["cut"] = 0.3
    if plain and not values.get("cut") and maybe("held", 0.12):
        values["held"] = float(_one(random, (1, 3)))
    # A film holds the duration of the packet that is decoded last; with reordered frames that is
    # not the frame that is shown last.
    reordered = video in ("hevc", "h264, open groups")
    if values.get("held") and ("fragments" in has or reordered):
        values["held"] = 0.0
    values["has"] = tuple(has)
    return _with_flashes(random, Recipe(**values))


def _sound(random: Random, kind: Container, can: set[str]) -> Sound:
    codec = _one(random, kind.sounds)
    rate, channels = _one(random, SOUND[codec][1])
    if kind.suffix == ".mxf":
        rate = 48000
    if kind.suffix == ".3gp" and channels > 2:
        channels = 2
    if kind.suffix == ".flv":
        rate, channels = 44100, min(channels, 2)
    language = _one(random, LANGUAGES) if "languages" in can else ""
    return Sound(codec, rate, channels, language)


def _looks(random: Random, maybe: Any, values: dict[str, Any], base: str) -> None:
    """Draw how the picture is turned, cropped, stretched and interlaced."""
    if maybe("matrix", 0.35):
        values["turn"] = int(random.integers(1, 8))
    elif maybe("rotation", 0.2):
        values["turn"] = int(random.integers(1, 4))
    elif maybe("clap", 0.15) and base not in ("rawvideo", "v210", "dnxhd", "svq1"):
        values |= {"crop": _one(random, ((16, 14, 20, 20), (8, 22, 40, 0), (0, 30, 0, 40))),
                   "crop_by": "clap"}  # fmt: skip
    elif maybe("pixelcrop", 0.1) and base in ("h264", "hevc"):
        values |= {"crop": (16, 14, 20, 20), "crop_by": "pixelcrop"}
    elif base in ("h264", "hevc") and random.random() < 0.08:
        values |= {"crop": (6, 10, 4, 12), "crop_by": "codec", "size": (80, 144)}
    plain = values["pixels"] == "yuv420p" and not values.get("turn") and "crop_by" not in values
    if maybe("fields", 0.25) and base in FIELDS and plain:
        values |= {"fields": _one(random, ("tff", "bff")), "size": (96, 160)}
    if maybe("aspect", 0.2) and "crop_by" not in values:
        values["aspect"] = _one(random, ("4/3", "8/9", "64/45", "2", "10/11"))
        if values["container"] in ("mpg", "vob") or base in ("mpeg1", "mpeg2"):
            # Kept as the shape of the whole picture, of which there are few.
            height, width = values.get("size", (90, 160))
            values["aspect"] = str(Fraction(4, 3) * Fraction(height, width))


def _images(random: Random, values: dict[str, Any]) -> Recipe:
    pattern = _one(random, IMAGE_NAMES)
    first = int(_one(random, (0, 1, 5, 97, 1001, 86399)))
    step = int(_one(random, (1, 1, 1, 1, 2, 10)))
    suffix = _one(random, (".png", ".png", ".jpg", ".PNG", ".bmp", ".tif", ".webp", ".JPEG"))
    values |= {"images": (pattern, first, step, suffix), "frames": int(random.integers(8, 16)),
               "every": 1, "extra": 0, "gap": 0}  # fmt: skip
    return Recipe(**values)


def _with_flashes(random: Random, recipe: Recipe) -> Recipe:
    """Choose the frames that flash: while there is sound, not too near to each other."""
    unit = 1 / float(Fraction(recipe.rate))
    starts = [recipe.picture_at + one * unit for one in recipe.units()]
    first = max(recipe.sound_at, recipe.cut) + 0.06
    last = starts[-1] + unit + recipe.longer - 0.1
    places = [n for n, start in enumerate(starts) if first <= start <= last]
    chosen: list[int] = []
    for place in random.permutation(places):
        if all(abs(starts[place] - starts[one]) > 0.17 for one in chosen) and len(chosen) < 4:
            chosen.append(int(place))
    return dataclasses.replace(recipe, flashes=tuple(sorted(chosen)))
