"""Animated pictures as films: every frame at its own time, what is transparent on black."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from PIL import Image

from bladerunner_ae.conversion.convert import convert_film, plan_conversion
from bladerunner_ae.conversion.existing import finished_card
from bladerunner_ae.conversion.options import ConversionOptions
from bladerunner_ae.errors import InputError
from bladerunner_ae.film import picture_limits
from bladerunner_ae.film.images import image_sequence as images
from bladerunner_ae.film.reading import probe
from bladerunner_ae.film.reading.bars import find_bars
from bladerunner_ae.film.reading.frame_reader import FrameReader
from bladerunner_ae.film.reading.probe import probe_film
from tests.helpers.awkward_films import ffmpeg

DURATIONS = [100, 40, 200, 0, 100, 3000]
BEGINNINGS = [0, 100, 140, 340, 440, 540]  # what is to be shown for no time is shown for 100 ms
ALPHA = [255, 100, 0, 255, 255, 255]


@pytest.fixture(scope="module")
def webp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pictures of (20 i, 80, 200), some of them transparent, 32x48."""
    first, *others = (
        Image.new("RGBA", (48, 32), (20 * number, 80, 200, alpha))
        for number, alpha in enumerate(ALPHA)
    )
    path = tmp_path_factory.mktemp("webp") / "animated.webp"
    first.save(path, save_all=True, append_images=others, duration=DURATIONS, lossless=True,
               minimize_size=False, allow_mixed=False, exact=True)  # fmt: skip
    return path


def _shown(number: int) -> list[int]:
    return [(value * ALPHA[number] + 127) // 255 for value in (20 * number, 80, 200)]


def test_every_picture_of_a_webp_at_its_time(webp: Path) -> None:
    info = probe_film(webp)
    assert (info.kind, info.picture.stored, info.picture.codec) == ("images", (32, 48), "webp")
    assert (info.timing.frames_estimate, info.timing.time_base) == (6, Fraction(1, 1000))
    assert info.timing.duration == Fraction(3540, 1000)
    assert list(map(str, info.notes)) == [
        "the images can be transparent; what is transparent is black"
    ]
    with FrameReader(info) as reader:
        frames = list(reader)
    assert [frame.pts for frame in frames] == BEGINNINGS
    assert [frame.image[0, 0].tolist() for frame in frames] == [_shown(n) for n in range(6)]
    with FrameReader(info, start=Fraction(1, 10), duration=Fraction(1, 4)) as reader:
        assert [frame.pts for frame in reader] == [100, 140, 340]
    assert find_bars(info) == (0, 0, 0, 0)
    assert images.list_images(webp).times == [*BEGINNINGS, 3540]


def test_a_webp_becomes_records_once(webp: Path, tmp_path: Path) -> None:
    options = ConversionOptions(height=32, width=48, image_format="png", num_shards=2)
    card = convert_film(plan_conversion(webp, tmp_path, options))
    assert (card.frames, card.last_pts, card.variable_rate) == (6, 540, True)
    assert card.source["kind"] == "film" and "frame_rate" not in card.options
    other_rate = ConversionOptions(
        height=32, width=48, image_format="png", num_shards=2, frame_rate=Fraction(12)
    )
    assert finished_card(webp, tmp_path / "animated", other_rate) == card


def test_a_webp_at_an_even_rate_has_it(tmp_path: Path) -> None:
    pictures = [Image.new("RGB", (16, 16), (50 * number, 0, 0)) for number in range(4)]
    path = tmp_path / "even.webp"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=80, lossless=True)
    assert probe_film(path).timing.frame_rate == Fraction(25, 2)


@pytest.mark.parametrize("part", [0.2, 0.7])
def test_a_webp_that_is_cut_off(part: float, webp: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.webp"
    path.write_bytes(webp.read_bytes()[: int(part * webp.stat().st_size)])
    with pytest.raises(InputError, match=r"cut\.webp: is cut off"):
        probe_film(path)


def test_a_huge_webp_is_refused_by_its_header(webp: Path, tmp_path: Path) -> None:
    data = bytearray(webp.read_bytes())
    data[24:30] = (15999).to_bytes(3, "little") * 2
    path = tmp_path / "huge.webp"
    path.write_bytes(data)
    with pytest.raises(InputError, match="16000x16000"):
        probe_film(path)


def test_an_animated_avif_is_all_of_its_pictures(tmp_path: Path) -> None:
    path = tmp_path / "animated.avif"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:r=10:d=0.5", "-c:v", "libaom-av1", "-cpu-used",
           "8", "-f", "avif", path)  # fmt: skip
    info = probe_film(path)
    with FrameReader(info) as reader:
        assert [frame.pts * info.timing.time_base for frame in reader] == [
            Fraction(number, 10) for number in range(5)
        ]
    still = tmp_path / "still.avif"
    ffmpeg("-i", path, "-frames:v", "1", "-c:v", "libaom-av1", "-cpu-used", "8", "-still-picture",
           "1", still)  # fmt: skip
    with pytest.raises(InputError, match="is a single picture"):
        probe_film(still)


def test_a_huge_film_is_refused_before_it_is_decoded(
    synthetic_film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    height, width = probe_film(synthetic_film).picture.stored
    monkeypatch.setattr(picture_limits, "MOST_PIXELS", height * width - 1)
    monkeypatch.setattr(probe, "first_frame", None)
    with pytest.raises(InputError, match=f"has pictures of {height}x{width}"):
        probe_film(synthetic_film)
