"""Frames that were lost without a trace: gaps in the times, and files shorter than they say."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from bladerunner_ae.film.reading.completeness import missing_bytes
from bladerunner_ae.film.reading.frame_reader import FrameReader
from bladerunner_ae.film.reading.gaps import find_gaps, late_start, promised_end
from bladerunner_ae.film.reading.probe import probe_film
from tests.helpers.awkward_films import cut, ffmpeg

MILLISECOND = Fraction(1, 1000)
EVEN = [round(1000 * number / 24) for number in range(100)]


def test_an_even_film_has_no_gaps() -> None:
    assert find_gaps(EVEN, MILLISECOND) is None
    assert find_gaps(EVEN, MILLISECOND, Fraction(100, 24)) is None
    assert find_gaps([3003 * n for n in range(50)], Fraction(1, 90000)) is None


def test_lost_frames_are_counted() -> None:
    lost = EVEN[:24] + EVEN[27:60] + EVEN[61:]
    assert str(find_gaps(lost, MILLISECOND)) == (
        "its times have 2 gaps of 4 frames, the first at 1.0 s: its rate varies, or frames were "
        "lost"
    )
    assert str(find_gaps(EVEN[:-1], MILLISECOND, Fraction(100, 24))) == (
        "it ends 1 frame before its promised end: its rate varies, or frames were lost"
    )


def test_films_of_variable_rate_are_not_judged() -> None:
    thirds = [number + number // 3 for number in range(100)]
    assert find_gaps(thirds, Fraction(1, 24)) is None
    random_steps = [0, 3, 4, 9, 11, 18, 20, 21, 29, 33, 34, 41]
    assert find_gaps(random_steps, Fraction(1, 24)) is None
    assert find_gaps([0, 1, 9], Fraction(1, 24)) is None


def test_a_late_picture_is_said() -> None:
    assert str(late_start(Fraction(3, 2), Fraction(1))) == (
        "its picture begins 0.50 s after its sound"
    )
    assert late_start(Fraction(8, 100), Fraction(0)) is None


def test_promised_end_is_the_tag_of_the_picture() -> None:
    streams = [
        {"index": 0, "metadata": {}},
        {"index": 1, "metadata": {"DURATION": "01:00:02.500000000"}},
        {"index": 2, "metadata": {"DURATION": "rubbish"}},
    ]
    assert promised_end(streams, 1) == Fraction(36025, 10)
    assert promised_end(streams, 0) is promised_end(streams, 2) is promised_end(streams, 7) is None


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "avi", "ts"])
def test_cut_files_lack_bytes(
    suffix: str, film_factory: Callable[..., Path], tmp_path: Path
) -> None:
    codec = {"codec": "mpeg4", "audio_codec": "mp3"} if suffix == "avi" else {}
    film = film_factory(f"film.{suffix}", frames=24, height=96, width=128, **codec)
    assert missing_bytes(film) == 0
    part = cut(film, tmp_path / f"cut.{suffix}", 0.9)
    lost = film.stat().st_size - part.stat().st_size
    # A transport stream has no length; of an mp4 only the last box is known to be cut.
    assert (missing_bytes(part) > 0) == (suffix != "ts")
    assert missing_bytes(part) == (0 if suffix == "ts" else pytest.approx(lost, abs=4096))
    # What says nothing sensible promises nothing.
    part.write_bytes(b"\0" * 30)
    assert missing_bytes(part) == 0


@pytest.mark.parametrize("offset", ["0", "5"])
@pytest.mark.parametrize("suffix", ["mkv", "webm", "mp4", "mov", "flv"])
def test_films_that_begin_late_are_cut_off_only_if_they_are(
    suffix: str, offset: str, film_factory: Callable[..., Path], tmp_path: Path
) -> None:
    codec = {"codec": "libvpx", "audio_codec": "libopus"} if suffix == "webm" else {}
    late = ("-g", "12", "-output_ts_offset", offset)
    late += ("-movflags", "+faststart") if suffix in ("mp4", "mov") else ()
    film = film_factory(
        f"film.{suffix}", frames=96, height=96, width=160, extra_ffmpeg_args=late, **codec
    )
    assert _reading(film) == (96, "")
    count, problem = _reading(cut(film, tmp_path / f"cut.{suffix}", 0.6))
    assert 40 < count < 80 and "the film is cut off: " in problem


@pytest.mark.parametrize("suffix", ["mkv", "webm", "mp4"])
def test_films_that_were_cut_out_with_their_times_are_whole(
    suffix: str, film_factory: Callable[..., Path], tmp_path: Path
) -> None:
    codec = {"codec": "libvpx", "audio_codec": "libopus"} if suffix == "webm" else {}
    film = film_factory(
        f"film.{suffix}", frames=120, height=96, width=160, extra_ffmpeg_args=("-g", "24"), **codec
    )
    part = tmp_path / f"part.{suffix}"
    ffmpeg("-copyts", "-ss", "3", "-i", film, "-c", "copy", "-copyts", part)
    count, problem = _reading(part)
    assert 48 <= count <= 72 and problem == ""
    assert _length(part) == pytest.approx(count / 24, abs=0.1)


def _reading(film: Path) -> tuple[int, str]:
    with FrameReader(probe_film(film)) as reader:
        return sum(1 for _ in reader), str(reader.problem or "")


def _length(film: Path) -> float:
    return float(probe_film(film).timing.duration or 0)
