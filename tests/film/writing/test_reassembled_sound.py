"""Sound of all kinds through a whole reassembly: copied or re-encoded, and in sync.

The network is a stand-in that changes nothing, so that frames can be told apart in the output.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
from PIL import Image

from bladerunner_ae import reassembly
from bladerunner_ae.errors import InputError, OutputError
from bladerunner_ae.exports.loading import Autoencoder
from bladerunner_ae.film.reading.probe import probe_film
from bladerunner_ae.film.writing import sound
from bladerunner_ae.film.writing.sound import plan_sound
from bladerunner_ae.film.writing.verify import TrackError, verify_film
from bladerunner_ae.reassembly import (
    Reassembly,
    ReassemblyOptions,
    choose_geometry,
    reassemble_film,
)
from tests.helpers.awkward_films import ffmpeg
from tests.helpers.synthetic_film import beep_times, flash_times, read_film

FilmFactory = Callable[..., Path]
_RATE = Fraction(25)


class _Identity:
    path, raster = Path("identity"), (96, 160)

    def reconstruct(self, images: Any) -> Any:
        return images


def _dream(film: Path, output: Path) -> Reassembly:
    info = probe_film(film)
    geometry = choose_geometry(info, _Identity.raster, (0, 0, 0, 0))
    model = cast(Autoencoder, _Identity())
    return reassemble_film(info, model, output, ReassemblyOptions(batch_size=8), geometry)


def _film(factory: FilmFactory, name: str, **arguments: Any) -> Path:
    given = {"frames": 60, "rate": _RATE, "height": 96, "width": 160, "flash_every": 12}
    return factory(name, **(given | arguments))


def _assert_in_sync(film: Path, count: int = 5, lag: float = 0.03) -> None:
    """Each flash and its beep begin together, but for what the sound's own encoder adds."""
    flashes, beeps = flash_times(film), beep_times(film)
    assert len(flashes) == count
    assert beeps == pytest.approx(flashes, abs=lag)


def _codec(film: Path) -> str:
    with av.open(str(film)) as container:
        return container.streams.audio[0].codec_context.codec.canonical_name


def _sound_times(film: Path, index: int = 0) -> list[Fraction]:
    """When each packet is shown, in seconds after the first picture."""
    with av.open(str(film)) as container:
        times: dict[str, list[Fraction]] = {"video": [], "audio": []}
        for packet in container.demux(container.streams.video[0], container.streams.audio[index]):
            if packet.size and packet.pts is not None:
                hidden = packet.is_discard and packet.stream.type == "video"
                times[packet.stream.type] += [] if hidden else [packet.pts * packet.time_base]
    return [time - min(times["video"]) for time in times["audio"]]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize(
    ("rate", "samples", "delay"),
    [
        (Fraction(30), 48_000, "0.0117"),
        (Fraction(24_000, 1001), 44_100, "0.2"),
        (Fraction(30_000, 1001), 22_050, "0.3337"),
    ],
)
def test_sound_that_begins_late_stays_where_it_was(
    film_factory: FilmFactory,
    tmp_path: Path,
    rate: Fraction,
    samples: int,
    delay: str,
    suffix: str,
) -> None:
    film = _film(film_factory, "film.mp4", frames=30, rate=rate)
    source = tmp_path / "late.mp4"
    ffmpeg("-i", film, "-itsoffset", delay, "-i", film, "-map", "0:v", "-map", "1:a",
            "-c:v", "copy", "-c:a", "aac", "-ar", samples, source)  # fmt: skip
    output = tmp_path / f"out{suffix}"
    result = _dream(source, output)
    assert result.films[0].sound[0].startswith("copied (aac")
    theirs, ours = _sound_times(source), _sound_times(output)
    unit = Fraction(1, 1000) if suffix == ".mkv" else Fraction(1, samples)
    assert len(ours) == len(theirs)
    apart = [abs(a - b) for a, b in zip(ours, theirs, strict=True)]
    assert max(apart) <= unit + Fraction(1, 1_000_000)


def test_packets_shorter_than_the_clock_of_the_film(
    film_factory: FilmFactory, tmp_path: Path
) -> None:
    # 40 samples, 0.83 ms, each; Matroska counts milliseconds.
    source = _film(
        film_factory, "film.mkv", audio_codec="truehd", extra_ffmpeg_args=("-strict", "-2")
    )
    theirs = _sound_times(source)
    assert len(theirs) == len(set(theirs)) * 6 / 5  # or this tests nothing
    _dream(source, tmp_path / "out.mkv")
    assert _sound_times(tmp_path / "out.mkv") == theirs
    _assert_in_sync(tmp_path / "out.mkv")
    result = _dream(source, tmp_path / "out.mp4")
    assert result.films[0].sound == ["re-encoded as aac because .mp4 does not hold truehd"]
    _assert_in_sync(tmp_path / "out.mp4")


_DVD = ("-f", "vob")
_BLU_RAY = ("-mpegts_m2ts_mode", "1")


@pytest.mark.parametrize(
    ("name", "video", "audio", "arguments", "suffix", "becomes"),
    [
        ("film.m2ts", "libx264", "pcm_bluray", _BLU_RAY, ".mp4", "aac"),
        ("film.m2ts", "libx264", "pcm_bluray", _BLU_RAY, ".mkv", "pcm_s16le"),
        ("film.vob", "mpeg2video", "pcm_dvd", _DVD, ".mov", "pcm_s16le"),
        ("film.ts", "libx264", "s302m", ("-strict", "-2", "-ac", "2"), ".mp4", "aac"),
        ("film.mp4", "libx264", "libmp3lame", (), ".m4v", "aac"),
        ("film.wmv", "wmv2", "wmav2", (), ".mkv", "aac"),
        ("film.mov", "libx264", "pcm_mulaw", (), ".mkv", "pcm_s16le"),
        ("film.nut", "libx264", "pcm_s16le_planar", (), ".mov", "pcm_s16le"),
        ("film.ogv", "libtheora", "libvorbis", (), ".mp4", "aac"),
        ("film.ts", "libx264", "mp2", (), ".mp4", "mp2"),
        ("film.avi", "mpeg4", "adpcm_ms", (), ".mp4", "aac"),
        ("film.mkv", "libx264", "pcm_s24le", ("-ac", "16"), ".mp4", "opus"),
        ("film.mkv", "libx264", "pcm_s24le", ("-ac", "16"), ".mov", "pcm_s24le"),
        ("film.mkv", "libx264", "pcm_f32le", ("-ar", "192000"), ".mp4", "aac"),
    ],
)
def test_sound_goes_into_every_file_in_sync(
    film_factory: FilmFactory,
    tmp_path: Path,
    name: str,
    video: str,
    audio: str,
    arguments: tuple[str, ...],
    suffix: str,
    becomes: str,
) -> None:
    source = _film(film_factory, name, codec=video, audio_codec=audio, extra_ffmpeg_args=arguments)
    output = tmp_path / f"out{suffix}"
    result = _dream(source, output)
    line = result.films[0].sound[0]
    # mp4 has one name for all layers of MPEG audio.
    assert _codec(output) == ("mp3" if becomes == "mp2" else becomes)
    codec = plan_sound(probe_film(source), suffix).tracks[0].codec
    if becomes == codec:
        assert line.startswith(f"copied ({codec}")
    else:
        assert line == f"re-encoded as {becomes} because {suffix} does not hold {codec}"
    assert [number for number, _ in read_film(output)] == list(range(result.films[0].frames))
    _assert_in_sync(output, len(flash_times(source)))


@pytest.mark.parametrize(
    ("name", "audio", "arguments", "suffix", "cut"),
    [
        ("film.m2ts", "pcm_bluray", _BLU_RAY, ".mkv", 0),
        ("film.ts", "s302m", ("-strict", "-2", "-ac", "2"), ".mov", 0),
        ("film.mov", "pcm_s24le", ("-g", "60"), ".mkv", 0.9),
    ],
)
def test_reencoded_pcm_is_identical_to_the_sample(
    film_factory: FilmFactory, tmp_path: Path, name: str, audio: str, arguments: tuple[str, ...],
    suffix: str, cut: float,
) -> None:  # fmt: skip
    source, output = tmp_path / name, tmp_path / f"out{suffix}"
    film = _film(film_factory, name, audio_codec=audio, extra_ffmpeg_args=arguments)
    ffmpeg("-ss", cut, "-i", film, "-c", "copy", "-strict", "-2", *arguments, source)
    _dream(source, output)
    theirs, ours = _samples(source), _samples(output)
    np.testing.assert_array_equal(ours, theirs[-len(ours) :])
    # Of what an edit list hides, nothing is heard.
    assert len(theirs) - len(ours) == (round(-min(_sound_times(source)) * 48_000) if cut else 0)
    assert np.abs(ours).max() > 0.1
    _assert_in_sync(output, len(flash_times(source)))


def _samples(path: Path) -> Any:
    """All samples of the sound as they lie in a file, float32 [samples, channels]."""
    with av.open(str(path)) as container:
        (stream,) = container.streams.audio
        stream.codec_context.flags2 |= av.codec.context.Flags2.skip_manual
        blocks = [frame for packet in container.demux(stream) for frame in packet.decode()]
        convert = av.AudioResampler("flt")
        flat = [out.to_ndarray() for one in blocks for out in convert.resample(one)]
        return np.concatenate(flat, 1).reshape(-1, stream.codec_context.channels)


def test_sound_that_fits_nowhere_is_refused_at_once(
    film_factory: FilmFactory, tmp_path: Path
) -> None:
    source = _film(film_factory, "film.mkv", audio_codec="pcm_s16le",
                   extra_ffmpeg_args=("-ac", "16"))  # fmt: skip
    with pytest.raises(InputError, match=r"16 channels.*\.m4v; give .*\.mov or \.mkv"):
        _dream(source, tmp_path / "out.m4v")
    assert not list(tmp_path.iterdir())


def test_names_that_look_like_protocols(
    film_factory: FilmFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = _film(film_factory, "film.mkv", frames=30, audio_codec="libvorbis")
    monkeypatch.chdir(tmp_path)
    source = Path("Film: A Story.mkv")
    source.write_bytes(film.read_bytes())
    for name in ("x:dream.mp4", "file:dream.mkv", "-dream.mp4", "pct%05d.mp4"):
        result = _dream(source, Path(name))
        assert result.films[0].frames == 30 and Path(name).stat().st_size


def _held_gif(folder: Path) -> Path:
    pictures = [Image.new("RGB", (160, 96), (40 * number, 80, 200)) for number in range(6)]
    pictures[0].save(folder / "film.gif", save_all=True, append_images=pictures[1:],
                     duration=[100, 100, 200, 100, 100, 3000])  # fmt: skip
    return folder / "film.gif"


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_the_last_picture_is_held(tmp_path: Path, suffix: str) -> None:
    output = tmp_path / f"out{suffix}"
    _dream(_held_gif(tmp_path), output)
    with av.open(str(output)) as container:
        assert container.duration == 3_600_000


def test_a_film_cut_shorter_than_the_original_fails_verification(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = _held_gif(tmp_path)
    real = reassembly.make_timeline
    monkeypatch.setattr(
        reassembly, "make_timeline", lambda pts, end, info: real(pts, pts[-1] + 10, info)
    )
    with pytest.raises(OutputError, match=r"lasts 0\.700 seconds, the original's 3\.600"):
        _dream(source, tmp_path / "out.mp4")


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le", "libmp3lame"])
def test_sound_that_is_hidden_before_the_start_is_not_heard(
    film_factory: FilmFactory, tmp_path: Path, codec: str
) -> None:
    film = _film(film_factory, "film.mov", audio_codec=codec, extra_ffmpeg_args=("-g", "60"))
    source, output = tmp_path / "cut.mov", tmp_path / "out.mkv"
    ffmpeg("-ss", "0.9", "-i", film, "-c", "copy", source)
    assert min(_sound_times(source)) < Fraction(-1, 5)  # or nothing is hidden
    _dream(source, output)
    # Matroska hides it, or holds only the packet or two that a decoder needs to begin.
    hides = plan_sound(probe_film(source), ".mkv").tracks[0].hides
    assert hides or min(_sound_times(output)) > Fraction(-6, 100)
    with av.open(str(output)) as container:
        picture = container.streams.video[0]
        assert cast(int, picture.start_time) * picture.time_base < Fraction(6, 100)
    _assert_in_sync(output, 3)


def test_a_film_whose_clock_begins_late_begins_at_once(
    film_factory: FilmFactory, tmp_path: Path
) -> None:
    film = _film(film_factory, "film.mp4")
    source, output = tmp_path / "live.mkv", tmp_path / "out.mp4"
    ffmpeg("-i", film, "-c", "copy", "-output_ts_offset", "5000", source)
    _dream(source, output)
    with av.open(str(output)) as container:
        assert container.start_time == 0
        assert container.duration == pytest.approx(2_400_000, abs=60_000)
    _assert_in_sync(output)


def test_a_gap_in_sound_that_is_reencoded_becomes_silence(
    film_factory: FilmFactory, tmp_path: Path
) -> None:
    film = _film(film_factory, "film.mkv", audio_codec="pcm_s16le")
    source, output = tmp_path / "gap.mkv", tmp_path / "out.mp4"
    with av.open(str(film)) as original, av.open(str(source), "w") as cut:
        targets = [cut.add_stream_from_template(stream) for stream in original.streams]
        for packet in original.demux():
            inside = packet.pts is not None and Fraction(1) < packet.pts * packet.time_base < 1.4
            if packet.size and not (packet.stream.type == "audio" and inside):
                packet.stream = targets[packet.stream_index]
                cut.mux(packet)
    _dream(source, output)
    beeps = beep_times(output)
    flashes = [time for time in flash_times(output) if not 0.95 < time < 1.45]
    assert len(flashes) == 4
    assert [beep for beep in beeps if not 0.95 < beep < 1.45] == pytest.approx(flashes, abs=0.03)


def test_sound_of_an_unknown_codec_is_named(film_factory: FilmFactory, tmp_path: Path) -> None:
    data = bytearray(_film(film_factory, "film.mp4").read_bytes())
    place = data.index(b"mp4a", data.index(b"soun"))
    data[place : place + 4] = b"apac"
    source = tmp_path / "film.mp4"
    source.write_bytes(data.replace(b"esds", b"dapa"))
    result = _dream(source, tmp_path / "out.mp4")
    assert "as in the original" not in result.films[0].report()
    assert "sound none; left out: stream 1 (audio" in result.films[0].report()
    assert "of an unknown codec" in result.films[0].report()


def test_what_cannot_be_copied_after_all_is_reencoded(
    film_factory: FilmFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = iter([True])

    def fail_once(*arguments: Any) -> Any:
        if next(found, False):
            raise TrackError(tmp_path, 0, "is 0.500000 seconds off at one packet")
        return verify_film(*arguments)

    monkeypatch.setattr(reassembly, "verify_film", fail_once)
    result = _dream(_film(film_factory, "film.mp4"), tmp_path / "out.mp4")
    assert result.films[0].sound == [
        "re-encoded as aac because copied, it is 0.500000 seconds off at one packet"
    ]
    _assert_in_sync(tmp_path / "out.mp4")


def test_verification_finds_sound_that_was_moved(
    film_factory: FilmFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A writer that moves all sound, in the plan as in the file, must not get past verification.
    moved = sound._TargetClock.moved

    def late(self: Any, packet: Any, target: Any) -> Any:
        written = moved(self, packet, target)
        written.pts = written.dts = written.pts + 960
        return written

    monkeypatch.setattr(sound._TargetClock, "moved", late)
    monkeypatch.setattr(reassembly, "reencoded", lambda *_: pytest.fail("reencoded"))
    source = _film(film_factory, "film.mp4")
    with pytest.raises(pytest.fail.Exception, match="reencoded"):
        _dream(source, tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()


def test_a_film_that_is_replaced_meanwhile_is_refused(
    film_factory: FilmFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "film.mp4"
    source.write_bytes(_film(film_factory, "film.mp4").read_bytes())
    other = _film(film_factory, "film.mp4", seed=4)
    real = reassembly.make_timeline

    def replaced(*arguments: Any) -> Any:
        source.write_bytes(other.read_bytes())
        return real(*arguments)

    monkeypatch.setattr(reassembly, "make_timeline", replaced)
    with pytest.raises((InputError, OutputError), match=r"film\.mp4"):
        _dream(source, tmp_path / "out.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["film.mp4"]


def test_languages_and_discrete_pictures_survive(film_factory: FilmFactory, tmp_path: Path) -> None:
    extra = ("-map", "0:v", "-map", "1:a", "-map", "1:a", "-c:a:0", "libvorbis", "-c:a:1", "aac")
    extra += ("-metadata:s:a:0", "language=fra", "-metadata:s:a:1", "language=deu")
    source = _film(film_factory, "two.mkv", extra_ffmpeg_args=extra)
    result = _dream(source, tmp_path / "out.mp4")
    assert [line.split(" ")[0] for line in result.films[0].sound] == ["re-encoded", "copied"]
    with av.open(str(tmp_path / "out.mp4")) as film:
        assert [stream.language for stream in film.streams.audio] == ["fra", "deu"]
    assert np.allclose(
        [float(time) for time in _sound_times(tmp_path / "out.mp4", 1)],
        [float(time) for time in _sound_times(source, 1)],
        atol=0.0011,
    )


def test_sound_whose_channels_change_midway_is_reencoded(
    film_factory: FilmFactory, tmp_path: Path
) -> None:
    # A broadcast says in every packet what it is; mp4 says it once.
    parts = [
        _film(film_factory, f"{count}.ts", extra_ffmpeg_args=("-ac", count)) for count in ("2", "6")
    ]
    source, output = tmp_path / "film.ts", tmp_path / "out.mp4"
    source.write_bytes(b"".join(part.read_bytes() for part in parts))
    result = _dream(source, output)
    reason = "its channels or rate change midway"
    assert result.films[0].sound == [f"re-encoded as aac because {reason}"]
    _assert_in_sync(output, 10)
