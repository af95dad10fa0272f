"""Recordings whose clock jumps or wraps: every frame, no gap, sound and picture together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest

from bladerunner_ae.conversion.convert import convert_film, plan_conversion
from bladerunner_ae.conversion.options import ConversionOptions
from bladerunner_ae.film.reading.clock import constant_rate
from bladerunner_ae.film.reading.frame_reader import FrameReader
from bladerunner_ae.film.reading.packet_table import read_packet_table
from bladerunner_ae.film.reading.probe import probe_film
from bladerunner_ae.film.reading.reading_mode import NotDivisibleError
from bladerunner_ae.film.reading.samples import sample_key_frames
from bladerunner_ae.film.writing.verify import Verification
from tests.helpers.awkward_films import ffmpeg
from tests.helpers.rewritten_films import verify, write_film
from tests.helpers.synthetic_film import beep_times, flash_times, read_number

FilmFactory = Callable[..., Path]
RATE = Fraction(25)
STEP = 3600  # of 1/90000 s

# The clock wraps 95443.7 s behind its 0.
NEAR_WRAP = "95440.8"


def recording(
    factory: FilmFactory, name: str, frames: int, offset: str = "0", seed: int = 0
) -> Path:
    """A recording of numbered frames that begins `offset` seconds after the clock's 0."""
    codec = {"codec": "mpeg2video", "audio_codec": "mp2"} if name.endswith("mpg") else {}
    return factory(
        name, frames=frames, rate=RATE, height=96, width=160, seed=seed, flash_every=10,
        extra_ffmpeg_args=("-g", "12", "-output_ts_offset", offset), **codec,
    )  # fmt: skip


def joined(path: Path, parts: Sequence[Path]) -> Path:
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def read(film: Path, start: Fraction | None = None) -> tuple[list[int], list[int], FrameReader]:
    """Numbers and timestamps of all frames, and their reader."""
    with FrameReader(probe_film(film), start=start) as reader:
        frames = [(read_number(frame.image), frame.pts) for frame in reader]
    return [number for number, _ in frames], [pts for _, pts in frames], reader


@pytest.mark.parametrize(
    ("suffix", "offsets"),
    [
        ("ts", ("0", "0")),
        ("ts", ("1000", "0")),  # libav takes this for a wrap
        ("ts", ("0", "3600")),  # a loss of the signal for an hour
        ("ts", ("5", "7200", "10")),
        ("ts", (NEAR_WRAP, NEAR_WRAP)),
        ("mpg", ("0", "0")),
        ("mpg", ("1000", "0")),
    ],
)
def test_joined_recordings_follow_each_other(
    film_factory: FilmFactory, tmp_path: Path, suffix: str, offsets: tuple[str, ...]
) -> None:
    counts = [40 - 6 * number for number in range(len(offsets))]
    parts = [
        recording(film_factory, f"{number}.{suffix}", count, offset, seed=number)
        for number, (count, offset) in enumerate(zip(counts, offsets, strict=True))
    ]
    film = joined(tmp_path / f"film.{suffix}", parts)
    numbers, pts, reader = read(film)
    assert numbers == [number for count in counts for number in range(count)]
    assert {later - one for one, later in pairwise(pts)} == {STEP}
    info = probe_film(film)
    assert pts[0] == info.timing.start_pts
    assert constant_rate(pts, info.timing.time_base, info.timing.rate_candidates) == RATE
    often = "once" if len(offsets) == 2 else "2 times, the first"
    assert str(reader.jumps) == (
        f"its times jump {often} at 1.6 s; the frames follow each other without a gap"
    )
    assert (reader.problem, reader.repaired_timestamps) == (None, 0)
    with pytest.raises(NotDivisibleError, match="its times jump"):
        read_packet_table(info, None, None)


def test_the_same_film_twice(film_factory: FilmFactory, tmp_path: Path) -> None:
    part = recording(film_factory, "part.ts", 40)
    numbers, pts, _ = read(joined(tmp_path / "film.ts", [part, part]))
    assert numbers == [*range(40), *range(40)]
    assert pts == [pts[0] + STEP * number for number in range(80)]


@pytest.mark.slow
def test_a_wrap_of_the_clock_is_seamless(film_factory: FilmFactory) -> None:
    plain = recording(film_factory, "plain.ts", 120)
    wrapping = recording(film_factory, "wrapping.ts", 120, NEAR_WRAP)
    numbers, pts, reader = read(wrapping)
    assert pts[0] < 2**33 < pts[-1]
    assert numbers == list(range(120)) and not reader.jumps and not reader.problem
    assert [time - pts[0] for time in pts] == [time - read(plain)[1][0] for time in read(plain)[1]]
    assert read_packet_table(probe_film(wrapping), None, None).times.tolist() == pts


def test_a_film_that_begins_just_before_the_wrap(film_factory: FilmFactory) -> None:
    # Of picture and sound the one begins before it, the other behind.
    film = recording(film_factory, "film.ts", 40, "95442.28")
    info = probe_film(film)
    numbers, pts, reader = read(film)
    assert numbers == list(range(40)) and pts[0] == info.timing.start_pts and not reader.jumps
    assert abs(pts[0] * info.timing.time_base - info.timing.film_start) < Fraction(1, 10)


@pytest.mark.parametrize("offsets", [("1000", "0"), ("0", "3600"), ("95430", "95430")])
def test_an_excerpt_is_found_behind_jumps(
    film_factory: FilmFactory, tmp_path: Path, offsets: tuple[str, str]
) -> None:
    parts = [
        recording(film_factory, f"{number}.ts", 100, offset)
        for number, offset in enumerate(offsets)
    ]
    film = joined(tmp_path / "film.ts", parts)
    whole_numbers, whole_times, _ = read(film)
    for seconds in (Fraction(3), Fraction(5), Fraction(7)):
        numbers, pts, _ = read(film, start=seconds)
        assert pts == [time for time in whole_times if time >= pts[0]]
        assert numbers == whole_numbers[-len(numbers) :]
        begin = probe_film(film).timing.film_start + seconds
        assert 0 <= pts[0] / Fraction(90000) - begin < 1 / RATE


def test_long_still_pictures_are_no_jump(film_factory: FilmFactory, tmp_path: Path) -> None:
    # One picture each 12 s with sound in a transport stream; without sound in Matroska.
    film = film_factory(frames=4, rate=1, height=96, width=160)
    for name, arguments in (("film.ts", ["-c:a", "mp2"]), ("film.mkv", ["-an"])):
        slow = tmp_path / name
        ffmpeg("-i", film, "-f", "lavfi", "-i", "sine=d=48:r=48000", "-map", "0:v", "-map", "1:a",
               "-vf", "setpts=12*PTS", "-fps_mode", "passthrough", "-bf", 0, *arguments,
               slow)  # fmt: skip
        numbers, pts, reader = read(slow)
        seconds = [float((time - pts[0]) * probe_film(slow).timing.time_base) for time in pts]
        assert numbers == [0, 1, 2, 3] and not reader.jumps
        assert seconds == pytest.approx([0, 12, 24, 36], abs=0.001)


def written(film: Path, output: Path) -> Verification:
    """A film's own pictures with its sound, written as a dream is and verified."""
    info = probe_film(film)
    with FrameReader(info) as reader:
        frames = list(reader)
    pts, end = [frame.pts for frame in frames], reader.end_pts
    assert end is not None
    _, plan = write_film(info, pts, end, (frame.image for frame in frames), output, (96, 160))
    return verify(output, info, pts, end, plan, bool(reader.jumps))


@pytest.mark.parametrize(
    ("suffix", "offsets", "output"),
    [
        ("ts", ("0", "1000"), "out.mp4"),
        ("ts", ("1000", "0"), "out.mkv"),
        ("ts", ("0", "0"), "out.mp4"),
        ("ts", (NEAR_WRAP, "0"), "out.mp4"),
        ("mpg", ("0", "1000"), "out.mp4"),
        ("mpg", ("1000", "0"), "out.mkv"),
    ],
)
def test_sound_jumps_along_with_its_pictures(
    film_factory: FilmFactory, tmp_path: Path, suffix: str, offsets: tuple[str, str], output: str
) -> None:
    one = recording(film_factory, f"1.{suffix}", 90, offsets[0])
    two = recording(film_factory, f"2.{suffix}", 40, offsets[1], seed=1)
    found = written(joined(tmp_path / f"film.{suffix}", [one, two]), tmp_path / output)
    assert found.frames == 130 and "packets identical" in found.sound[0]
    in_sync(tmp_path / output, [5, 15, 25, 35, 45, 55, 65, 75, 85, 95, 105, 115, 125])


def in_sync(film: Path, frames: Sequence[int]) -> None:
    """Flashes and beeps come at the same times: those of certain frames at 25 a second."""
    flashes, beeps = flash_times(film), beep_times(film)
    first = flashes[0] - frames[0] / 25
    assert flashes == pytest.approx([first + number / 25 for number in frames], abs=0.0011)
    assert beeps == pytest.approx(flashes, abs=0.015)


@pytest.mark.parametrize("offset", ["1000", NEAR_WRAP])
def test_sound_that_is_reencoded_jumps_along(
    film_factory: FilmFactory, tmp_path: Path, offset: str
) -> None:
    # mp4 does not hold DTS.
    parts = [
        film_factory(
            f"{number}.ts", frames=90, rate=RATE, height=96, width=160, flash_every=10,
            audio_codec="dca", extra_ffmpeg_args=("-strict", "-2", "-output_ts_offset", start),
        )
        for number, start in enumerate((offset, "0"))
    ]  # fmt: skip
    found = written(joined(tmp_path / "film.ts", parts), tmp_path / "out.mp4")
    assert found.sound == ["re-encoded as aac because .mp4 does not hold dts"]
    in_sync(tmp_path / "out.mp4", range(5, 180, 10))


def test_sound_longer_than_its_pictures_is_heard_to_its_end(
    film_factory: FilmFactory, tmp_path: Path
) -> None:
    longer = ("-af", "apad=pad_dur=2", "-output_ts_offset", "0")
    one = film_factory("1.ts", frames=40, rate=RATE, height=96, width=160, flash_every=10,
                       extra_ffmpeg_args=longer)  # fmt: skip
    two = recording(film_factory, "2.ts", 40, "1000", seed=1)
    written(joined(tmp_path / "film.ts", [one, two]), tmp_path / "out.mp4")
    # The last picture of the first part stands still for two seconds more, to a whole frame.
    in_sync(tmp_path / "out.mp4", [5, 15, 25, 35, 96, 106, 116, 126])


def test_the_card_says_where_times_jump(film_factory: FilmFactory, tmp_path: Path) -> None:
    parts = [recording(film_factory, f"{n}.ts", 40, start) for n, start in enumerate(("0", "3600"))]
    plan = plan_conversion(
        joined(tmp_path / "film.ts", parts), tmp_path, ConversionOptions(num_shards=4)
    )
    card = convert_film(plan)
    assert (card.frames, card.frame_rate, card.variable_rate) == (80, 25, False)
    assert [shard.frames for shard in card.shards] == [20] * 4
    assert card.notes == [
        "its times jump once at 1.6 s; the frames follow each other without a gap",
        "read in a single pass: its times jump",
    ]


def test_samples_come_from_all_parts(film_factory: FilmFactory, tmp_path: Path) -> None:
    parts = [recording(film_factory, f"{n}.ts", 90, start) for n, start in enumerate(("1000", "0"))]
    info = probe_film(joined(tmp_path / "film.ts", parts))
    times = [frame.pts or 0 for frame in sample_key_frames(info, 12)]
    assert len(times) >= 8
    assert sum(time < 1000 * 90_000 for time in times) in range(4, len(times) - 3)


def test_a_part_with_other_stream_numbers_is_missed(
    film_factory: FilmFactory, tmp_path: Path
) -> None:
    other = ("-mpegts_start_pid", "0x200", "-mpegts_pmt_start_pid", "0x1100")
    one = recording(film_factory, "1.ts", 60)
    two = film_factory("2.ts", frames=60, rate=RATE, height=96, width=160,
                       extra_ffmpeg_args=other)  # fmt: skip
    numbers, _, reader = read(joined(tmp_path / "film.ts", [one, two]))
    assert numbers == list(range(60))
    assert "streams are numbered differently, is left out" in str(reader.problem)
    assert read(one)[2].problem is read(two)[2].problem is None


def test_sound_after_the_picture_is_no_other_recording(
    film_factory: FilmFactory, tmp_path: Path
) -> None:
    film = film_factory("film.ts", frames=24, rate=RATE, height=96, width=160)
    longer = tmp_path / "longer.ts"
    ffmpeg("-i", film, "-f", "lavfi", "-i", "sine=d=6", "-map", "0:v", "-map", "1:a", "-c:v",
           "copy", "-c:a", "mp2", "-b:a", "384k", longer)  # fmt: skip
    numbers, _, reader = read(longer)
    assert numbers == list(range(24)) and reader.problem is None
