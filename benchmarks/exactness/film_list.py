"""Films that are awkward in every way films are, each made by ffmpeg from frames with numbers.

All are copies of three lossless films: of whole frames, of fields (twice as many pictures, each
number twice), and one of an odd size.
"""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import imageio_ffmpeg

from tests.helpers.awkward_films import ffmpeg, film_of
from tests.helpers.number_panel import draw_panel
from tests.helpers.synthetic_film import film_pictures, frame_times

FRAMES, HEIGHT, WIDTH, RATE = 48, 180, 320, Fraction(24)
NTSC = Fraction(24000, 1001)

H264 = "-c:v libx264 -preset ultrafast -bf 2 -g 12 -crf 12"
HEVC = "-c:v libx265 -preset ultrafast -crf 12 -x265-params log-level=none:keyint=12:min-keyint=12"
_FIELDS = "tinterlace=interleave_{},setfield={},scale=interl=1,format=yuv420p"
_INTERLACED = "-flags +ildct+ilme -c:v libx264 -preset ultrafast -crf 12 -g 12 -x264-params {}=1"
_MASTERING = (
    ":hdr10=1:master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(6000000,50)"
    ":max-cll=600,400"
)
_BARS = 16


@dataclass(frozen=True)
class Film:
    """An awkward film.

    Attributes:
        name: what is awkward.
        file: name of its file or folder.
        arguments: ffmpeg's, for each step of making it.
        numbers: the numbers on its frames as shown, or None where fields of two frames meet.
        seconds: when each of these frames is shown, counted from the first.
        bars: rows at (top, bottom) that are black all along.
        interlaced: whether a display deinterlaces it.
        peak_nits: the brightest light of a film of high dynamic range, else None.
        untimed: whether its container has no times, so that only distances can be compared.
        input: what ffmpeg needs to read it.
    """

    name: str
    file: str
    arguments: tuple[str, ...]
    numbers: Sequence[int] | None = range(FRAMES)
    seconds: tuple[Fraction, ...] = tuple(frame_times(FRAMES, RATE))
    bars: tuple[int, int] = (0, 0)
    interlaced: bool = False
    peak_nits: int | None = None
    untimed: bool = False
    input: str = ""


def tagged(matrix: str, spread: str = "tv", primaries: str = "", transfer: str = "") -> str:
    """Return filters that make YCbCr of RGB and tag it."""
    return (
        f"scale=out_color_matrix={matrix}:out_range={spread}:flags=accurate_rnd,"
        f"setparams=colorspace={matrix}:range={spread}:color_primaries={primaries or matrix}:"
        f"color_trc={transfer or matrix}"
    )


BT709, BT601 = tagged("bt709"), tagged("smpte170m")
HIGH = {
    transfer: tagged("bt2020nc", "tv", "bt2020", transfer)
    for transfer in ("smpte2084", "arib-std-b67")
}


def _film(name: str, file: str, encode: str = H264, filters: str = BT709, **rest: Any) -> Film:
    """A copy of the film of whole frames, 8 bits 4:2:0 unless `encode` says otherwise."""
    pixels = "" if "-pix_fmt" in encode else "-pix_fmt yuv420p"
    return Film(name, file, (f"-i master.mkv -vf {filters} {pixels} {encode}",), **rest)


def _interlaced(name: str, file: str, order: str, encode: str) -> Film:
    filters = _FIELDS.format("top" if order == "tff" else "bottom", order)
    return Film(name, file, (f"-i fields.mkv -vf {BT601},{filters} {encode}",), interlaced=True)


def _turned(degrees: int, suffix: str, filters: str) -> Film:
    """An upright film, stored lying; players turn it counterclockwise."""
    return Film(
        f"rotation {degrees}",
        f"rotated{degrees}.{suffix}",
        (
            f"-noautorotate -display_rotation {degrees} -i master.mkv -vf scale=180:320,{filters},"
            f"{BT709} -pix_fmt yuv420p {H264}",
        ),
    )


def _two_steps(name: str, file: str, first: str, second: str, **rest: Any) -> Film:
    """Made first as an .mkv, `FIRST` in the second step."""
    return Film(name, file, (f"-i master.mkv -vf {BT709} -pix_fmt yuv420p {first}", second), **rest)


_VARIABLE = f"{BT709},settb=1/24,setpts=N+floor(N/3) -fps_mode passthrough -enc_time_base 1:24"
_SOUND = "-f lavfi -i sine=r=48000:d=2 -map 0:v -map 1:a"
_PAL = "setsar=64/45,setparams=colorspace=bt470bg:color_primaries=bt470bg:color_trc=bt470bg"

FILMS: tuple[Film, ...] = (
    _film("constant rate, B-frames, mp4", "cfr.mp4"),
    _film("no B-frames", "no_b.mp4", f"{H264} -bf 0"),
    Film("24000/1001", "ntsc.mp4",
         (f"-r {NTSC} -i master.mkv -vf {BT709} -pix_fmt yuv420p {H264}",),
         seconds=tuple(frame_times(FRAMES, NTSC))),
    Film("24000/1001, mkv", "ntsc_mkv.mkv",
         (f"-r {NTSC} -i master.mkv -vf {BT709} -pix_fmt yuv420p {H264}",),
         seconds=tuple(frame_times(FRAMES, NTSC))),
    _film("variable rate", "vfr.mp4", filters=_VARIABLE,
          seconds=tuple(frame_times(FRAMES, RATE, variable_rate=True))),
    _film("variable rate, mkv", "vfr_mkv.mkv", filters=_VARIABLE,
          seconds=tuple(frame_times(FRAMES, RATE, variable_rate=True))),
    _film("open GOP, H.264", "open_h264.mp4",
          f"{H264} -x264-params open-gop=1:keyint=12:bframes=3:b-adapt=0"),
    _film("open GOP, H.264, ts", "open_h264_ts.ts",
          f"{H264} -x264-params open-gop=1:keyint=12:bframes=3:b-adapt=0"),
    _film("open GOP, HEVC", "open_hevc.mkv", f"{HEVC}:open-gop=1:bframes=3:b-adapt=0"),
    _film("closed GOP, HEVC", "hevc.mp4", f"{HEVC}:open-gop=0 -tag:v hvc1"),
    _two_steps("edit list", "edit_list.mp4", H264, "-ss 0.9 -i FIRST -c copy",
               numbers=range(22, FRAMES)),
    Film("late video start", "late.mp4",
         (f"-itsoffset 0.5 -i master.mkv {_SOUND} -vf {BT709} -pix_fmt yuv420p {H264}",)),
    _turned(90, "mp4", "transpose=clock"),
    _turned(180, "mov", "hflip,vflip"),
    _turned(270, "mp4", "transpose=cclock"),
    _film("pixels of 4:3", "aspect.mp4", filters=f"{BT709},setsar=4/3"),
    _film("pixels of 8:9", "narrow.mkv", filters=f"{BT709},setsar=8/9"),
    _film("odd size 853x479, VP9", "odd.webm",
          "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -crf 10 -b:v 0 -g 12",
          f"scale=853:479:flags=bicubic:out_color_matrix=bt709:out_range=tv,{BT709}"),
    _film("10 bit", "bit10.mp4", f"{H264} -pix_fmt yuv420p10le"),
    _film("12 bit, HEVC", "bit12.mkv", f"{HEVC} -pix_fmt yuv420p12le"),
    _film("4:2:2", "422.mp4", f"{H264} -pix_fmt yuv422p"),
    _film("4:2:2, 10 bit", "422_10.mov", f"{H264} -pix_fmt yuv422p10le"),
    _film("4:4:4", "444.mp4", f"{H264} -pix_fmt yuv444p"),
    _film("4:1:1", "411.mkv", "-c:v ffv1 -pix_fmt yuv411p"),
    _film("gray", "gray.mp4", f"{H264} -pix_fmt gray", numbers=None),
    _film("BT.601", "bt601.mp4", filters=BT601),
    _film("BT.601, PAL's", "bt470.mp4", filters=tagged("bt470bg", "tv")),
    _film("BT.2020, SDR", "bt2020.mkv", f"{HEVC} -pix_fmt yuv420p10le",
          tagged("bt2020nc", "tv", "bt709", "bt709")),
    _film("no colour tags", "untagged.mkv",
          filters="scale=out_color_matrix=smpte170m:out_range=tv,setparams=colorspace=unknown"),
    _film("full range", "full.mp4", f"{H264} -pix_fmt yuvj420p", tagged("bt709", "pc")),
    _film("RGB", "rgb.mkv", "-c:v libx264rgb -preset ultrafast -qp 0 -g 12 -pix_fmt rgb24", "null"),
    _film("HDR10 (PQ)", "pq.mkv", f"{HEVC} -pix_fmt yuv420p10le", HIGH["smpte2084"],
          peak_nits=1000),
    _film("HDR10 (PQ), peak of 600 nits", "pq_600.mp4",
          f"{HEVC}{_MASTERING} -pix_fmt yuv420p10le", HIGH["smpte2084"], peak_nits=600),
    _film("HLG", "hlg.mp4", f"{HEVC} -pix_fmt yuv420p10le", HIGH["arib-std-b67"], peak_nits=1000),
    _interlaced("interlaced, top field first", "tff.mp4", "tff", _INTERLACED.format("tff")),
    _interlaced("interlaced, bottom field first", "bff.mp4", "bff", _INTERLACED.format("bff")),
    _interlaced("interlaced, MPEG-2, ts", "mpeg2_tff.ts", "tff",
                "-flags +ildct+ilme -c:v mpeg2video -q:v 2 -bf 2 -g 12"),
    Film("telecined", "telecined.mkv",
         (f"-i master.mkv -vf {BT601},telecine=pattern=23,setfield=tff,scale=interl=1,"
          f"format=yuv420p {_INTERLACED.format('tff')}",),
         numbers=None, seconds=tuple(frame_times(60, Fraction(30))), interlaced=True),
    Film("whole frames, then fields, MPEG-2", "mixed.ts", (
        "-i master.mkv -frames:v 24 -c:v mpeg2video -q:v 2 -bf 2 -g 12 -pix_fmt yuv420p -vf "
        + BT601,
        f"-ss 1 -i fields.mkv -vf {BT601},{_FIELDS.format('top', 'tff')} "
        "-output_ts_offset 1.0416667 -flags +ildct+ilme -c:v mpeg2video -q:v 2 -bf 2 -g 12",
    ), interlaced=True),
    Film("two pictures, the larger is the second", "two.mkv",
         (f"-i master.mkv -filter_complex [0:v]{BT709},split[a][b];[a]negate,scale=160:90[c] "
          f"-map [c] -map [b] -pix_fmt yuv420p {H264} -disposition:v 0",)),
    Film("two pictures, the smaller is the default", "default.mkv",
         (f"-i master.mkv -filter_complex [0:v]{BT709},split[a][b];[a]negate,scale=640:360[c] "
          f"-map [c] -map [b] -pix_fmt yuv420p {H264} -disposition:v:0 0 -disposition:v:1 "
          "default",)),
    Film("5.1 sound", "surround.mp4",
         (f"-i master.mkv {_SOUND} -ac 6 -vf {BT709} -pix_fmt yuv420p {H264}",)),
    Film("cover art beside the film", "cover.mp4",
         (f"-i master.mkv -i cover.png {_SOUND.replace('1:a', '2:a')} -map 1:v "
          f"-filter:v:0 {BT709} {H264} -pix_fmt:v:0 yuv420p -c:v:1 png "
          "-disposition:v:1 attached_pic",)),
    _film("black bars", "bars.mp4", bars=(_BARS, _BARS),
          filters=f"scale={WIDTH}:{HEIGHT - 2 * _BARS},pad={WIDTH}:{HEIGHT}:0:{_BARS},{BT709}"),
    _film("bars that go half way", "bars_go.mp4",
          filters=f"drawbox=t=fill:c=black:h={_BARS}:enable='lt(n,24)',drawbox=t=fill:c=black:"
          f"y={HEIGHT - _BARS}:h={_BARS}:enable='lt(n,24)',{BT709}"),
    _film("H.264, ts", "h264.ts"),
    _film("H.264, flv", "h264.flv"),
    _film("H.264, avi", "h264.avi", untimed=True),
    _film("VP9, webm", "vp9.webm",
          "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -crf 10 -b:v 0 -g 12"),
    _film("AV1, mp4", "av1.mp4", "-c:v libsvtav1 -preset 8 -crf 4 -g 12 -pix_fmt yuv420p10le"),
    _film("MPEG-2, PAL DVD, pixels of 64:45", "dvd.vob",
          "-r 25 -f dvd -c:v mpeg2video -q:v 2 -bf 2 -g 12",
          f"scale=720:576:flags=bicubic:out_color_matrix=bt470bg:out_range=tv,{_PAL},setpts=N/25/TB",
          seconds=tuple(frame_times(FRAMES, Fraction(25)))),
    _film("MPEG-4 ASP, avi", "asp.avi", "-c:v mpeg4 -q:v 2 -bf 2 -g 12", BT601, untimed=True),
    _film("ProRes 4:2:2, mov", "prores.mov", "-c:v prores_ks -pix_fmt yuv422p10le"),
    _film("FFV1, mkv", "ffv1.mkv", "-c:v ffv1 -pix_fmt yuv420p"),
    _film("MJPEG, avi", "mjpeg.avi", "-c:v mjpeg -q:v 2 -pix_fmt yuvj420p",
          tagged("bt470bg", "pc")),
    _film("WMV 8, wmv", "wmv2.wmv", "-c:v wmv2 -q:v 2 -g 12", BT601),
    Film("numbered images", "images", ("-i master.mkv -start_number 5",),
         input="-framerate 24 -start_number 5"),
)  # fmt: skip


def make_masters(folder: Path) -> None:
    """Write the lossless films that all others are made of."""
    pictures = list(film_pictures(FRAMES, HEIGHT, WIDTH))
    film_of(folder / "master.mkv", pictures)
    fields = list(film_pictures(2 * FRAMES, HEIGHT, WIDTH, flash_every=None))
    for number, picture in enumerate(fields):
        draw_panel(picture, number // 2, flash=False)
    film_of(folder / "slow.mkv", fields)
    ffmpeg("-r", 2 * RATE, "-i", folder / "slow.mkv", "-c:v", "ffv1", "-pix_fmt", "gbrp",
           folder / "fields.mkv")  # fmt: skip
    ffmpeg("-i", folder / "master.mkv", "-vf", "negate", "-frames:v", 1, folder / "cover.png")


def make(film: Film, folder: Path) -> Path:
    """Make a film in the folder with the masters; return its path."""
    path = folder / film.file
    if film.file == "images":
        path.mkdir(exist_ok=True)
        _step(film.arguments[0], folder, path / "%04d.png")
    elif film.file == "mixed.ts":
        parts = [folder / f"part{number}.ts" for number in range(2)]
        for arguments, part in zip(film.arguments, parts, strict=True):
            _step(arguments, folder, part)
        path.write_bytes(b"".join(part.read_bytes() for part in parts))
    else:
        first = folder / f"first_{path.stem}.mkv"
        for arguments, output in zip(
            film.arguments, (first, path)[-len(film.arguments) :], strict=True
        ):
            _step(arguments.replace("FIRST", str(first)), folder, output)
    return path


def _step(arguments: str, folder: Path, output: Path) -> None:
    """Run ffmpeg in the folder; no argument has a space in it."""
    program = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-y"]
    subprocess.run(
        [*program, *arguments.split(), str(output)],
        cwd=folder,
        check=True,
        stdin=subprocess.DEVNULL,
    )
