"""Films that change in the middle: bars, fields among whole frames, other sizes and shapes."""

import dataclasses
import io
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from bladerunner_ae.conversion.changes import changes
from bladerunner_ae.conversion.convert import convert_film, plan_conversion
from bladerunner_ae.conversion.encode import RecordPicture
from bladerunner_ae.conversion.facts import Facts
from bladerunner_ae.conversion.options import ConversionOptions
from bladerunner_ae.conversion.shard_items import Job, finish_film, make_item, plan_film
from bladerunner_ae.film.info import FilmInfo
from bladerunner_ae.film.picture.filters import build_graph
from bladerunner_ae.film.picture.scaling import FrameScaler
from bladerunner_ae.film.reading import probe
from bladerunner_ae.film.reading.frame_reader import FrameReader
from bladerunner_ae.film.reading.probe import probe_film
from tests.helpers.awkward_films import ffmpeg
from tfrecords.card import FilmCard, load_card
from tfrecords.framing import read_records
from tfrecords.schema import parse
from tfrecords.writer import FilmWriter

Picture = NDArray[np.uint8]
Pictures = list[Picture]
OPTIONS = ConversionOptions(height=96, width=160, num_shards=5, bars=(0, 0, 0, 0))
RATE = 25
# Frames of the passage of fields.
FIELDS = range(165, 185)
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", "16", "-bf", "2")
MPEG2 = ("-c:v", "mpeg2video", "-q:v", "2", "-bf", "2")
INTERLACED = {
    "h264": (*H264, "-x264-params", "tff=1"),
    "mpeg2": (*MPEG2, "-flags", "+ildct+ilme"),
}


def part(
    path: Path, frames: range, *codec: str, size: str = "160x96", filters: str = "null"
) -> Path:
    """A transport stream with some frames of a moving test picture."""
    fields = "tinterlace" in filters
    rate, unit = (2 * RATE, 2) if fields else (RATE, 1)
    chosen = f"trim=start_frame={unit * frames.start}:end_frame={unit * frames.stop}"
    source = f"testsrc2=size={size}:rate={rate}"
    filters = f"{chosen},setpts=PTS-STARTPTS,{filters}"
    begin = 10 + frames.start / RATE  # so late that no part is shifted to avoid negative times
    ffmpeg("-f", "lavfi", "-i", source, "-vf", filters, *codec, "-pix_fmt", "yuv420p", "-g", 12,
           "-output_ts_offset", begin, path)  # fmt: skip
    return path


def joined(path: Path, *parts: Path) -> Path:
    path.write_bytes(b"".join(one.read_bytes() for one in parts))
    return path


@pytest.fixture(scope="module", params=list(INTERLACED))
def mixed_file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve seconds of whole frames with less than one of fields in the middle."""
    folder = tmp_path_factory.mktemp("mixed")
    whole = {"h264": H264, "mpeg2": MPEG2}[request.param]
    return joined(
        folder / "film.ts",
        part(folder / "1.ts", range(FIELDS.start), *whole),
        part(folder / "2.ts", FIELDS, *INTERLACED[request.param],
             filters="scroll=h=0.03,tinterlace=interleave_top,setfield=tff"),
        part(folder / "3.ts", range(FIELDS.stop, 12 * RATE), *whole),
    )  # fmt: skip


@pytest.fixture
def mixed(mixed_file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same; none of the places that are probed is in the passage of fields.

    The places of a transport stream follow from its bytes, so from the encoder's version.
    """
    monkeypatch.setattr(probe, "are_interlaced", lambda *arguments: False)
    return mixed_file


def read(info: FilmInfo, **arguments: Any) -> Pictures:
    with FrameReader(info, **arguments) as reader:
        return [frame.image for frame in reader]


def with_the_filter_from_the_first_frame(info: FilmInfo) -> Pictures:
    """All frames, whole ones too, through the filter, without our reader."""
    scaler, made = FrameScaler(info.picture, info.picture.stored), []
    with av.open(str(info.path)) as container:
        frames = list(container.decode(video=0))
    graph = build_graph(frames[0], [("bwdif", "send_frame:deint=interlaced")])
    for frame in (*frames, None):
        graph.vpush(frame)
        with suppress(BlockingIOError, EOFError):
            while True:
                made.append(scaler.scale(graph.vpull()))
    return made


def combing(picture: NDArray[np.uint8]) -> float:
    """Difference of each row from the mean of its neighbours, in levels."""
    rows = picture.astype(np.float32)
    return float(np.abs(rows[1:-1] - (rows[:-2] + rows[2:]) / 2).mean())


def test_fields_between_the_places_that_are_probed(mixed: Path) -> None:
    info = probe_film(mixed)
    assert not info.interlaced and info.deinterlace
    found = read(info)
    left = read(dataclasses.replace(info, deinterlace=False))
    changed = [number for number in range(300) if not np.array_equal(found[number], left[number])]
    assert changed == list(FIELDS)
    for number in FIELDS[1:-1]:
        assert combing(found[number]) < 0.6 * combing(left[number])


def test_as_if_found_interlaced_from_the_start(mixed: Path) -> None:
    info = probe_film(mixed)
    reference = with_the_filter_from_the_first_frame(info)
    known = read(dataclasses.replace(info, interlaced=True))
    found = read(info)
    assert len(found) == 300
    for one, other, third in zip(found, known, reference, strict=True):
        assert np.array_equal(one, other) and np.array_equal(one, third)


def convert(
    film: Path, output: Path, options: ConversionOptions = OPTIONS, **rest: Any
) -> FilmCard:
    return convert_film(plan_conversion(film, output, options), **rest)


def test_records_do_not_depend_on_how_it_is_found_out(
    mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = convert(mixed, tmp_path / "one", threads=1)
    assert card.notes == [
        f"{len(FIELDS)} frames are interlaced, the first at 6.6 s; one whole frame is made of each "
        "pair of fields",
        "read in a single pass: deinterlacing needs the frames before and behind each",
    ]
    assert convert(mixed, tmp_path / "four", threads=4) == card
    known = plan_conversion(mixed, tmp_path / "known", OPTIONS)
    known = dataclasses.replace(known, info=dataclasses.replace(known.info, interlaced=True))
    assert convert_film(known).shards == card.shards

    # Killed in the middle of the passage, and again behind it.
    write = FilmWriter.write
    for stop in (171, 230):

        def dies(self: FilmWriter, *arguments: Any, stop: int = stop) -> None:
            if self.frames == stop:
                raise KeyboardInterrupt
            write(self, *arguments)

        monkeypatch.setattr(FilmWriter, "write", dies)
        with pytest.raises(KeyboardInterrupt):
            convert(mixed, tmp_path / "killed", threads=2)
    monkeypatch.setattr(FilmWriter, "write", write)
    assert convert(mixed, tmp_path / "killed", threads=3) == card


def by_items(film: Path, output: Path) -> FilmCard:
    """As Beam converts it."""
    call = Job("one", output, OPTIONS)
    items = plan_film(film, call)
    assert len(items) == OPTIONS.num_shards
    return finish_film(items[0], [make_item(item, call) for item in items], call)


def test_records_made_apart(mixed: Path, tmp_path: Path) -> None:
    assert by_items(mixed, tmp_path / "items") == convert(mixed, tmp_path / "whole")
    assert load_card(tmp_path / "items" / "film").frames == 300


def test_fields_are_left_if_asked(mixed: Path, tmp_path: Path) -> None:
    options = dataclasses.replace(OPTIONS, deinterlace="off")
    card = convert(mixed, tmp_path, options)
    assert card.notes == [
        f"{len(FIELDS)} frames are interlaced, the first at 6.6 s; their fields are left as they "
        "are"
    ]
    assert card.shards != convert(mixed, tmp_path, OPTIONS, overwrite=True).shards


def pictures(card: FilmCard, folder: Path) -> Pictures:
    records = [parse(one) for shard in card.shards for one in read_records(folder / shard.name)]
    return [np.asarray(Image.open(io.BytesIO(one.encoded)).convert("RGB")) for one in records]


SIZE = "its size changes on the way (at 2.0 s, 96x160 to {}): brought to the first"
PIXELS = "its pixels change their shape on the way (at 2.0 s, {} to {}): brought to the first"
IN_SHAPE = ", in shape, with black margins"
SHAPES: dict[str, tuple[tuple[str, str], tuple[str, str], list[str], tuple[int, int]]] = {
    "size": (("160x96", "1"), ("320x192", "1"), [SIZE.format("192x320")], (0, 0)),
    # 4:3 to 16:9 and back
    "wider": (("160x96", "4/5"), ("160x96", "16/15"),
              [PIXELS.format("4:5", "16:15") + IN_SHAPE], (12, 0)),
    "narrower": (("160x96", "16/15"), ("320x240", "1"),
                 [SIZE.format("240x320") + IN_SHAPE, PIXELS.format("16:15", "1:1") + IN_SHAPE],
                 (0, 20)),
}  # fmt: skip


SHAPE_CODECS = [
    pytest.param(H264, id="h264"),
    pytest.param(MPEG2, id="mpeg2", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("codec", SHAPE_CODECS)
def test_another_shape_on_the_way(tmp_path: Path, kind: str, codec: tuple[str, ...]) -> None:
    before, after, notes, margins = SHAPES[kind]
    film = joined(tmp_path / "film.ts", *(
        part(tmp_path / f"{number}.ts", range(50 * number, 50 * number + 50), *codec, size=size,
             filters=f"gblur=3,setsar={aspect}")
        for number, (size, aspect) in enumerate((before, after))
    ))  # fmt: skip
    options = dataclasses.replace(OPTIONS, image_format="png", fit="stretch")
    card = convert(film, tmp_path / "a", options, threads=1)
    # Where its size changes, the MPEG-2 decoder loses the frame that it holds back.
    lost = kind != "wider" and codec is MPEG2
    found = [note for note in card.notes if "bars" not in note]
    assert found[: len(notes)] == notes and (len(found) > len(notes)) == lost
    assert convert(film, tmp_path / "b", options, threads=4) == card
    first, second = (pictures(card, tmp_path / "a" / "film")[number] for number in (25, 75 - lost))
    assert card.frames == 100 - lost
    # Margins are black to the pixel, and the picture begins behind them.
    above, beside = margins
    inner = second[above : 96 - above, beside : 160 - beside]
    outside = second.copy()
    outside[max(above - 4, 0) : 100 - above, max(beside - 4, 0) : 164 - beside] = 0
    assert outside.max() == 0
    for number, picture in enumerate((first, inner)):
        height, width = picture.shape[:2]
        alone = read(probe_film(tmp_path / f"{number}.ts"), size=(height, width))[25]
        assert np.abs(picture.astype(int) - alone).mean() < 3


def coded(folder: Path, number: int, matrix: str, light: str = "bt709") -> Path:
    """A part in which half of the picture is red, coded by some matrix and tagged so."""
    red = f"drawbox=w=80:color=0xc03020:t=fill,scale=out_color_matrix={matrix}:out_range=tv"
    primaries = "bt2020" if light == "smpte2084" else light
    tags = f"colorspace={matrix}:range=tv:color_primaries={primaries}:color_trc={light}"
    return part(folder / f"{number}.ts", range(50 * number, 50 * number + 50), *H264,
                filters=f"{red},setparams={tags}")  # fmt: skip


def test_other_colours_on_the_way(tmp_path: Path) -> None:
    parts = [coded(tmp_path, number, tag) for number, tag in enumerate(("smpte170m", "bt709"))]
    film = joined(tmp_path / "film.ts", *parts)
    card = convert(film, tmp_path / "a", threads=1)
    assert card.notes == [
        "its colours change on the way (at 2.0 s, bt601, limited range to bt709, limited range): "
        "each part is read by its own"
    ]
    assert convert(film, tmp_path / "b", threads=4) == card
    made = pictures(card, tmp_path / "a" / "film")
    first, second = (made[number][30:60, 20:60].mean((0, 1)) for number in (25, 75))
    assert np.abs(first - second).max() < 5  # 13 if the second were read as the first
    assert np.abs(first - (0xC0, 0x30, 0x20)).max() < 5


def test_another_light_on_the_way(tmp_path: Path) -> None:
    parts = coded(tmp_path, 0, "bt709"), coded(tmp_path, 1, "bt2020nc", "smpte2084")
    assert convert(joined(tmp_path / "film.ts", *parts), tmp_path).notes == [
        "its colours change on the way (at 2.0 s, bt709, limited range to bt2020, limited range): "
        "each part is read by its own",
        "its light changes on the way (at 2.0 s, bt709 bt709 to bt2020 pq): all is shown as the "
        "first",
    ]


def picture(top: int = 0, left: int = 0, brightness: int = 200) -> Picture:
    """Noise of 90x160 inside bars of so many rows and columns on both sides."""
    image = np.zeros((90, 160, 3), np.uint8)
    inside = image[top : 90 - top, left : 160 - left]
    inside[:] = np.random.default_rng(0).integers(brightness // 2, brightness, inside.shape)
    return image


BLACK = np.zeros((90, 160, 3), np.uint8)
BARS = {
    "rows": ([picture(top=9)] * 30 + [picture()] * 10, "75 % of the frames have bars of 10 % above "
             "and below"),
    "columns": ([picture(left=16)] * 20 + [picture()] * 20, "50 % of the frames have bars of 10 % "
                "on the left and right"),
    "wider than permanent": ([picture(top=18)] * 20 + [picture(top=9)] * 20, "50 % of the frames "
                             "have bars of 10 % above and below"),
    "none": ([picture()] * 40, ""),
    "permanent rows": ([picture(top=9)] * 40, ""),
    "permanent columns": ([picture(left=20)] * 40, ""),
    "dark": ([picture(top=9, brightness=24)] * 40, ""),
    "black": ([BLACK] * 40, ""),
    "fade": ([BLACK] * 20 + [picture()] * 20, ""),
    "chance": ([picture()] * 99 + [picture(top=9)], ""),
    "titles": ([picture()] * 20 + [picture(top=40)] * 20, ""),
    "ragged edge": ([picture()] * 20 + [picture(top=1)] * 20, ""),
}  # fmt: skip


@pytest.mark.parametrize("kind", BARS)
def test_note_on_bars_that_come_and_go(synthetic_film: Path, kind: str) -> None:
    images, words = BARS[kind]
    info, facts = probe_film(synthetic_film), Facts()
    for number, image in enumerate(images):
        facts.add(number, RecordPicture(b"", info.picture.first, False, image), 0)
    note = f"black bars come and go: {words}; the largest picture is kept"
    assert list(map(str, changes(facts, info))) == ([note] if words else [])
