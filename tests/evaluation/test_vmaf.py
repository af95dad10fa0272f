"""VMAF by the bundled ffmpeg: order of outcomes, failures, and no process or file left."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from bladerunner_ae.errors import OutputError
from bladerunner_ae.evaluation import vmaf
from tests.helpers.synthetic_film import film_pictures

Pictures = NDArray[np.uint8]

pytestmark = pytest.mark.skipif(bool(vmaf.missing_vmaf()), reason="this ffmpeg has no libvmaf")


@pytest.fixture(scope="module")
def film() -> Pictures:
    return np.stack(list(film_pictures(6, 48, 64, flash_every=None)))


def blurred(film: Pictures, radius: float) -> Pictures:
    blur = ImageFilter.GaussianBlur(radius)
    return np.stack([np.asarray(Image.fromarray(frame).filter(blur)) for frame in film])


def measure(originals: Pictures, outputs: Pictures, at_once: int = 64) -> NDArray[np.float32]:
    with vmaf.VmafMeter(originals.shape[1:3]) as meter:
        for start in range(0, len(originals), at_once):
            end = start + at_once
            meter.write(originals[start:end], outputs[start:end])
        return meter.finish()


def test_blur_lowers_the_number(film: Pictures) -> None:
    same, soft, softer = (
        measure(film, other) for other in (film, blurred(film, 0.7), blurred(film, 2.0))
    )
    assert same.shape == (6,) and same.dtype == np.float32 and same.min() > 95
    assert same.mean() > soft.mean() + 5 > softer.mean() + 10


def test_each_frame_has_its_number_in_any_batch(film: Pictures) -> None:
    other = film.copy()
    other[4] = blurred(film, 3.0)[4]
    found = measure(film, other)
    assert found.argmin() == 4 and found[4] < found[0] - 20
    np.testing.assert_array_equal(found, measure(film, other, at_once=1))


def test_one_frame_none_and_black_ones(film: Pictures) -> None:
    assert measure(film[:1], film[:1])[0] > 95
    assert measure(film[:0], film[:0]).shape == (0,)
    assert measure(np.zeros_like(film), np.zeros_like(film)).min() > 95


@pytest.mark.parametrize(("height", "width"), [(8, 8), (72, 30), (300, 400), (24, 98)])
def test_any_raster_is_measured(height: int, width: int) -> None:
    film = np.random.default_rng(0).integers(0, 256, (2, height, width, 3)).astype(np.uint8)
    assert np.isfinite(measure(film, film)).all()


def test_a_failure_of_ffmpeg_is_one_line(film: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vmaf, "MODEL", "none_of_the_models")
    with pytest.raises(OutputError, match=r"could not measure VMAF .* --vmaf=off"):
        measure(np.repeat(film, 50, axis=0), np.repeat(film, 50, axis=0), at_once=6)


@pytest.fixture
def ffmpeg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A program that takes the place of ffmpeg; write a shell script to it."""
    program = tmp_path / "ffmpeg"
    program.touch(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(program))
    return program


@pytest.mark.parametrize("log", ["", "Frame,motion\\n0,1\\n"])
def test_an_ffmpeg_that_measures_nothing_is_one_line(
    log: str, film: Pictures, ffmpeg: Path
) -> None:
    written = f"; printf '{log}' > vmaf.csv" if log else ""
    ffmpeg.write_text(f"#!/bin/sh\ncat > {os.devnull}{written}\n")
    with pytest.raises(OutputError, match=r"VMAF \(no message\).*--vmaf=off"):
        measure(film, film, at_once=6)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo ' ... scale V->V'", "no VMAF: {} was built without libvmaf"),
        ("exit 1", "no VMAF: ffmpeg does not run"),
    ],
)
def test_an_ffmpeg_without_vmaf_is_told(script: str, said: str, ffmpeg: Path) -> None:
    ffmpeg.write_text(f"#!/bin/sh\n{script}\n")
    vmaf.missing_vmaf.cache_clear()
    try:
        assert vmaf.missing_vmaf().startswith(said.format(ffmpeg))
    finally:
        vmaf.missing_vmaf.cache_clear()


def test_an_interrupted_measurement_leaves_nothing(
    film: Pictures, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(KeyboardInterrupt), vmaf.VmafMeter((48, 64)) as meter:
        meter.write(film, film)
        process = meter._process
        assert os.listdir(tmp_path)
        raise KeyboardInterrupt
    assert process.poll() is not None
    assert not os.listdir(tmp_path)
