"""Films joined with the sound of others: every codec and container, packet by packet."""

from __future__ import annotations

import shutil
from array import array
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from bladerunner_ae.errors import OutputError
from bladerunner_ae.film.info import FilmInfo
from bladerunner_ae.film.reading.probe import probe_film
from bladerunner_ae.film.writing.mux import make_timeline
from bladerunner_ae.film.writing.sound import SoundPlan
from bladerunner_ae.film.writing.verify import Verification
from tests.helpers.rewritten_films import verify, write_film

FilmFactory = Callable[..., Path]
_SIX_CHANNELS = ("-ac", "6")


def _source_pts(film: Path) -> list[int]:
    with av.open(str(film)) as container:
        return sorted(packet.pts for packet in container.demux(video=0) if packet.size)


def _packets(film: Path, stream: int = 0) -> list[tuple[float, bytes]]:
    """(seconds, bytes) of each packet of an audio stream."""
    with av.open(str(film)) as container:
        return [
            (
                float((packet.dts if packet.pts is None else packet.pts) * packet.time_base),
                bytes(packet),
            )
            for packet in container.demux(audio=stream)
            if packet.size
        ]


def _source_end(film: Path) -> int:
    with av.open(str(film)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    last = max(packets, key=lambda packet: packet.pts)
    step = sorted(packet.pts for packet in packets)[-2:]
    return last.pts + (last.duration or step[1] - step[0])


def _rendered(source: Path, output: Path) -> tuple[Verification, FilmInfo, list[int], SoundPlan]:
    """Grey pictures with the source's times and sound, verified."""
    info, pts, end = probe_film(source), _source_pts(source), _source_end(source)
    pictures = (np.full((16, 32, 3), number % 256, np.uint8) for number in range(len(pts)))
    _, plan = write_film(info, pts, end, pictures, output)
    return verify(output, info, pts, end, plan), info, pts, plan


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("aac.mp4", {}),
        ("mp3.mp4", {"audio_codec": "libmp3lame"}),
        ("aac51.mp4", {"extra_ffmpeg_args": _SIX_CHANNELS}),
        ("ac3.mkv", {"audio_codec": "ac3", "extra_ffmpeg_args": _SIX_CHANNELS}),
        ("opus.mkv", {"audio_codec": "libopus"}),
        ("flac.mkv", {"audio_codec": "flac"}),
        ("mp3.avi", {"audio_codec": "libmp3lame"}),
        ("late.mp4", {"start_offset": 0.5}),
        ("late_ntsc.mkv", {"start_offset": 0.5, "rate": Fraction(24000, 1001)}),
        ("variable.mp4", {"variable_rate": True}),
        ("variable.mkv", {"variable_rate": True}),
        ("short_sound.mp4", {"frames": 72, "extra_ffmpeg_args": ("-af", "atrim=end=1")}),
        ("long_sound.mp4", {"extra_ffmpeg_args": ("-af", "apad=pad_dur=2")}),
    ],
)
def test_sound_is_copied_packet_by_packet_in_sync(
    film_factory: FilmFactory, tmp_path: Path, name: str, arguments: dict[str, Any], suffix: str
) -> None:
    source = film_factory(name, height=96, width=160, **arguments)
    output = tmp_path / f"out{suffix}"
    found, _, pts, _ = _rendered(source, output)
    theirs, ours = _packets(source), _packets(output)
    assert [data for _, data in ours] == [data for _, data in theirs]
    assert len(theirs) > 20
    assert found.frames == len(pts)
    assert found.sound[0].startswith("copied (") and f"{len(theirs)} packets" in found.sound[0]
    # Matroska counts milliseconds and may move the film as a whole.
    shift = ours[0][0] - theirs[0][0]
    assert 0 <= shift < (0.1 if suffix == ".mkv" else 0.0006)
    tolerance = 0.0011 if ".mkv" in (suffix, source.suffix) else 1e-4
    times = [(a[0] - b[0] - shift) for a, b in zip(ours, theirs, strict=True)]
    assert max(map(abs, times)) <= tolerance
    with av.open(str(source)) as one, av.open(str(output)) as two:
        bases = one.streams.video[0].time_base, two.streams.video[0].time_base
    pictures = [
        float(b * bases[1] - a * bases[0]) - shift
        for a, b in zip(pts, _source_pts(output), strict=True)
    ]
    assert max(map(abs, pictures)) <= tolerance


@pytest.mark.parametrize(
    ("name", "suffix", "arguments", "copied"),
    [
        ("pcm.mkv", ".mkv", {"audio_codec": "pcm_s16le"}, True),
        ("pcm.mkv", ".mov", {"audio_codec": "pcm_s16le"}, True),
        ("pcm.mkv", ".mp4", {"audio_codec": "pcm_s16le"}, False),
        ("pcm.avi", ".mp4", {"audio_codec": "pcm_s16le"}, False),
        ("vorbis.mkv", ".mkv", {"audio_codec": "libvorbis"}, True),
        ("vorbis.mkv", ".mp4", {"audio_codec": "libvorbis"}, False),
        ("opus.mkv", ".mov", {"audio_codec": "libopus"}, False),
    ],
)
def test_sound_that_the_file_cannot_hold_is_reencoded_and_said(
    film_factory: FilmFactory,
    tmp_path: Path,
    name: str,
    suffix: str,
    arguments: dict[str, Any],
    copied: bool,
) -> None:
    source = film_factory(name, height=96, width=160, **arguments)
    output = tmp_path / f"out{suffix}"
    found, _, _, plan = _rendered(source, output)
    tracks = plan.tracks
    assert tracks[0].copied == copied
    with av.open(str(output)) as film:
        codec = film.streams.audio[0].codec_context.codec.canonical_name
    if copied:
        assert codec == tracks[0].codec and found.sound[0].startswith("copied")
        assert b"".join(d for _, d in _packets(output)) == b"".join(d for _, d in _packets(source))
    else:
        assert codec == "aac"
        assert found.sound[0] == (
            f"re-encoded as aac because {suffix} does not hold {tracks[0].codec}"
        )


def test_a_broadcast_is_counted_from_its_own_start(
    film_factory: FilmFactory, tmp_path: Path
) -> None:
    source = film_factory("broadcast.ts", height=96, width=160)
    found, info, _, _ = _rendered(source, tmp_path / "out.mp4")
    assert info.timing.film_start > 1
    assert found.largest_error <= Fraction(1, 1000)
    start = float(info.timing.start_pts * info.timing.time_base - info.timing.film_start)
    with av.open(str(tmp_path / "out.mp4")) as film:
        picture = film.streams.video[0]
        assert float(picture.start_time * picture.time_base) == pytest.approx(start, abs=1e-3)


def test_all_sound_tracks_come_along_with_their_languages(
    film_factory: FilmFactory, tmp_path: Path
) -> None:
    source = tmp_path / "two.mkv"
    extra = ("-map", "0:v", "-map", "1:a", "-map", "1:a", "-c:a:1", "ac3")
    extra += ("-metadata:s:a:0", "language=fra", "-metadata:s:a:1", "language=deu")
    extra += ("-metadata", "title=Two tongues", "-disposition:a:1", "default")
    made = film_factory("two.mkv", height=96, width=160, extra_ffmpeg_args=extra)
    shutil.copy(made, source)
    found, *_ = _rendered(source, tmp_path / "out.mp4")
    assert len(found.sound) == 2
    for stream in (0, 1):
        ours, theirs = _packets(tmp_path / "out.mp4", stream), _packets(source, stream)
        assert [data for _, data in ours] == [data for _, data in theirs]
    with av.open(str(tmp_path / "out.mp4")) as film:
        assert [stream.language for stream in film.streams.audio] == ["fra", "deu"]
        assert film.metadata["title"] == "Two tongues"


def test_a_silent_film_stays_silent(film_factory: FilmFactory, tmp_path: Path) -> None:
    source = film_factory("silent.mp4", height=96, width=160, audio=False)
    found, *_ = _rendered(source, tmp_path / "out.mp4")
    assert found.sound == [] and found.frames == 48
    with av.open(str(tmp_path / "out.mp4")) as film:
        assert not film.streams.audio


def test_a_long_film_keeps_its_exact_rate(film_factory: FilmFactory, tmp_path: Path) -> None:
    # Matroska rounds to milliseconds; over a feature film the exact rate comes back.
    info = probe_film(film_factory("ntsc.mkv", height=96, width=160, rate=Fraction(24000, 1001)))
    rate = Fraction(24000, 1001)
    pts = array("q", (round(n / rate / info.timing.time_base) for n in range(200_000)))
    timeline = make_timeline(pts, pts[-1] + 42, info)
    assert timeline.rate == rate and not timeline.variable
    assert timeline.seconds(199_999) == 199_999 / rate


class TestVerification:
    """A film that is not what it should be is found out."""

    @pytest.fixture
    def good(self, film_factory: FilmFactory, tmp_path: Path) -> tuple[Any, ...]:
        source = film_factory("aac.mp4", height=96, width=160)
        _, info, pts, plan = _rendered(source, tmp_path / "good.mp4")
        return tmp_path / "good.mp4", info, pts, plan

    def _verify(self, path: Path, info: FilmInfo, pts: list[int], plan: SoundPlan) -> None:
        verify(path, info, pts, 2 * pts[-1] - pts[-2], plan)

    def test_a_missing_picture(self, good: tuple[Any, ...]) -> None:
        path, info, pts, plan = good
        step = pts[1] - pts[0]
        with pytest.raises(OutputError, match="48 pictures, the original 49 frames"):
            self._verify(path, info, [*pts, pts[-1] + step], plan)

    def test_a_picture_at_the_wrong_time(self, good: tuple[Any, ...]) -> None:
        path, info, pts, plan = good
        wrong = [*pts[:20], pts[20] + 5, *pts[21:]]
        with pytest.raises(OutputError, match="seconds from its frame's time"):
            self._verify(path, info, wrong, plan)

    def test_sound_of_another_film(self, good: tuple[Any, ...], film_factory: FilmFactory) -> None:
        path, _, pts, plan = good
        other = probe_film(film_factory("aac.mp4", height=96, width=160, seed=9))
        with pytest.raises(OutputError, match=r"sound track 1 \(aac\) differs"):
            self._verify(path, other, pts, plan)

    def test_missing_sound(self, good: tuple[Any, ...], film_factory: FilmFactory) -> None:
        path, _, pts, plan = good
        other = probe_film(film_factory("longer.mp4", frames=60, height=96, width=160))
        with pytest.raises(OutputError, match="packets, the original"):
            self._verify(path, other, pts, plan)
        silent = probe_film(film_factory("silent.mp4", height=96, width=160, audio=False))
        with pytest.raises(OutputError, match="1 sound tracks, 0 were to be"):
            self._verify(path, silent, pts, SoundPlan(".mp4"))

    def test_a_file_cut_short(self, good: tuple[Any, ...]) -> None:
        path, info, pts, plan = good
        path.write_bytes(path.read_bytes()[:3000])
        with pytest.raises(OutputError):
            self._verify(path, info, pts, plan)
