"""In which order the images of a folder come, found from all of their names, or refused."""

import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bladerunner_ae.errors import InputError
from bladerunner_ae.film.images.image_sequence import list_images
from bladerunner_ae.film.images.name_numbers import UnclearOrderError
from bladerunner_ae.film.images.numbering import order_names
from bladerunner_ae.film.reading.probe import probe_film
from bladerunner_ae.film.reading.source import Source, film_name

_SEEDS = [random.Random(3).randrange(10**9, 2**32) for _ in range(1)] + [
    random.Random(number).randrange(10**9, 2**32) for number in range(11)
]


def _frames(pattern: str, count: int = 12, first: int = 0) -> list[str]:
    return [
        pattern.format(n=number, seed=_SEEDS[number % 12]) for number in range(first, first + count)
    ]


CLEAR = {
    "not padded": _frames("{n}", first=1),
    "one image": ["shot7"],
    "constant numbers": _frames("film2_1080p_{n:04}"),
    "scale behind": _frames("frame{n:06}_x4"),
    "seed behind": _frames("{n:05}-{seed}"),
    "hexadecimal seed behind": _frames("{n:05}-{seed:08x}"),
    "hexadecimal seeds around": _frames("im_{seed:08x}_{n}_{seed:x}"),
    "seed before": _frames("{seed}_{n:03}"),
    "two images with seeds": ["00000-3512345678", "00001-1234567890"],
    "other words": ["cat_1", "dog_2", "bird_3"],
    "words without separators": ["cat1", "dog2", "bird3"],
    "negative": [f"frame_{number}" for number in range(-3, 4)],
    "negative behind a letter": [f"t{number}" for number in range(-3, 4)],
    "every tenth": _frames("f{n}0"),
    "scenes of frames": ["s01_f0001", "s01_f0002", "s01_f0003", "s02_f0001", "s02_f0002"],
    "scenes of frames with seeds": ["s1_f1_83", "s1_f2_12", "s2_f1_77", "s2_f2_3"],
    "frames numbered through all scenes": ["s2_f01", "s2_f02", "s1_f03", "s1_f04"],
    "many shots of few frames": [f"shot{a:03}_{b:04}" for a in range(9) for b in range(3)],
    "episodes of scenes of frames": [
        f"ep{a}_s{b}_f{c}" for a in (1, 2) for b in (1, 2) for c in (1, 2, 3)
    ],
    "dates and times": ["IMG_20240131_235959", "IMG_20240201_000001", "IMG_20240201_000009"],
    "thousandths": ["PXL_20240131_235958001", "PXL_20240131_235959123", "PXL_20240131_235959456"],
    "bursts": ["IMG_20240131_235959_2", "IMG_20240131_235959_10", "IMG_20240201_000000_1"],
    "dates with hyphens": ["2024-01-31 23.59.59", "2024-02-01 00.00.01", "2024-02-01 00.00.03"],
    "hours of two halves": [
        "Screenshot 2024-01-31 at 9.59.59 AM", "Screenshot 2024-01-31 at 12.00.01 PM",
        "Screenshot 2024-01-31 at 1.00.01 PM",
    ],
    "the year last": ["30-01-2024", "31-01-2024", "01-02-2024"],
    "counter before a time": [
        "00000_20240131_120000", "00001_20240131_110000", "00002_20240131_130000",
    ],
    "clock in nanoseconds": [str(1403636579763555584 + 50_000_000 * n + n * n) for n in range(8)],
    "clock in milliseconds": ["f_1706745599123", "f_1706745599523", "f_1706745608123"],
    "seconds with decimals": [f"{number / 25:.2f}" for number in range(30)],
    "version and number": [f"1.{number}" for number in range(1, 12)],
}  # fmt: skip


@pytest.mark.parametrize("kind", CLEAR)
def test_the_order_of_names(kind: str) -> None:
    names = CLEAR[kind]
    for seed in range(3):
        shuffled = random.Random(seed).sample(names, len(names))
        assert [shuffled[place] for place in order_names(tuple(shuffled)).places] == names


UNCLEAR = {
    "only seeds": ([str(seed) for seed in _SEEDS[1:]], "numbers would be missing"),
    "two counters": (["0001_0003", "0002_0002", "0003_0001"], "several numbers"),
    "all negative, or hyphens": ([f"f_-{number}" for number in range(1, 6)], "several numbers"),
    "two cameras": ([f"{a:04}_cam{b}" for a in range(5) for b in (0, 1)], "several for each"),
    "two scales": ([f"{a:04}_x{b}" for a in range(5) for b in (2, 4)], "several for each"),
    "left and right": ([f"{a}_{b}" for a in range(9) for b in (0, 1)], "several for each"),
    "two cameras by time": (
        ["cam1_20240131_120000", "cam2_20240131_120000", "cam1_20240131_120001",
         "cam2_20240131_120001"], "several for each"),
    "two films": (["a1", "a2", "b1", "b2"], "a1 and b1 have the same number"),
    "decimals or versions": (["0.5", "0.25", "0.125"], "several numbers"),
    "day or month": (["10-01-2024", "11-01-2024", "01-02-2024"], "the day and the month"),
    "no number": (["1", "cover"], "cover has no number in its name"),
}  # fmt: skip


@pytest.mark.parametrize("kind", UNCLEAR)
def test_names_without_a_clear_order(kind: str) -> None:
    names, words = UNCLEAR[kind]
    with pytest.raises(UnclearOrderError, match=words):
        order_names(tuple(names))


def test_what_is_missing_is_counted() -> None:
    assert order_names(("f1", "f2", "f4")).missing == 1
    assert order_names(("1-83745", "2-23", "5-917234", "6-3")).missing == 2
    assert order_names(("s1_f1", "s1_f3", "s3_f1", "s3_f2", "s3_f3")).missing == 2
    assert order_names(("0", "40", "80")).step == 40
    assert order_names(("frame_0000100", "frame_0172799")).missing == 172_698  # of two hours


def _write(folder: Path, *names: str) -> Path:
    """Images whose grey is their place among the names."""
    folder.mkdir(parents=True, exist_ok=True)
    for grey, name in enumerate(names):
        Image.fromarray(np.full((16, 24, 3), grey, np.uint8)).save(folder / name)
    return folder


def _greys(film: Path) -> list[int]:
    sequence = list_images(film)
    return [int(picture[0, 0, 0]) for picture in sequence.pictures(range(sequence.frames))]


def test_what_was_chosen_and_left_out_is_said(tmp_path: Path) -> None:
    folder = _write(tmp_path / "film", "0-907.png", "1-12.bmp", "3-455.png")
    for name in (".DS_Store", "._0-907.png", "Thumbs.db", "prompt\n.txt"):
        (folder / name).touch()
    (folder / "old.png").mkdir()
    assert _greys(folder) == [0, 1, 2]
    assert list(map(str, probe_film(folder).notes)) == [
        "the images are in the order of the number 0..3 in their names, from 0-907 to 3-455",
        "1 number is missing among the images",
        "left out of the folder: .DS_Store, ._0-907.png, Thumbs.db and 2 other files",
        "the images are of several formats (2 png, 1 bmp)",
    ]


def test_an_unclear_order_names_a_cure_that_works(tmp_path: Path) -> None:
    folder = _write(tmp_path / "100%", "1_3.png", "2_2.png", "3_1.png")
    with pytest.raises(InputError, match="the order of its images is not clear") as caught:
        probe_film(folder)
    message = str(caught.value)
    assert message.startswith(f"{folder}: ") and "\n" not in message
    pattern = Path(message.rpartition(" '")[2].rstrip("'"))
    assert pattern == folder / "%d_*.png"
    assert _greys(pattern) == [0, 1, 2]
    assert _greys(folder / "*_%d.png") == [2, 1, 0]


def test_patterns_as_ffmpeg_knows_them(tmp_path: Path) -> None:
    names = ["a_0009_x4.png", "a_0010_x4.png", "a_12_x4.png", "b_0001_x4.png", "50%_3.png"]
    folder = _write(tmp_path / "my frames", *names)
    film = folder / "a_%04d_x4.png"
    assert _greys(film) == [0, 1]
    assert _greys(folder / "a_%d_x4.png") == [0, 1, 2]
    assert _greys(folder / "50%%_%d.png") == [4]
    assert str(*probe_film(folder / "a_%d_x4.png").notes) == "1 number is missing among the images"
    info = probe_film(film)
    assert (info.kind, info.picture.stored, info.timing.frames_estimate) == ("images", (16, 24), 2)
    assert Source(film).exists and not Source(tmp_path / "nowhere" / "%d.png").exists
    facts = Source(film).facts()
    assert facts["kind"] == "images"
    assert facts["bytes"] == sum((folder / name).stat().st_size for name in names[:2])
    assert film_name(film) == "a_x4"
    assert film_name(folder / "%04d.png") == "my_frames"


@pytest.mark.parametrize(
    ("pattern", "words"),
    [("c_%d.png", "no file of .* has such a name"), ("*_%d_x4.png", "with the same number")],
)
def test_patterns_that_name_no_film(pattern: str, words: str, tmp_path: Path) -> None:
    _write(tmp_path, "a_1_x4.png", "b_1_x4.png")
    with pytest.raises(InputError, match=words):
        probe_film(tmp_path / pattern)


def test_a_file_with_a_percent_sign_is_a_film(synthetic_film: Path, tmp_path: Path) -> None:
    film = tmp_path / "100%d.mp4"
    film.symlink_to(synthetic_film)
    assert probe_film(film).kind == "film"


def test_a_folder_of_other_files_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "0001.exr").touch()
    with pytest.raises(InputError, match=r"a folder without images.*it holds 0001\.exr"):
        probe_film(tmp_path)
