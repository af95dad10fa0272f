"""Streams of a file that are the film; no other stream changes it."""

from fractions import Fraction
from pathlib import Path

import pytest

from bladerunner_ae.film.headers.transport_tables import read_tables
from bladerunner_ae.film.reading.frame_reader import FrameReader
from bladerunner_ae.film.reading.probe import probe_film
from bladerunner_ae.film.reading.streams import Reason
from tests.helpers.awkward_films import convert, ffmpeg

_PICTURE = ["-c:v", "mpeg2video", "-q:v", "3", "-c:a", "mp2"]


@pytest.fixture(scope="module")
def two_programmes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A transport stream: a programme of 2 s at 5,000 s, and a smaller one of 3 s at 0 s."""
    film = tmp_path_factory.mktemp("programmes") / "two.ts"
    ffmpeg(
        "-itsoffset", 5000, "-f", "lavfi", "-i", "testsrc2=s=160x96:r=25:d=2",
        "-itsoffset", 5000, "-f", "lavfi", "-i", "sine=d=2",
        "-f", "lavfi", "-i", "testsrc=s=96x64:r=25:d=3", "-f", "lavfi", "-i", "sine=440:d=3",
        "-map", "0:v", "-map", "1:a", "-map", "2:v", "-map", "3:a", *_PICTURE,
        "-program", "title=one:st=0:st=1", "-program", "title=two:st=2:st=3", film,
    )  # fmt: skip
    return film


def test_only_the_programme_of_the_picture_is_the_film(two_programmes: Path) -> None:
    info = probe_film(two_programmes)
    assert (info.picture.stored, info.streams.picture, info.streams.sound) == ((96, 160), 0, (1,))
    assert [(one.index, one.reason) for one in info.streams.left_out] == [
        (2, Reason.OTHER_PROGRAMME),
        (3, Reason.OTHER_PROGRAMME),
    ]
    assert [stream.get("left_out") for stream in info.streams.described] == [
        None, None, "of another programme", "of another programme",
    ]  # fmt: skip
    assert 5000 < info.timing.film_start < 5002
    assert info.timing.duration is not None and abs(info.timing.duration - 2) < Fraction(1, 10)
    assert info.timing.frames_estimate == 50
    assert any("streams of others are left out: 2, 3" in note for note in map(str, info.notes))


def test_a_programme_is_read_on_its_own_clock(two_programmes: Path) -> None:
    info = probe_film(two_programmes)
    with FrameReader(info) as reader:
        frames = list(reader)
    # Nothing is missing, though the other programme goes on for a second.
    assert (len(frames), reader.problem, reader.jumps) == (50, None, None)
    assert reader.end_pts == frames[-1].pts + 3600
    with FrameReader(info, start=Fraction(1), duration=Fraction(1, 2)) as reader:
        part = list(reader)
    assert 11 <= len(part) <= 13 and part[0].pts >= frames[24].pts


def test_sound_that_programmes_share_belongs_to_both(tmp_path: Path) -> None:
    film = tmp_path / "shared.ts"
    ffmpeg(
        "-f", "lavfi", "-i", "testsrc2=s=160x96:r=25:d=1", "-f", "lavfi", "-i", "sine=d=1",
        "-f", "lavfi", "-i", "testsrc=s=96x64:r=25:d=1", "-map", "0", "-map", "1", "-map", "2",
        *_PICTURE, "-program", "st=0:st=1", "-program", "st=1:st=2", film,
    )  # fmt: skip
    assert sorted(map(sorted, read_tables(film).programmes.values())) == [[256, 257], [257, 258]]
    info = probe_film(film)
    assert info.streams.sound == (1,)
    assert [one.index for one in info.streams.left_out] == [2]


@pytest.mark.parametrize("size", [192, 204])
def test_tables_of_larger_packets_behind_something_foreign(
    size: int, two_programmes: Path, tmp_path: Path
) -> None:
    packets = two_programmes.read_bytes()
    film = tmp_path / "larger.ts"
    padding = bytes(size - 188)
    film.write_bytes(
        b"foreign" * 30
        + b"".join(packets[at : at + 188] + padding for at in range(0, len(packets), 188))
    )
    assert read_tables(film).programmes == read_tables(two_programmes).programmes


def test_a_file_that_is_no_transport_stream_has_no_tables(synthetic_film: Path) -> None:
    assert read_tables(synthetic_film).programmes == {}


def test_everything_that_is_left_out_is_named(synthetic_film: Path, tmp_path: Path) -> None:
    (words, font, cover) = (tmp_path / name for name in ("words.srt", "font.ttf", "cover.png"))
    words.write_text("1\n00:00:00,000 --> 00:00:01,000\nTime to die\n")
    font.write_bytes(b"no font")
    ffmpeg("-f", "lavfi", "-i", "color=s=32x32", "-frames:v", 1, cover)
    film = convert(
        synthetic_film, tmp_path / "film.mkv", "-i", words, "-map", "0", "-map", "1",
        "-c", "copy", "-metadata:s:s:0", "language=deu", "-metadata:s:s:0", "title=Signs",
        "-attach", font, "-metadata:s:t:0", "mimetype=application/x-truetype-font",
        "-attach", cover, "-metadata:s:t:1", "mimetype=image/png",
    )  # fmt: skip
    info = probe_film(film)
    found = {one.reason: one for one in info.streams.left_out}
    assert set(found) == {Reason.SUBTITLES, Reason.COVER, Reason.ATTACHMENT}
    words_left_out = found[Reason.SUBTITLES]
    assert words_left_out.describe() == (
        f"stream {words_left_out.index} (subtitle, subrip, deu, Signs)"
    )
    assert found[Reason.ATTACHMENT].title == "font.ttf"


def test_the_last_picture_ends_where_the_file_says(tmp_path: Path) -> None:
    film = tmp_path / "held.gif"
    # The last of five pictures of a tenth of a second stands for another two seconds.
    ffmpeg("-f", "lavfi", "-i", "testsrc=s=64x48:r=10:d=0.5", "-final_delay", 200, film)
    with FrameReader(probe_film(film)) as reader:
        frames = list(reader)
    assert (len(frames), frames[-1].pts, reader.end_pts) == (5, 40, 240)
