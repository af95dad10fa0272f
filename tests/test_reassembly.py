"""Whole films through a network that changes nothing: every frame, at its time, in its place."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
import numpy as np
import pytest
from numpy.typing import NDArray

from bladerunner_ae.errors import InputError
from bladerunner_ae.exports.loading import Autoencoder, load_autoencoder
from bladerunner_ae.film.reading.probe import probe_film
from bladerunner_ae.reassembly import (
    Reassembly,
    ReassemblyOptions,
    choose_geometry,
    reassemble_film,
)
from tests.helpers.synthetic_film import beep_times, flash_times, read_film, read_number
from tests.helpers.tiny_networks import save_autoencoder

FilmFactory = Callable[..., Path]
Picture = NDArray[np.uint8]
_RASTER = (96, 160)


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Autoencoder:
    folder = tmp_path_factory.mktemp("identity")
    return load_autoencoder(save_autoencoder(folder, _RASTER))


@pytest.fixture(scope="module")
def dim(tmp_path_factory: pytest.TempPathFactory) -> Autoencoder:
    return load_autoencoder(save_autoencoder(tmp_path_factory.mktemp("dim"), _RASTER, "dim"))


def _reassemble(
    film: Path,
    model: Autoencoder,
    output: Path,
    bars: tuple[int, int, int, int] = (0, 0, 0, 0),
    **options: Any,
) -> Reassembly:
    info = probe_film(film)
    options.setdefault("batch_size", 8)
    geometry = choose_geometry(info, model.raster, bars)
    return reassemble_film(info, model, geometry, output, ReassemblyOptions(**options))


def _pictures(film: Path) -> list[Picture]:
    """Every frame as a player that heeds the tags shows it."""
    with av.open(str(film)) as container:
        return [
            np.asarray(
                frame.reformat(format="rgb24", src_colorspace="ITU709").to_ndarray(), np.uint8
            )
            for frame in container.decode(video=0)
        ]


def _times(film: Path) -> list[Fraction]:
    with av.open(str(film)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


def _film_of_one_colour(path: Path, colour: tuple[int, int, int]) -> Path:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-f", "lavfi", "-i"]
    command += [f"color=0x{bytes(colour).hex()}:s=160x96:r=24,format=gbrp", "-frames:v", "9"]
    command += ["-vf", "scale=out_color_matrix=bt709:out_range=tv,format=yuv420p"]
    command += ["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"]
    subprocess.run([*command, "-crf", "4", str(path)], check=True)
    return path


# --- Time ---


@pytest.mark.parametrize(
    ("rate", "frames"),
    [
        (Fraction(24), 53),
        (Fraction(25), 61),
        (Fraction(24000, 1001), 59),
        (Fraction(30000, 1001), 67),
    ],
)
def test_n_frames_in_n_frames_out_at_the_exact_rate(
    film_factory: FilmFactory, identity: Autoencoder, tmp_path: Path, rate: Fraction, frames: int
) -> None:
    film = film_factory(rate=rate, frames=frames, height=96, width=160, flash_every=10)
    output = tmp_path / "out.mp4"
    result = _reassemble(film, identity, output)
    assert [number for number, _ in read_film(output)] == list(range(frames))
    assert _times(output) == [n / rate for n in range(frames)]
    assert result.timeline.rate == rate and not result.timeline.variable
    assert result.films[0][1].largest_error == 0
    line = result.report()[0]
    assert f"{frames} frames in, {frames} out, {rate} fps" in line
    assert "largest timestamp error 0 s; sound copied (aac, " in line
    assert line.endswith(" packets identical); sync verified")
    _assert_in_sync(output, rate, len(range(5, frames, 10)))


def _assert_in_sync(film: Path, rate: Fraction, expected: int) -> None:
    """Each flash and its beep begin within one frame of each other."""
    flashes, beeps = flash_times(film), beep_times(film)
    assert len(flashes) == len(beeps) == expected
    apart = [abs(flash - beep) for flash, beep in zip(flashes, beeps, strict=True)]
    assert max(apart) < 1 / rate


def test_a_variable_film_keeps_the_time_of_every_frame(
    film_factory: FilmFactory, identity: Autoencoder, tmp_path: Path
) -> None:
    film = film_factory(variable_rate=True, frames=41, height=96, width=160, flash_every=10)
    result = _reassemble(film, identity, tmp_path / "out.mp4")
    assert [number for number, _ in read_film(tmp_path / "out.mp4")] == list(range(41))
    assert _times(tmp_path / "out.mp4") == _times(film)
    assert result.timeline.variable and "variable rate" in result.report()[0]
    _assert_in_sync(tmp_path / "out.mp4", Fraction(24), 4)


def test_a_late_picture_stays_late(
    film_factory: FilmFactory, identity: Autoencoder, tmp_path: Path
) -> None:
    film = film_factory(start_offset=0.5, frames=29, height=96, width=160, flash_every=10)
    _reassemble(film, identity, tmp_path / "out.mp4")
    times = _times(tmp_path / "out.mp4")
    assert times == [Fraction(1, 2) + Fraction(n, 24) for n in range(29)]
    _assert_in_sync(tmp_path / "out.mp4", Fraction(24), 3)


@pytest.mark.slow
def test_ten_minutes_stay_in_sync(
    film_factory: FilmFactory, identity: Autoencoder, tmp_path: Path
) -> None:
    rate, frames = Fraction(24000, 1001), 14_387
    film = film_factory(rate=rate, frames=frames, height=96, width=160, flash_every=240)
    _reassemble(film, identity, tmp_path / "out.mp4", batch_size=32)
    found = read_film(tmp_path / "out.mp4")
    assert [number for number, _ in found] == list(range(frames))
    assert found[-1][1] == pytest.approx(float((frames - 1) / rate), abs=1e-6)
    _assert_in_sync(tmp_path / "out.mp4", rate, len(range(120, frames, 240)))


def test_a_film_cut_off_before_its_sound_is_made_without(
    film_factory: FilmFactory, identity: Autoencoder, tmp_path: Path
) -> None:
    # The header announces sound that would only come later.
    late = (
        "-af",
        "asetpts=PTS+3/TB",
        "-avoid_negative_ts",
        "disabled",
        "-cluster_time_limit",
        "100",
    )
    whole = film_factory("late_sound.mkv", frames=97, height=96, width=160, extra_ffmpeg_args=late)
    film = tmp_path / "cut.mkv"
    film.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    result = _reassemble(film, identity, tmp_path / "out.mp4")
    assert 10 < result.frames < 80
    numbers = [number for number, _ in read_film(tmp_path / "out.mp4")]
    # The last frame that can be read can be one that was to be shown a little later.
    assert len(numbers) == result.frames and numbers[:-1] == list(range(result.frames - 1))
    assert "the film is cut off" in str(result.problem)
    assert "sound none" in result.report()[0]


# --- Place ---


def test_bars_come_back_black(
    film_factory: FilmFactory, identity: Autoencoder, tmp_path: Path
) -> None:
    film = film_factory(bars=(28, 28), height=152, width=160, frames=11)
    _reassemble(film, identity, tmp_path / "out.mp4", bars=(28, 28, 0, 0))
    pictures = _pictures(tmp_path / "out.mp4")
    assert pictures[0].shape == (152, 160, 3)
    assert [read_number(picture) for picture in pictures] == list(range(11))
    for picture in pictures:
        # Only a block of the encoder that the picture's edge runs through can hold a trace of it.
        assert picture[:16].max() == 0 and picture[-16:].max() == 0
        assert picture[:26].max() <= 8 and picture[-26:].max() <= 8
    assert np.abs(pictures[3][30:-30].astype(int) - _pictures(film)[3][30:-30]).mean() < 3


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_rotated_film_comes_out_upright(
    film_factory: FilmFactory, identity: Autoencoder, tmp_path: Path, rotation: int
) -> None:
    # The stored panel is turned by the file's wish, so numbers can be read only after turning back.
    film = film_factory(rotation=rotation, height=160, width=160, frames=7)
    _reassemble(film, identity, tmp_path / "out.mp4")
    pictures = _pictures(tmp_path / "out.mp4")
    turned = [np.rot90(picture, rotation // 90) for picture in _pictures(film)]
    for picture, wanted in zip(pictures, turned, strict=True):
        assert np.abs(picture.astype(int) - wanted).mean() < 8
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert next(container.decode(video=0)).rotation == 0


def test_a_rotated_film_swaps_its_sides(
    film_factory: FilmFactory, identity: Autoencoder, tmp_path: Path
) -> None:
    film = film_factory(rotation=90, height=96, width=160, frames=7)
    _reassemble(film, identity, tmp_path / "out.mp4")
    pictures = _pictures(tmp_path / "out.mp4")
    assert pictures[0].shape == (160, 96, 3)
    assert [read_number(np.rot90(picture, -1)) for picture in pictures] == list(range(7))


def test_wide_pixels_become_square(
    film_factory: FilmFactory, identity: Autoencoder, tmp_path: Path
) -> None:
    film = film_factory(sample_aspect=Fraction(4, 3), height=96, width=120, frames=7)
    _reassemble(film, identity, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        frames = list(container.decode(video=0))
        assert (frames[0].height, frames[0].width) == (96, 160)
        assert container.streams.video[0].sample_aspect_ratio in (None, 1)
        numbers = [read_number(frame.to_ndarray(format="rgb24")) for frame in frames]
    assert numbers == list(range(7))


def test_sizes_wanted(film_factory: FilmFactory, identity: Autoencoder, tmp_path: Path) -> None:
    film = film_factory(height=192, width=448, frames=7)
    _reassemble(film, identity, tmp_path / "small.mp4", max_height=100)
    _reassemble(film, identity, tmp_path / "raster.mp4", keep_raster=True)
    small, raster = _pictures(tmp_path / "small.mp4"), _pictures(tmp_path / "raster.mp4")
    assert small[0].shape == (100, 234, 3) and raster[0].shape == (96, 160, 3)
    assert [read_number(picture) for picture in raster] == list(range(7))
    # 7:3 does not fill a raster of 5:3: the model's own picture has margins.
    assert raster[0][:9].mean() < 1 and small[0][:10].max() > 50


def test_odd_images_become_an_even_film(identity: Autoencoder, tmp_path: Path) -> None:
    from PIL import Image

    from tests.helpers.synthetic_film import film_pictures

    folder = tmp_path / "images"
    folder.mkdir()
    for number, picture in enumerate(film_pictures(11, 97, 161)):
        Image.fromarray(picture).save(folder / f"{number}.png")
    result = _reassemble(folder, identity, tmp_path / "out.mp4")
    pictures = _pictures(tmp_path / "out.mp4")
    assert pictures[0].shape == (98, 162, 3)
    assert [read_number(picture) for picture in pictures] == list(range(11))
    assert "sound none, as in the original" in result.report()[0]


# --- Colour ---


@pytest.mark.parametrize("colour", [(200, 40, 40), (20, 180, 60), (0, 0, 0), (255, 255, 255)])
def test_colours_come_back_and_are_tagged(
    identity: Autoencoder, tmp_path: Path, colour: tuple[int, int, int]
) -> None:
    film = _film_of_one_colour(tmp_path / "film.mp4", colour)
    side_by_side = tmp_path / "both.mp4"
    _reassemble(film, identity, tmp_path / "out.mp4", side_by_side=side_by_side)
    tolerance = 0 if colour == (0, 0, 0) else 3
    for path in (tmp_path / "out.mp4", side_by_side):
        for picture in _pictures(path):
            assert np.abs(picture.astype(int) - colour).max() <= tolerance
        with av.open(str(path)) as container:
            context = container.streams.video[0].codec_context
            assert (context.colorspace, context.color_primaries, context.color_trc) == (1, 1, 1)
            assert context.color_range == 1


# --- Side by side ---


def test_original_left_dream_right_same_frame_same_time(
    film_factory: FilmFactory, dim: Autoencoder, tmp_path: Path
) -> None:
    film = film_factory(rate=Fraction(25), frames=43, height=96, width=160, flash_every=10)
    both = tmp_path / "both.mp4"
    result = _reassemble(film, dim, tmp_path / "out.mp4", side_by_side=both)
    assert [path for path, _ in result.films] == [tmp_path / "out.mp4", both]
    assert _times(both) == _times(film)
    originals, dreams = _pictures(film), _pictures(tmp_path / "out.mp4")
    for number, picture in enumerate(_pictures(both)):
        assert picture.shape == (96, 320, 3)
        left, right = picture[:, :160].astype(int), picture[:, 160:].astype(int)
        assert read_number(picture[:, :160]) == read_number(picture[:, 160:]) == number
        assert np.abs(left - originals[number]).mean() < 4
        assert np.abs(right - dreams[number]).mean() < 4
        assert right.mean() == pytest.approx(0.7 * left.mean(), rel=0.06)
    assert len(flash_times(tmp_path / "out.mp4")) == len(beep_times(both)) == 4


def test_both_panels_show_the_bars(
    film_factory: FilmFactory, dim: Autoencoder, tmp_path: Path
) -> None:
    film = film_factory(bars=(28, 28), height=152, width=160, frames=5)
    both = tmp_path / "both.mkv"
    _reassemble(
        film, dim, tmp_path / "a.mkv", bars=(28, 28, 0, 0), side_by_side=both, max_height=76
    )
    picture = _pictures(both)[0]
    assert picture.shape == (76, 160, 3)
    assert picture[:12].max() <= 8 and picture[-12:].max() <= 8
    assert picture[20:56, :80].mean() > picture[20:56, 80:].mean() > 30


# --- Files ---


def test_nothing_else_is_left_and_nothing_existing_is_touched(
    film_factory: FilmFactory, identity: Autoencoder, tmp_path: Path
) -> None:
    film = film_factory(height=96, width=160, frames=7)
    output = tmp_path / "new folder" / 'it\'s 100 % a, "film".mp4'
    _reassemble(film, identity, output)
    assert [path.name for path in output.parent.iterdir()] == [output.name]
    before = output.read_bytes()
    with pytest.raises(InputError, match="exists; use --overwrite"):
        _reassemble(film, identity, output)
    with pytest.raises(InputError, match="is the film itself"):
        _reassemble(output, identity, output, overwrite=True)
    assert output.read_bytes() == before
    _reassemble(film, identity, output, overwrite=True, keep_raster=True, max_height=20)
    assert [path.name for path in output.parent.iterdir()] == [output.name]


def test_stale_files_of_a_killed_run_are_removed(
    film_factory: FilmFactory, identity: Autoencoder, tmp_path: Path
) -> None:
    for name in (".out.partial.mp4", ".out.mp4.pictures.mp4", ".out.mp4.lock"):
        (tmp_path / name).write_bytes(b"half a film")
    _reassemble(film_factory(height=96, width=160, frames=7), identity, tmp_path / "out.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_a_failed_verification_publishes_neither_film(
    film_factory: FilmFactory,
    identity: Autoencoder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from bladerunner_ae import reassembly
    from bladerunner_ae.errors import OutputError

    def fail_second(path: Path, *rest: Any) -> Any:
        if "both" in path.name:
            raise OutputError("made to fail")
        return verify(path, *rest)

    verify = reassembly.verify_film
    monkeypatch.setattr(reassembly, "verify_film", fail_second)
    film = film_factory(height=96, width=160, frames=7)
    with pytest.raises(OutputError, match="made to fail"):
        _reassemble(film, identity, tmp_path / "out.mp4", side_by_side=tmp_path / "both.mp4")
    assert list(tmp_path.iterdir()) == []


def test_the_batch_size_does_not_matter(
    film_factory: FilmFactory, dim: Autoencoder, tmp_path: Path
) -> None:
    film = film_factory(height=96, width=160, frames=13)
    for size in (1, 5, 64):
        _reassemble(film, dim, tmp_path / f"{size}.mp4", batch_size=size)
    ones = _pictures(tmp_path / "1.mp4")
    for size in (5, 64):
        for a, b in zip(ones, _pictures(tmp_path / f"{size}.mp4"), strict=True):
            assert np.array_equal(a, b)


@pytest.mark.parametrize("shape", [(96, 160), (100, 160), (90, 160)])
def test_a_film_of_nearly_the_rasters_shape_fills_it(
    film_factory: FilmFactory, shape: tuple[int, int]
) -> None:
    info = probe_film(film_factory(height=shape[0], width=shape[1], frames=3))
    geometry = choose_geometry(info, _RASTER, (0, 0, 0, 0))
    assert geometry.picture.size == _RASTER
    narrow = choose_geometry(info, (96, 96), (0, 0, 0, 0))
    assert narrow.picture.width == 96 and narrow.picture.height < 64
