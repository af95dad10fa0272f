"""Pictures as viewers show them: upright, in sRGB, on black; what is no picture is refused."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from bladerunner_ae.errors import InputError
from bladerunner_ae.film import picture_limits
from bladerunner_ae.film.images.matrix_profiles import SRGB, coded_profile, gamma_profile
from bladerunner_ae.film.images.stills import read_facts, read_still
from bladerunner_ae.film.reading.probe import probe_film

RED = (200, 60, 60)
_SRGB_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
_P3 = coded_profile(12, 13)
assert _P3 is not None


def _in_srgb(image: Image.Image, profile: bytes) -> tuple[int, ...]:
    right = ImageCms.profileToProfile(
        image,
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        outputMode="RGB",
    )
    assert right is not None
    pixel = right.getpixel((0, 0))
    assert isinstance(pixel, tuple)
    return tuple(int(value) for value in pixel)


def _pixel(path: Path) -> tuple[int, ...]:
    picture = read_still(path)
    assert (picture == picture[0, 0]).all()
    return tuple(picture[0, 0].tolist())


def _plain(mode: str, colour: object) -> Image.Image:
    return Image.new(mode, (8, 6), colour)  # type: ignore[arg-type]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(path: Path, bits: int, kind: int, pixel: tuple[int, ...], *chunks: bytes) -> Path:
    """A PNG of one colour, with chunks before its pixels; kind 0 grey, 2 RGB, 4, 6 with alpha."""
    if bits == 16:
        row = struct.pack(f">{len(pixel)}H", *pixel) * 8
    else:
        row = np.packbits([[pixel[0] >> b & 1 for b in range(bits)][::-1]] * 8).tobytes()
    head = struct.pack(">IIBBBBB", 8, 6, bits, kind, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + b"".join(chunks)
        + _chunk(b"IDAT", zlib.compress((b"\0" + row) * 6)) + _chunk(b"IEND", b"")
    )  # fmt: skip
    return path


@pytest.mark.parametrize(
    ("mode", "colour", "options", "shown"),
    [
        ("RGBA", (*RED, 100), {}, (78, 24, 24)),
        ("RGBA", (*RED, 0), {}, (0, 0, 0)),
        ("LA", (200, 100), {}, (78, 78, 78)),
        ("L", 77, {"transparency": 77}, (0, 0, 0)),
        ("L", 77, {"transparency": 76}, (77, 77, 77)),
        ("RGB", RED, {"transparency": RED}, (0, 0, 0)),
        ("P", 3, {"transparency": 3}, (0, 0, 0)),
        ("P", 3, {"transparency": bytes([255, 255, 255, 128])}, (2, 2, 2)),
        ("1", 1, {"transparency": 1}, (0, 0, 0)),
    ],
)
def test_what_is_transparent_is_black(
    mode: str,
    colour: object,
    options: dict[str, object],
    shown: tuple[int, ...],
    tmp_path: Path,
) -> None:
    image = _plain(mode, colour)
    if mode == "P":
        image.putpalette([value for grey in range(256) for value in (grey, grey, grey)])
    image.save(tmp_path / "1.png", **options)  # type: ignore[arg-type]
    assert _pixel(tmp_path / "1.png") == shown
    assert list(map(str, probe_film(tmp_path).notes)) == [
        "the images can be transparent; what is transparent is black"
    ]


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_transparent_grey_of_few_bits(bits: int, tmp_path: Path) -> None:
    most = (1 << bits) - 1
    clear = _chunk(b"tRNS", struct.pack(">H", most))
    assert _pixel(_png(tmp_path / "1.png", bits, 0, (most,), clear)) == (0, 0, 0)
    assert _pixel(_png(tmp_path / "2.png", bits, 0, (most,))) == (255, 255, 255)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_premultiplied_and_plain_alpha_in_other_formats(suffix: str, tmp_path: Path) -> None:
    _plain("RGBA", (*RED, 100)).save(tmp_path / f"1.{suffix}")
    assert _pixel(tmp_path / f"1.{suffix}") == (78, 24, 24)


@pytest.mark.parametrize(
    ("kind", "pixel", "shown"),
    [
        (0, (0x8081,), (128, 128, 128)),
        (2, (0x8081, 0x1000, 0xFFFF), (128, 16, 255)),
        (4, (0x8081, 0x8000), (64, 64, 64)),
        (6, (0x8081, 0x1000, 0xFFFF, 0x8000), (64, 8, 128)),
    ],
)
def test_sixteen_bits(
    kind: int, pixel: tuple[int, ...], shown: tuple[int, ...], tmp_path: Path
) -> None:
    path = _png(tmp_path / "1.png", 16, kind, pixel)
    assert _pixel(path) == shown
    assert "of 16 bits a channel are read as 8" in map(str, read_facts(path).remarks)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
def test_a_profile_is_converted_to_srgb(suffix: str, tmp_path: Path) -> None:
    image = _plain("RGB", RED)
    path = tmp_path / f"1.{suffix}"
    image.save(path, icc_profile=_P3, quality=100, lossless=True)
    right = _in_srgb(image, _P3)
    assert right == pytest.approx((217, 42, 52), abs=1)  # by the matrices of both spaces
    assert _pixel(path) == pytest.approx(right, abs=2 if suffix == "jpg" else 0)
    assert tuple(map(str, read_facts(path).remarks)) == (
        'are converted to sRGB from their colour profile "cICP 12, 13"',
    )
    image.save(path, icc_profile=_SRGB_PROFILE, quality=100, lossless=True)
    assert _pixel(path) == pytest.approx(RED, abs=1 if suffix == "jpg" else 0)
    assert read_facts(path).remarks == ()


def test_profiles_of_other_modes(tmp_path: Path) -> None:
    path = tmp_path / "1.png"
    _plain("RGBA", (*RED, 128)).save(path, icc_profile=_P3)
    assert _pixel(path) == tuple((v * 128 + 127) // 255 for v in _in_srgb(_plain("RGB", RED), _P3))
    image = _plain("P", 3)
    image.putpalette([*RED] * 256)
    image.save(path, icc_profile=_P3)
    assert _pixel(path) == _in_srgb(_plain("RGB", RED), _P3)
    _plain("L", 100).save(path, icc_profile=gamma_profile(1 / 1.8, SRGB))
    grey = 255 * (1.055 * ((100 / 255) ** 1.8) ** (1 / 2.4) - 0.055)
    assert _pixel(path) == pytest.approx((grey, grey, grey), abs=1)


@pytest.mark.parametrize("profile", [b"no profile" * 30, _P3[:300]], ids=["junk", "cut"])
def test_a_damaged_profile_is_said(profile: bytes, tmp_path: Path) -> None:
    _plain("RGB", RED).save(tmp_path / "1.png", icc_profile=profile)
    assert _pixel(tmp_path / "1.png") == RED
    assert list(map(str, probe_film(tmp_path).notes)) == [
        "the images have a colour profile that is damaged; their colours are taken as sRGB"
    ]


def test_cmyk_and_lab(tmp_path: Path) -> None:
    # Adobe's JPEGs hold the inks inverted.
    for name in ("1.jpg", "1.tif"):
        _plain("CMYK", (0, 200, 200, 20)).save(tmp_path / name, quality=100)
        assert _pixel(tmp_path / name) == pytest.approx((235, 51, 51), abs=1)
        assert "CMYK without a colour profile" in str(read_facts(tmp_path / name).remarks[0])
    _plain("CMYK", (0, 200, 200, 20)).save(tmp_path / "2.tif", icc_profile=_P3)
    assert "does not fit their colours" in str(read_facts(tmp_path / "2.tif").remarks[0])
    lab = ImageCms.profileToProfile(
        _plain("RGB", RED),
        ImageCms.createProfile("sRGB"),
        ImageCms.createProfile("LAB"),
        outputMode="LAB",
    )
    assert lab is not None
    lab.save(tmp_path / "3.tif")
    assert _pixel(tmp_path / "3.tif") == pytest.approx(RED, abs=2)


def test_colours_that_a_png_tells_without_a_profile(tmp_path: Path) -> None:
    grey = 0x8080
    path = tmp_path / "1.png"
    linear = _chunk(b"gAMA", struct.pack(">I", 100000))
    light = (grey >> 8) / 255
    shown = 255 * (1.055 * light ** (1 / 2.4) - 0.055)
    assert _pixel(_png(path, 16, 0, (grey,), linear)) == pytest.approx((shown,) * 3, abs=1)
    usual = _chunk(b"gAMA", struct.pack(">I", 45455))
    assert _pixel(_png(path, 16, 0, (grey,), usual)) == (128, 128, 128)
    rgb = tuple(257 * value for value in RED)
    p3 = _chunk(b"cICP", bytes([12, 13, 0, 1]))
    assert _pixel(_png(path, 16, 2, rgb, p3)) == _in_srgb(_plain("RGB", RED), _P3)
    hdr = _chunk(b"cICP", bytes([9, 16, 0, 1]))
    assert _pixel(_png(path, 16, 2, rgb, hdr)) == RED
    assert str(read_facts(path).remarks[0]) == (
        "have colours of a kind that is not known; they are taken as sRGB"
    )


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
def test_every_orientation(suffix: str, tmp_path: Path) -> None:
    picture = np.zeros((24, 40, 3), np.uint8)
    picture[:12, :20], picture[:12, 20:], picture[12:, :20] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    shown = {
        1: picture, 2: picture[:, ::-1], 3: picture[::-1, ::-1], 4: picture[::-1],
        5: picture.transpose(1, 0, 2), 6: np.rot90(picture, -1),
        7: picture[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(picture),
    }  # fmt: skip
    for orientation, upright in shown.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = tmp_path / f"{orientation}.{suffix}"
        Image.fromarray(picture).save(path, exif=exif, quality=95, subsampling=0, lossless=True)
        found = read_still(path)
        assert found.shape == upright.shape == (*read_facts(path).size, 3)
        assert np.abs(found.astype(int) - upright).max() <= (40 if suffix == "jpg" else 0)


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (b"SIMPLE  =                    T", "is a FITS file"),
        (b"8BPS\0\1", "is a Photoshop file"),
        (b"GIF89a", "is a GIF"),
        (b"\0\0\0\x1cftypavif", "is a HEIF or AVIF file"),
        (b"", "is a file without content"),
        (b"hello there", "it is none of PNG, JPEG"),
    ],
)
def test_what_is_called_a_picture_and_is_none(start: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "1.png"
    path.write_bytes(start + bytes(3000 if start else 0))
    with pytest.raises(InputError, match=words) as caught:
        probe_film(tmp_path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_huge_pictures_are_refused_by_their_headers(tmp_path: Path) -> None:
    path = _png(tmp_path / "1.png", 8, 0, (0,))
    data = path.read_bytes()
    for side in (12000, 40000):  # the second is more than Pillow opens at all
        assert side**2 > picture_limits.MOST_PIXELS
        head = _chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
        path.write_bytes(data[:8] + head + data[33:])
        with pytest.raises(InputError, match=r"1\.png: has .*134217728"):
            probe_film(tmp_path)


def test_all_images_are_looked_at_before_any_work(tmp_path: Path) -> None:
    for number in range(3):
        _plain("RGB", RED).save(tmp_path / f"{number}.png")
    _plain("RGBA", (*RED, 9)).save(tmp_path / "1.png")
    assert list(map(str, probe_film(tmp_path).notes)) == [
        "1 of the 3 images can be transparent; what is transparent is black"
    ]
    Image.new("RGB", (8, 7)).save(tmp_path / "2.png")
    with pytest.raises(InputError, match=r"2\.png: is 7x8"):
        probe_film(tmp_path)
