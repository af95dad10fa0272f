"""Facts that only a film's own headers have: shown part of the picture, colours, encryption."""

import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from bladerunner_ae.conversion.convert import convert_film, plan_conversion
from bladerunner_ae.conversion.options import ConversionOptions
from bladerunner_ae.errors import InputError
from bladerunner_ae.film.headers.matroska import read_tracks
from bladerunner_ae.film.picture.cropping import Margins
from bladerunner_ae.film.reading.bars import find_bars
from bladerunner_ae.film.reading.frame_reader import FrameReader
from bladerunner_ae.film.reading.probe import probe_film
from bladerunner_ae.film.reading.streams import Reason
from tests.film.picture.test_direction import check_shown
from tests.helpers.awkward_films import ffmpeg, film_of
from tests.helpers.mp4_patches import clean_aperture, display_matrix, dolby_vision, with_box

_OPTIONS = ConversionOptions(pixels=1536, multiple=8)


@pytest.fixture(scope="module")
def ramp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of four frames whose rows and columns all differ."""
    picture = np.zeros((72, 96, 3), np.uint8)
    picture[..., 0] = np.linspace(40, 250, 96)
    picture[..., 1] = np.linspace(40, 250, 72)[:, None]
    film = tmp_path_factory.mktemp("ramp") / "film.mp4"
    return film_of(film, [picture] * 4, "-c:v", "libx264", "-qp", "4", "-pix_fmt", "yuv420p")


@pytest.mark.parametrize(
    ("aperture", "stored"),
    [
        ((64, 48, 0, 0), (48, 64)),
        ((61, 47, 0, 0), (46, 60)),  # whole samples of colour, as ffmpeg has it
        ((64, 48, -20, 10), (48, 64)),
        ((58, 40, 3, -5), (40, 58)),
    ],
)
def test_the_clean_aperture_is_what_is_shown(
    aperture: tuple[int, int, int, int], stored: tuple[int, int], ramp: Path, tmp_path: Path
) -> None:
    film = with_box(ramp, tmp_path / "film.mp4", clean_aperture(*aperture))
    assert probe_film(film).picture.stored == stored
    check_shown(film, tmp_path)


def test_cropping_in_matroska_with_a_direction(ramp: Path, tmp_path: Path) -> None:
    film = with_box(ramp, tmp_path / "film.mp4", clean_aperture(60, 44, 10, -6))
    matroska = tmp_path / "film.mkv"
    ffmpeg("-display_rotation", 90, "-display_hflip", "-i", film, "-c", "copy", matroska)
    info = probe_film(matroska)
    assert info.picture.stored == (60, 44) and info.picture.coded == (44, 60)
    check_shown(matroska, tmp_path)


def test_cropping_and_all_that_goes_on_behind_it(ramp: Path, tmp_path: Path) -> None:
    turned = display_matrix(ramp, tmp_path / "turned.mp4", (0, 1, 1, 0))
    film = with_box(turned, tmp_path / "film.mp4", clean_aperture(64, 48, -32, 0))
    info = probe_film(film)
    assert info.picture.stored == (64, 48)
    assert info.streams.described[0]["cropped"] == {"top": 12, "bottom": 12, "left": 0, "right": 32}
    assert find_bars(info) == (0, 0, 0, 0)
    card = convert_film(plan_conversion(film, tmp_path, _OPTIONS))
    assert (card.frames, card.geometry["stored"]) == (4, [64, 48])


def test_an_aperture_outside_of_the_picture_is_passed_over(ramp: Path, tmp_path: Path) -> None:
    film = with_box(ramp, tmp_path / "film.mp4", clean_aperture(64, 48, -80, 0))
    assert probe_film(film).picture.stored == (72, 96)


@pytest.mark.parametrize(
    ("profile", "compatibility", "shown"),
    [(5, 0, False), (10, 0, False), (7, 6, True), (8, 1, True), (8, 4, True), (10, 1, True)],
)
def test_dolby_vision_without_a_picture_of_its_own_is_refused(
    profile: int, compatibility: int, shown: bool, ramp: Path, tmp_path: Path
) -> None:
    film = with_box(ramp, tmp_path / "film.mp4", dolby_vision(profile, compatibility))
    matroska = tmp_path / "film.mkv"
    ffmpeg("-i", film, "-c", "copy", matroska)
    for one in (film, matroska):
        if shown:
            assert probe_film(one).notes == ()
            continue
        with pytest.raises(InputError, match=f"Dolby Vision profile {profile}, .* give a copy"):
            probe_film(one)


@pytest.mark.parametrize("tag", ["encv", "drmi"])
def test_encrypted_pictures_in_mp4(tag: str, ramp: Path, tmp_path: Path) -> None:
    film = with_box(ramp, tmp_path / "film.mp4", struct.pack(">I4s", 8, b"sinf"), tag=tag)
    with pytest.raises(InputError, match=r"film\.mp4: its picture is encrypted"):
        probe_film(film)


def test_encrypted_sound_is_left_out(synthetic_film: Path, tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    data = synthetic_film.read_bytes()
    assert data.count(b"mp4a") == 1
    film.write_bytes(data.replace(b"mp4a", b"enca"))
    info = probe_film(film)
    assert info.streams.sound == ()
    assert [(one.reason, one.codec) for one in info.streams.left_out] in (
        [(Reason.ENCRYPTED, "enca")], [(Reason.ENCRYPTED, "aac")],
    )  # fmt: skip


def test_sound_of_an_unknown_codec_is_named(synthetic_film: Path, tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(
        synthetic_film.read_bytes().replace(b"mp4a", b"zzzz").replace(b"esds", b"free")
    )
    (sound,) = probe_film(film).streams.left_out
    assert (sound.reason, sound.kind, sound.codec) == (Reason.UNKNOWN_CODEC, "audio", "zzzz")


def test_scrambled_transport_streams(synthetic_film: Path, tmp_path: Path) -> None:
    film = tmp_path / "film.ts"
    ffmpeg("-i", synthetic_film, "-c", "copy", film)
    data = bytearray(film.read_bytes())
    for place in range(0, len(data), 188):
        if (data[place + 1] & 0x1F, data[place + 2]) == (1, 0):  # the picture's packets
            data[place + 3] |= 0x80
    film.write_bytes(data)
    with pytest.raises(InputError, match="its picture is encrypted"):
        probe_film(film)


def test_protected_windows_media(synthetic_film: Path, tmp_path: Path) -> None:
    film = tmp_path / "film.wmv"
    ffmpeg("-i", synthetic_film, "-c:v", "wmv2", "-c:a", "wmav2", film)
    data = bytearray(film.read_bytes())
    secret = struct.pack("<I4sI4sI4sI4s", 4, b"data", 4, b"DRM\0", 4, b"key\0", 4, b"url\0")
    kind = bytes.fromhex("fbb3112223bdd211b4b700a0c955fc6e")
    part = kind + struct.pack("<Q", 24 + len(secret)) + secret
    size, count = struct.unpack_from("<QI", data, 16)
    struct.pack_into("<QI", data, 16, size + len(part), count + 1)
    data[30:30] = part
    film.write_bytes(data)
    with pytest.raises(InputError, match="its picture is encrypted"):
        probe_film(film)


def _element(identity: int, *contents: bytes) -> bytes:
    data = b"".join(contents)
    return identity.to_bytes((identity.bit_length() + 7) // 8, "big") + (
        (1 << 56 | len(data)).to_bytes(8, "big") + data
    )


def test_tracks_of_matroska_wherever_they_stand(tmp_path: Path) -> None:
    encodings = _element(0x6D80, _element(0x6240, _element(0x5033, b"\1")))
    crop = _element(0xE0, _element(0x54BB, b"\7"), _element(0x54DD, b"\1\0"))
    picture = _element(0xAE, _element(0x83, b"\1"), _element(0x86, b"V_VP9"), crop, encodings)
    buttons = _element(0xAE, _element(0x83, b"\x12"), _element(0x86, b"B_VOBBTN"))
    sound = _element(0xAE, _element(0x83, b"\2"), _element(0x86, b"A_OPUS"))
    tracks = _element(0x1654AE6B, buttons, picture, sound)
    cluster = _element(0x1F43B675, bytes(50))

    def seek(place: int) -> bytes:
        target = _element(0x53AC, place.to_bytes(8, "big"))
        return _element(0x114D9B74, _element(0x4DBB, _element(0x53AB, b"\x16\x54\xae\x6b"), target))

    late = seek(0)
    contents = (seek(len(late) + len(cluster)) + cluster + tracks, tracks + cluster, late + cluster)
    found = []
    for number, segment in enumerate(contents):
        film = tmp_path / f"{number}.mkv"
        film.write_bytes(_element(0x1A45DFA3, b"") + _element(0x18538067, segment))
        found.append(read_tracks(film))
    assert [(one.codec, one.crop, one.encrypted) for one in found[0]] == [
        ("V_VP9", Margins(top=7, right=256), True),
        ("A_OPUS", Margins(), False),
    ]
    assert found[1] == found[0]
    assert found[2] == []  # the seek head leads back to itself


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Make a film of single frames, of which all after the first so many are noise."""
    folder = tmp_path_factory.mktemp("spoilt")

    def make(whole: int) -> Path:
        film = folder / f"{whole}.mp4"
        ffmpeg(
            "-f", "lavfi", "-i", "testsrc2=s=96x64:r=24", "-frames:v", 40, "-c:v", "libx264",
            "-g", 1, "-bsf:v", f"noise=amount='if(lt(n,{whole}),0,3)'", film,
        )  # fmt: skip
        return film

    return make


def test_a_film_of_which_hardly_anything_is_whole_is_refused(
    spoilt: Callable[[int], Path], tmp_path: Path
) -> None:
    film = spoilt(8)
    with pytest.raises(InputError, match=r"only 8 of \d+ frames are whole; .*--keep_damaged"):
        convert_film(plan_conversion(film, tmp_path, _OPTIONS))
    assert not list(tmp_path.iterdir())
    card = convert_film(plan_conversion(film, tmp_path, _OPTIONS), keep_damaged=True)
    assert card.frames >= 8
    assert any("damaged" in note for note in card.notes)


def test_a_film_that_is_damaged_in_places_is_kept(
    spoilt: Callable[[int], Path], tmp_path: Path
) -> None:
    card = convert_film(plan_conversion(spoilt(30), tmp_path, _OPTIONS))
    assert card.frames >= 30 and any("damaged" in note for note in card.notes)


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("mp4", ["-movflags", "frag_keyframe+empty_moov+default_base_moof"]),
        ("flv", []), ("mkv", []), ("nut", []), ("ts", []),
    ],
)  # fmt: skip
def test_a_film_is_whole_wherever_its_clock_begins(
    suffix: str, options: list[str], tmp_path: Path
) -> None:
    film = tmp_path / f"film.{suffix}"
    ffmpeg(
        "-f", "lavfi", "-i", "testsrc2=s=96x64:r=25:d=2", "-f", "lavfi", "-i", "sine=d=2",
        "-c:v", "libx264", "-g", 12, "-c:a", "aac", *options, "-output_ts_offset", 1000, film,
    )  # fmt: skip
    info = probe_film(film)
    assert info.timing.duration is not None and abs(info.timing.duration - 2) < Fraction(1, 4)
    assert info.timing.frames_estimate is not None and abs(info.timing.frames_estimate - 50) <= 2
    with FrameReader(info) as reader:
        assert (len(list(reader)), reader.problem) == (50, None)


def test_fragments_from_the_middle_of_a_live_stream(tmp_path: Path) -> None:
    ffmpeg(
        "-f", "lavfi", "-i", "testsrc2=s=96x64:r=25:d=8", "-f", "lavfi", "-i", "sine=d=8",
        "-c:v", "libx264", "-g", 25, "-c:a", "aac", "-f", "hls", "-hls_time", 1,
        "-hls_segment_type", "fmp4", "-hls_list_size", 0, tmp_path / "o.m3u8",
    )  # fmt: skip
    film = tmp_path / "film.mp4"
    names = ["init.mp4", *(f"o{number}.m4s" for number in range(4, 8))]
    film.write_bytes(b"".join((tmp_path / name).read_bytes() for name in names))
    info = probe_film(film)
    assert (info.timing.frames_estimate, round(float(info.timing.film_start))) == (100, 4)
    with FrameReader(info) as reader:
        assert (len(list(reader)), reader.problem) == (100, None)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(film.read_bytes()[:-2000])
    with FrameReader(probe_film(cut)) as reader:
        list(reader)
    assert "cut off" in str(reader.problem)
