"""Make the films of `recipes` with ffmpeg, and the truth about them."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.judging.player import UnreadableError, run_ffmpeg
from benchmarks.sound_codecs.beeping_films import Track, write_beeps
from benchmarks.structure.recipes import CONTAINERS, FIELDS, SOUND, TURNS, VIDEO, Recipe
from tests.helpers import mp4_patches
from tests.helpers.number_panel import draw_panel

Pictures = NDArray[np.uint8]

CHAPTERS = ((0.0, 0.5, "Beginning"), (0.5, 1.0, "Später: 二"))
HIDDEN = (0, 255, 0)
"""Colour of what is cropped."""

_BOXES = (".mp4", ".mov", ".m4v", ".f4v", ".3gp")
_STANDARD_ONLY = ("mpeg1", "mpeg2")
_KEY = "76a6c65c5ea762046bd749a2e632ccbb"
_STRAYS = ("notes.txt", "Thumbs.db", ".hidden.png")


@dataclass(frozen=True)
class Truth:
    """The film in a player.

    Attributes:
        numbers: on the frames, in order.
        seconds: time of each, from the first.
        first: time of the first on the file's clock, where that counts from 0; else None.
        rate: frames a second if constant, else None.
        size: (height, width) of the upright picture.
        aspect: width of a pixel divided by its height.
        flashes: indices of the frames that flash, where there is sound.
        length: seconds from the first frame to the end of the last, or None if unknown.
        chapters: begin, end and title of each.
        stream: of the picture, as of ffmpeg's -map; "" for ffmpeg's own choice.
        source: options of ffmpeg before its input.
    """

    numbers: list[int]
    seconds: list[Fraction]
    first: Fraction | None
    rate: Fraction | None
    size: tuple[int, int]
    aspect: Fraction
    flashes: list[int]
    length: Fraction | None
    languages: list[str]
    title: str
    chapters: Sequence[tuple[float, float, str]]
    stream: str = ""
    source: tuple[str, ...] = ()


def upright(recipe: Recipe) -> list[Pictures]:
    """Return the frames as shown: bright to the edges, each with its number."""
    height, width = recipe.size
    rows, columns = np.mgrid[:height, :width]
    pictures = []
    for number in range(recipe.frames):
        picture = np.empty((height, width, 3), np.uint8)
        picture[..., 0] = 90 + 60 * columns // width
        picture[..., 1] = 150 + 60 * rows // height
        picture[..., 2] = 120 + (number * 5) % 40
        draw_panel(picture, number, number in recipe.flashes)
        pictures.append(picture)
    return pictures


def stored(recipe: Recipe, picture: Pictures) -> Pictures:
    """Return a frame as the file holds it: turned back, with the hidden margins."""
    a, b, c, d = TURNS[recipe.turn]
    height, width = picture.shape[:2]
    rows, columns = (height, width) if a else (width, height)
    y, x = np.mgrid[:rows, :columns]
    across, down = a * x + c * y, b * x + d * y
    turned = picture[down - down.min(), across - across.min()]
    top, bottom, left, right = recipe.crop
    rows, columns = turned.shape[:2]
    whole = np.empty((rows + top + bottom, columns + left + right, 3), np.uint8)
    whole[:] = HIDDEN
    whole[top : top + rows, left : left + columns] = turned
    return whole


def make(recipe: Recipe, folder: Path) -> tuple[Path, Truth]:
    """Make a film in an empty folder; raise UnreadableError if ffmpeg does not."""
    if recipe.container == "images":
        return _make_images(recipe, folder)
    try:
        return _make_film(recipe, folder)
    except (UnreadableError, ValueError, IndexError, struct.error) as error:
        # ffmpeg's own words hold addresses and speeds: never the same twice.
        words = f"ffmpeg does not write {recipe.video} into {recipe.container}"
        raise UnreadableError(words) from error


def _make_images(recipe: Recipe, folder: Path) -> tuple[Path, Truth]:
    pattern, first, step, suffix = recipe.images
    random = np.random.default_rng(recipe.number)
    path = folder / recipe.name
    path.mkdir()
    for index, picture in enumerate(upright(recipe)):
        number = first + index * step
        seconds = 37000 + index * 61 + int(random.integers(50))
        clock = f"{seconds // 3600:02}{seconds // 60 % 60:02}{seconds % 60:02}"
        name = pattern.format(n=number, n2=number * 7 % 1000, clock=clock,
                              seed=int(random.integers(10**9, 4 * 10**9)))  # fmt: skip
        Image.fromarray(picture).save(path / f"{name}{suffix}", quality=96)
    for stray in _STRAYS[: int(random.integers(4))]:
        (path / stray).write_bytes(b"no picture")
    rate = Fraction(recipe.rate)
    seconds_of = [n / rate for n in range(recipe.frames)]
    return path, Truth(
        list(range(recipe.frames)), seconds_of, Fraction(0), rate, recipe.size, Fraction(1), [],
        recipe.frames / rate, [], "", (),
    )  # fmt: skip


def _make_film(recipe: Recipe, folder: Path) -> tuple[Path, Truth]:
    kind = CONTAINERS[recipe.container]
    path = folder / f"{recipe.name}{kind.suffix}"
    steps = folder / "steps"
    steps.mkdir()
    plain = steps / f"film{kind.suffix}"
    _encode(recipe, plain, steps)
    if recipe.crop_by == "pixelcrop":
        plain = _with_pixel_crop(recipe, plain, steps)
    if recipe.turn and kind.suffix == ".mkv":
        angle = {1: -90, 2: 180, 3: 90}[recipe.turn]
        turned = steps / "turned.mkv"
        run_ffmpeg("-display_rotation:v:0", angle, "-i", plain, "-map", 0, "-c", "copy", turned)
        plain = turned
    if recipe.cut:
        cut = steps / f"cut{kind.suffix}"
        run_ffmpeg("-ss", recipe.cut, "-i", plain, "-map", 0, "-c", "copy", *_scales(recipe), cut)
        plain = cut
    if kind.suffix in _BOXES:
        _change_boxes(recipe, plain)
    if "tail" in recipe.has:
        plain.write_bytes(_without_first_fragment(plain.read_bytes()))
    if recipe.latin:
        data = plain.read_bytes()
        plain.write_bytes(data.replace(b"cafZQ", b"caf\xe9\0"))
    plain.rename(path)
    return path, _truth(recipe)


def _scales(recipe: Recipe) -> list[object]:
    track, movie = recipe.scales
    options: list[object] = ["-video_track_timescale", track] if track else []
    return [*options, *(["-movie_timescale", movie] if movie else [])]


def _encode(recipe: Recipe, path: Path, steps: Path) -> None:
    """Encode all streams at once."""
    kind, rate = CONTAINERS[recipe.container], Fraction(recipe.rate)
    pictures = [stored(recipe, one) for one in upright(recipe)]
    height, width = pictures[0].shape[:2]
    inputs: list[object] = ["-f", "rawvideo", "-pixel_format", "rgb24", "-video_size",
                            f"{width}x{height}", "-framerate", rate, "-i", "-"]  # fmt: skip
    maps: list[object] = ["-map", "0:v"]
    options: list[object] = []
    picture_at, sound_at = recipe.picture_at, recipe.sound_at
    shift = -picture_at if recipe.video in _STANDARD_ONLY else 0.0
    moments = [picture_at + float(recipe.units()[n] / rate) for n in recipe.flashes]
    end = picture_at + float((recipe.units()[-1] + 1) / rate) + recipe.longer
    sources = 1
    for number, sound in enumerate(recipe.sounds):
        encoder = SOUND[sound.codec][0]
        wav = steps / f"{number}.wav"
        track = Track(encoder, sound.rate, sound.channels)
        write_beeps(wav, track, moments, sound_at, max(end, sound_at + 0.5))
        inputs += ["-itsoffset", sound_at + shift, "-i", wav]
        maps += ["-map", f"{sources}:a"]
        options += [f"-c:a:{number}", encoder]
        if sound.language:
            options += [f"-metadata:s:a:{number}", f"language={sound.language}"]
        sources += 1
    if recipe.has:
        sources = _add_streams(recipe, steps, inputs, maps, options, sources)
    options += _picture_options(recipe)
    if recipe.title:
        title = "cafZQ" if recipe.latin else recipe.title
        options += ["-metadata", f"title={title}"]
    options += [*kind.arguments.split(), *_scales(recipe), "-strict", "-2"]
    if recipe.clock:
        options += ["-output_ts_offset", recipe.clock]
    flags = {"faststart": "+faststart", "fragments": "frag_keyframe+empty_moov",
             "tail": "frag_keyframe+empty_moov+default_base_moof"}  # fmt: skip
    for what in recipe.has:
        if what in flags:
            options += ["-movflags", flags[what]]
    if "encrypted" in recipe.has:
        options += ["-encryption_scheme", "cenc-aes-ctr", "-encryption_key", _KEY,
                    "-encryption_kid", _KEY[::-1]]  # fmt: skip
    if recipe.container == "gif":
        options += ["-final_delay", round(100 * (recipe.held + float(1 / rate)))]
    data = b"".join(picture.tobytes() for picture in pictures)
    run_ffmpeg(*inputs, *maps, *options, path, data=data)


def _picture_options(recipe: Recipe) -> list[object]:
    """Return the filters, times and encoder of the first picture."""
    rate = Fraction(recipe.rate)
    filters = []
    if recipe.pixels.startswith("yuv") and recipe.container != "gif":
        spread = "pc" if recipe.video == "mjpeg" else "tv"
        filters.append(f"scale=out_color_matrix=smpte170m:out_range={spread}:flags=accurate_rnd")
    aspect = Fraction(recipe.aspect)
    if aspect != 1:
        if not TURNS[recipe.turn][0]:
            aspect = 1 / aspect
        filters.append(f"setsar={aspect.numerator}/{aspect.denominator}")
    if recipe.container == "gif":
        filters.append(
            "split[a][b];[a]palettegen=reserve_transparent=0[p];[b][p]paletteuse=dither=none"
        )
    if recipe.fields:
        filters.append(f"setfield={recipe.fields}")
    clock: list[object] = []
    offset = recipe.picture_at if recipe.video not in _STANDARD_ONLY else 0
    if offset or recipe.variable:
        at = Fraction(offset).limit_denominator(10000)
        ticks = lcm(rate.numerator, at.denominator)
        place = f"N+{recipe.extra}*floor(N/{recipe.every})+{recipe.gap}*gte(N,{recipe.gap_at})"
        filters.append(f"settb=1/{ticks},setpts='({place})*{int(ticks / rate)}+{int(at * ticks)}'")
        clock = ["-enc_time_base:v:0", f"1:{ticks}"]
    graph = ",".join(filters)
    base = recipe.video.split(",")[0]
    options: list[object] = [
        *(["-filter:v:0", graph] if graph else []), "-fps_mode:v:0", "passthrough", *clock,
        *(part.replace(":v", ":v:0") if part.startswith("-c:v") else part
          for part in VIDEO[recipe.video].split()),
        *(["-pix_fmt:v:0", recipe.pixels] if recipe.pixels != "pal8" else []),
    ]  # fmt: skip
    if recipe.fields:
        options += ["-flags:v:0", "+ildct+ilme", *FIELDS[base].format(recipe.fields).split()]
    if recipe.held:
        # mp4 lengthens what is decoded last: that must be what is shown last.
        options += ["-bf:v:0", "0"] if base in ("h264", "mpeg4", "mpeg2") else []
    if base == "hevc" and CONTAINERS[recipe.container].suffix in _BOXES:
        options += ["-tag:v:0", "hvc1"]
    if recipe.crop_by == "codec":
        top, bottom, left, right = recipe.crop
        crop = f"crop_top={top}:crop_bottom={bottom}:crop_left={left}:crop_right={right}"
        options += ["-bsf:v:0", f"{base}_metadata={crop}"]
    return options


def _add_streams(
    recipe: Recipe,
    steps: Path,
    inputs: list[Any],
    maps: list[Any],
    options: list[Any],
    sources: int,
) -> int:
    """Add streams other than the film's picture and sound; return the number of inputs."""
    suffix, tracks = CONTAINERS[recipe.container].suffix, len(recipe.sounds)
    pictures = 1
    if "second" in recipe.has:
        inputs += ["-f", "lavfi", "-i", "testsrc=s=64x48:r=10:d=1"]
        maps += ["-map", f"{sources}:v"]
        options += ["-c:v:1", "mpeg4", "-disposition:v:0", "default"]
        sources, pictures = sources + 1, 2
    if "programmes" in recipe.has:
        apart = (0, 1000, -700)[recipe.number % 3] + max(recipe.clock, 0)
        inputs += ["-itsoffset", apart, "-f", "lavfi", "-i", "testsrc=s=64x48:r=25:d=2"]
        inputs += ["-itsoffset", apart, "-f", "lavfi", "-i", "sine=440:d=2"]
        maps += ["-map", f"{sources}:v", "-map", f"{sources + 1}:a"]
        options += ["-c:v:1", "mpeg2video", f"-c:a:{tracks}", "mp2"]
        first = ":".join(f"st={n}" for n in range(1 + tracks))
        second = f"st={1 + tracks}:st={2 + tracks}"
        options += ["-program", f"title=one:{first}", "-program", f"title=two:{second}"]
        sources += 2
    if "cover" in recipe.has:
        cover = steps / "cover.png"
        Image.new("RGB", (400, 400), (200, 30, 30)).save(cover)
        if suffix == ".mkv":
            options += ["-attach", cover, "-metadata:s:t:0", "mimetype=image/png",
                        "-metadata:s:t:0", "filename=cover.png"]  # fmt: skip
        else:
            inputs += ["-i", cover]
            maps += ["-map", f"{sources}:v"]
            options += [f"-c:v:{pictures}", "copy", f"-disposition:v:{pictures}", "attached_pic"]
            sources += 1
    if "attachment" in recipe.has:
        note = steps / "note.txt"
        note.write_text("no font")
        number = int("cover" in recipe.has)
        options += ["-attach", note, f"-metadata:s:t:{number}", "mimetype=text/plain"]
    if "text" in recipe.has:
        words = steps / "words.srt"
        words.write_text("1\n00:00:00,100 --> 00:00:00,900\nI've seen things\n")
        inputs += ["-i", words]
        maps += ["-map", f"{sources}:s"]
        options += ["-c:s", "srt" if suffix == ".mkv" else "mov_text"]
        sources += 1
    if "chapters" in recipe.has:
        chapters = steps / "chapters.txt"
        parts = [
            f"[CHAPTER]\nTIMEBASE=1/1000\nSTART={round(1000 * begin)}\nEND={round(1000 * end)}\n"
            f"title={title}\n"
            for begin, end, title in CHAPTERS
        ]
        chapters.write_text(";FFMETADATA1\n" + "".join(parts), "utf-8")
        inputs += ["-i", chapters]
        options += ["-map_chapters", sources]
        sources += 1
    if "data" in recipe.has and recipe.rate in ("24", "25", "30", "50", "60"):
        options += ["-timecode", "01:00:00:00"]
    return sources


def _with_pixel_crop(recipe: Recipe, plain: Path, steps: Path) -> Path:
    """Return the .mkv with the crop that ffmpeg makes of an .mp4's clean aperture."""
    picture, cropped = steps / "picture.mp4", steps / "cropped.mkv"
    run_ffmpeg("-i", plain, "-map", "0:v:0", "-c", "copy", *_scales(recipe), picture)
    _hide(picture, recipe)
    run_ffmpeg("-i", picture, "-i", plain, "-map", "0:v", "-map", "1", "-map", "-1:v:0", "-c",
               "copy", cropped)  # fmt: skip
    return cropped


def _stored_size(recipe: Recipe) -> tuple[int, int]:
    top, bottom, left, right = recipe.crop
    height, width = recipe.size if TURNS[recipe.turn][0] else recipe.size[::-1]
    return height + top + bottom, width + left + right


def _hide(path: Path, recipe: Recipe) -> None:
    """Write the clean aperture of a recipe's crop into an .mp4."""
    top, bottom, left, right = recipe.crop
    height, width = recipe.size if TURNS[recipe.turn][0] else recipe.size[::-1]
    box = mp4_patches.clean_aperture(width, height, left - right, top - bottom)
    mp4_patches.with_box(path, path, box, codec="*")


def _change_boxes(recipe: Recipe, path: Path) -> None:
    if recipe.crop_by == "clap":
        _hide(path, recipe)
    if recipe.turn:
        a, b, c, d = TURNS[recipe.turn]
        height, width = _stored_size(recipe)
        # Pixels left of or above 0 are moved into the picture.
        right = width * (a < 0) + height * (c < 0)
        down = width * (b < 0) + height * (d < 0)
        mp4_patches.display_matrix(path, path, (a, b, c, d), shift=(right, down))
    if recipe.held:
        ticks = round(recipe.held * mp4_patches.clock_of(path))
        mp4_patches.lengthen_last_sample(path, ticks)


def _without_first_fragment(data: bytes) -> bytes:
    kept, at, fragments = [], 0, 0
    while at + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        fragments += name == b"moof"
        if fragments != 1 and name != b"mfra":
            kept.append(data[at : at + size])
        at += size
    return b"".join(kept)


def _truth(recipe: Recipe) -> Truth:
    rate, units = Fraction(recipe.rate), recipe.units()
    at = Fraction(recipe.picture_at).limit_denominator(10000)
    starts = [at + unit / rate for unit in units]
    skipped = 0
    if "tail" in recipe.has:
        skipped = 12
    if recipe.cut:
        cut = Fraction(recipe.cut).limit_denominator(1000)
        starts = [start - cut for start in starts]
        skipped = sum(start < 0 for start in starts)
    numbers = list(range(skipped, recipe.frames))
    starts = starts[skipped:]
    heard = recipe.sounds and recipe.flashes
    kind = CONTAINERS[recipe.container]
    # Without edit lists the clock of .f4v begins when the first frame is decoded.
    from_zero = {*_BOXES, ".mkv", ".webm"} - {".f4v"}
    clocked = kind.suffix in from_zero and recipe.video not in _STANDARD_ONLY
    length = None
    if not recipe.variable or recipe.held:
        length = starts[-1] - starts[0] + 1 / rate + Fraction(recipe.held)
    chapters = CHAPTERS if "chapters" in recipe.has else ()
    return Truth(
        numbers,
        [start - starts[0] for start in starts],
        starts[0] if clocked and "tail" not in recipe.has else None,
        None if recipe.variable else rate,
        recipe.size,
        Fraction(recipe.aspect),
        [n - skipped for n in recipe.flashes if n >= skipped] if heard else [],
        length,
        [sound.language for sound in recipe.sounds],
        recipe.title,
        chapters,
        "0:v:0" if {"programmes", "second", "cover"} & set(recipe.has) else "",
    )
