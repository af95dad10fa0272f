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
from PIL import Image

from bladerunner_ae import reassembly
from bladerunner_ae.errors import InputError, OutputError
from bladerunner_ae.exports.loading import Autoencoder, load_autoencoder
from bladerunner_ae.film.reading.probe import probe_film
from bladerunner_ae.reassembly import (
    Reassembly,
    ReassemblyOptions,
    WrittenFilm,
    choose_geometry,
    reassemble_film,
)
from tests.helpers.synthetic_film import (
    beep_times,
    film_pictures,
    flash_times,
    read_film,
    read_number,
)
from tests.helpers.tiny_networks import save_autoencoder

Films = Callable[..., Path]
Picture = NDArray[np.uint8]
RASTER = (96, 160)
NO_BARS = (0, 0, 0, 0)


@pytest.fixture(scope="module")
def films(film_factory: Films) -> Films:
    """The film factory, for films of the raster's size."""
    return lambda name="film.mp4", **given: film_factory(
        name, **{"height": 96, "width": 160} | given
    )


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Autoencoder:
    return load_autoencoder(save_autoencoder(tmp_path_factory.mktemp("identity"), RASTER))


@pytest.fixture(scope="module")
def dim(tmp_path_factory: pytest.TempPathFactory) -> Autoencoder:
    return load_autoencoder(save_autoencoder(tmp_path_factory.mktemp("dim"), RASTER, "dim"))


def dream(
    film: Path,
    model: Autoencoder,
    output: Path,
    bars: tuple[int, int, int, int] = NO_BARS,
    **options: Any,
) -> Reassembly:
    geometry = choose_geometry(probe_film(film), model.raster, bars)
    given = ReassemblyOptions(**{"batch_size": 8} | options)
    return reassemble_film(film, model, output, given, geometry)


def pictures_of(film: Path) -> list[Picture]:
    """Return every frame as a player that heeds the tags shows it."""
    with av.open(str(film)) as container:
        frames = (
            frame.reformat(format="rgb24", src_colorspace="ITU709")
            for frame in container.decode(video=0)
        )
        return [np.asarray(frame.to_ndarray(), np.uint8) for frame in frames]


def times_of(film: Path) -> list[Fraction]:
    with av.open(str(film)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


def numbers_of(film: Path) -> list[int]:
    return [number for number, _ in read_film(film)]


def difference(one: Picture, other: Any) -> float:
    """Return the mean absolute difference."""
    return float(np.abs(one.astype(int) - other).mean())


def check_sync(film: Path, rate: Fraction, expected: int) -> None:
    """Each flash and its beep begin within one frame of each other."""
    flashes, beeps = flash_times(film), beep_times(film)
    assert len(flashes) == len(beeps) == expected
    apart = [abs(flash - beep) for flash, beep in zip(flashes, beeps, strict=True)]
    assert max(apart) < 1 / rate


# --- Time ---


@pytest.mark.parametrize(
    ("rate", "frames"),
    [("24", 53), ("25", 61), ("24000/1001", 59), ("30000/1001", 67)],
)
def test_every_frame_comes_out_at_its_exact_time(
    films: Films, identity: Autoencoder, tmp_path: Path, rate: str, frames: int
) -> None:
    film, output = films(rate=Fraction(rate), frames=frames, flash_every=10), tmp_path / "out.mp4"
    (written,) = dream(film, identity, output).films
    assert numbers_of(output) == list(range(frames))
    assert times_of(output) == [n / Fraction(rate) for n in range(frames)]
    assert (written.rate, written.variable, written.largest_error) == (Fraction(rate), False, 0)
    assert f"{frames} frames in, {frames} out, {rate} fps" in written.report()
    assert "largest timestamp error 0 s; sound copied (aac, " in written.report()
    assert written.report().endswith(" packets identical); sync verified")
    assert WrittenFilm.from_json(written.to_json()) == written
    check_sync(output, Fraction(rate), len(range(5, frames, 10)))


def test_a_variable_film_keeps_the_time_of_every_frame(
    films: Films, identity: Autoencoder, tmp_path: Path
) -> None:
    film, output = films(variable_rate=True, frames=41, flash_every=10), tmp_path / "out.mp4"
    (written,) = dream(film, identity, output).films
    assert numbers_of(output) == list(range(41))
    assert times_of(output) == times_of(film)
    assert written.variable and "variable rate" in written.report()
    check_sync(output, Fraction(24), 4)


def test_a_late_picture_stays_late(films: Films, identity: Autoencoder, tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    dream(films(start_offset=0.5, frames=29, flash_every=10), identity, output)
    assert times_of(output) == [Fraction(1, 2) + Fraction(n, 24) for n in range(29)]
    check_sync(output, Fraction(24), 3)


@pytest.mark.slow
def test_ten_minutes_stay_in_sync(films: Films, identity: Autoencoder, tmp_path: Path) -> None:
    rate, frames, output = Fraction(24000, 1001), 14_387, tmp_path / "out.mp4"
    dream(films(rate=rate, frames=frames, flash_every=240), identity, output, batch_size=32)
    found = read_film(output)
    assert [number for number, _ in found] == list(range(frames))
    assert found[-1][1] == pytest.approx(float((frames - 1) / rate), abs=1e-6)
    check_sync(output, rate, len(range(120, frames, 240)))


def test_a_film_cut_off_before_its_sound_has_none(
    films: Films, identity: Autoencoder, tmp_path: Path
) -> None:
    # The header announces sound that would only come later.
    late = ("-af", "asetpts=PTS+3/TB", "-avoid_negative_ts", "disabled",
            "-cluster_time_limit", "100")  # fmt: skip
    whole = films("late_sound.mkv", frames=97, extra_ffmpeg_args=late)
    film = tmp_path / "cut.mkv"
    film.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    result = dream(film, identity, tmp_path / "out.mp4")
    frames = result.films[0].frames
    assert 10 < frames < 80
    numbers = numbers_of(tmp_path / "out.mp4")
    # The last frame that can be read can be one that was to be shown a little later.
    assert len(numbers) == frames and numbers[:-1] == list(range(frames - 1))
    assert "the film is cut off" in str(result.problem)
    assert "sound none" in result.films[0].report()


# --- Place ---


def test_bars_come_back_black(films: Films, identity: Autoencoder, tmp_path: Path) -> None:
    film = films(bars=(28, 28), height=152, frames=11)
    dream(film, identity, tmp_path / "out.mp4", bars=(28, 28, 0, 0))
    pictures = pictures_of(tmp_path / "out.mp4")
    assert pictures[0].shape == (152, 160, 3)
    assert [read_number(picture) for picture in pictures] == list(range(11))
    for picture in pictures:
        # Only a block of the encoder that the picture's edge runs through can hold a trace of it.
        assert picture[:16].max() == 0 and picture[-16:].max() == 0
        assert picture[:26].max() <= 8 and picture[-26:].max() <= 8
    assert difference(pictures[3][30:-30], pictures_of(film)[3][30:-30]) < 3


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_rotated_film_comes_out_upright(
    films: Films, identity: Autoencoder, tmp_path: Path, rotation: int
) -> None:
    # The stored panel is rotated by the player, so numbers can be read only after rotating back.
    film = films(rotation=rotation, height=160, frames=7)
    dream(film, identity, tmp_path / "out.mp4")
    rotated = [np.rot90(picture, rotation // 90) for picture in pictures_of(film)]
    for picture, wanted in zip(pictures_of(tmp_path / "out.mp4"), rotated, strict=True):
        assert difference(picture, wanted) < 8
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert next(container.decode(video=0)).rotation == 0


def test_a_rotated_film_swaps_its_sides(
    films: Films, identity: Autoencoder, tmp_path: Path
) -> None:
    dream(films(rotation=90, frames=7), identity, tmp_path / "out.mp4")
    pictures = pictures_of(tmp_path / "out.mp4")
    assert pictures[0].shape == (160, 96, 3)
    assert [read_number(np.rot90(picture, -1)) for picture in pictures] == list(range(7))


def test_wide_pixels_become_square(films: Films, identity: Autoencoder, tmp_path: Path) -> None:
    film = films(sample_aspect=Fraction(4, 3), width=120, frames=7)
    dream(film, identity, tmp_path / "out.mp4")
    pictures = pictures_of(tmp_path / "out.mp4")
    assert pictures[0].shape == (96, 160, 3)
    assert [read_number(picture) for picture in pictures] == list(range(7))
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].sample_aspect_ratio in (None, 1)


def test_sizes_wanted(films: Films, identity: Autoencoder, tmp_path: Path) -> None:
    film = films(height=192, width=448, frames=7)
    dream(film, identity, tmp_path / "small.mp4", max_height=100)
    dream(film, identity, tmp_path / "raster.mp4", keep_raster=True)
    small, raster = pictures_of(tmp_path / "small.mp4"), pictures_of(tmp_path / "raster.mp4")
    assert small[0].shape == (100, 234, 3) and raster[0].shape == (96, 160, 3)
    assert [read_number(picture) for picture in raster] == list(range(7))
    # 7:3 does not fill a raster of 5:3: the model's own picture has margins.
    assert raster[0][:9].mean() < 1 and small[0][:10].max() > 50


def test_odd_images_become_an_even_film(identity: Autoencoder, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for number, picture in enumerate(film_pictures(11, 97, 161)):
        Image.fromarray(picture).save(tmp_path / "images" / f"{number}.png")
    result = dream(tmp_path / "images", identity, tmp_path / "out.mp4")
    pictures = pictures_of(tmp_path / "out.mp4")
    assert pictures[0].shape == (98, 162, 3)
    assert [read_number(picture) for picture in pictures] == list(range(11))
    assert "sound none, as in the original" in result.films[0].report()


# --- Colour ---


@pytest.mark.parametrize("colour", [(200, 40, 40), (20, 180, 60), (0, 0, 0), (255, 255, 255)])
def test_colours_come_back_and_are_tagged(
    identity: Autoencoder, tmp_path: Path, colour: tuple[int, int, int]
) -> None:
    film, both = tmp_path / "film.mp4", tmp_path / "both.mp4"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-f", "lavfi", "-i"]
    command += [f"color=0x{bytes(colour).hex()}:s=160x96:r=24,format=gbrp", "-frames:v", "9"]
    command += ["-vf", "scale=out_color_matrix=bt709:out_range=tv,format=yuv420p"]
    command += ["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"]
    subprocess.run([*command, "-crf", "4", str(film)], check=True)
    dream(film, identity, tmp_path / "out.mp4", side_by_side=both)
    tolerance = 0 if colour == (0, 0, 0) else 3
    for path in (tmp_path / "out.mp4", both):
        for picture in pictures_of(path):
            assert np.abs(picture.astype(int) - colour).max() <= tolerance
        with av.open(str(path)) as container:
            tags = container.streams.video[0].codec_context
            assert (tags.colorspace, tags.color_primaries, tags.color_trc) == (1, 1, 1)
            assert tags.color_range == 1


# --- Side by side ---


def test_original_left_dream_right_same_frame_same_time(
    films: Films, dim: Autoencoder, tmp_path: Path
) -> None:
    film, both = films(rate=Fraction(25), frames=43, flash_every=10), tmp_path / "both.mp4"
    result = dream(film, dim, tmp_path / "out.mp4", side_by_side=both)
    assert [one.path for one in result.films] == [tmp_path / "out.mp4", both]
    assert times_of(both) == times_of(film)
    originals, dreams = pictures_of(film), pictures_of(tmp_path / "out.mp4")
    for number, picture in enumerate(pictures_of(both)):
        assert picture.shape == (96, 320, 3)
        left, right = picture[:, :160], picture[:, 160:]
        assert read_number(left) == read_number(right) == number
        assert difference(left, originals[number]) < 4
        assert difference(right, dreams[number]) < 4
        assert right.mean() == pytest.approx(0.7 * left.mean(), rel=0.06)
    assert len(flash_times(tmp_path / "out.mp4")) == len(beep_times(both)) == 4


def test_both_panels_show_the_bars(films: Films, dim: Autoencoder, tmp_path: Path) -> None:
    film, both = films(bars=(28, 28), height=152, frames=5), tmp_path / "both.mkv"
    dream(film, dim, tmp_path / "a.mkv", (28, 28, 0, 0), side_by_side=both, max_height=76)
    picture = pictures_of(both)[0]
    assert picture.shape == (76, 160, 3)
    assert picture[:12].max() <= 8 and picture[-12:].max() <= 8
    assert picture[20:56, :80].mean() > picture[20:56, 80:].mean() > 30


# --- Files ---


def test_no_other_file_is_left_or_replaced(
    films: Films, identity: Autoencoder, tmp_path: Path
) -> None:
    film, output = films(frames=7), tmp_path / "new folder" / 'it\'s 100 % a, "film".mp4'
    dream(film, identity, output)
    assert [path.name for path in output.parent.iterdir()] == [output.name]
    before = output.read_bytes()
    with pytest.raises(InputError, match="exists; use --overwrite"):
        dream(film, identity, output)
    with pytest.raises(InputError, match="is the film itself"):
        dream(output, identity, output, overwrite=True)
    assert output.read_bytes() == before
    dream(film, identity, output, overwrite=True, keep_raster=True, max_height=20)
    assert [path.name for path in output.parent.iterdir()] == [output.name]


def test_stale_files_of_a_killed_run_are_removed(
    films: Films, identity: Autoencoder, tmp_path: Path
) -> None:
    for name in (".out.partial.mp4", ".out.mp4.pictures.mp4", ".out.mp4.lock"):
        (tmp_path / name).write_bytes(b"half a film")
    dream(films(frames=7), identity, tmp_path / "out.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_a_failed_verification_publishes_neither_film(
    films: Films, identity: Autoencoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verify = reassembly.verify_film

    def fail_second(path: Path, *rest: Any) -> Any:
        if "both" in path.name:
            raise OutputError("made to fail")
        return verify(path, *rest)

    monkeypatch.setattr(reassembly, "verify_film", fail_second)
    with pytest.raises(OutputError, match="made to fail"):
        dream(films(frames=7), identity, tmp_path / "out.mp4", side_by_side=tmp_path / "both.mp4")
    assert list(tmp_path.iterdir()) == []


def test_the_batch_size_does_not_matter(films: Films, dim: Autoencoder, tmp_path: Path) -> None:
    outputs = {size: tmp_path / f"{size}.mp4" for size in (1, 5, 64)}
    for size, output in outputs.items():
        dream(films(frames=13), dim, output, batch_size=size)
    first, *others = (np.stack(pictures_of(output)) for output in outputs.values())
    assert all(np.array_equal(first, other) for other in others)


@pytest.mark.parametrize("height", [96, 100, 90])
def test_a_film_of_nearly_the_rasters_shape_fills_it(films: Films, height: int) -> None:
    info = probe_film(films(height=height, frames=3))
    assert choose_geometry(info, RASTER, NO_BARS).picture.size == RASTER
    narrow = choose_geometry(info, (96, 96), NO_BARS)
    assert narrow.picture.width == 96 and narrow.picture.height < 64
