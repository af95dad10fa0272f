"""Whether a job fits on the disk is said before it begins."""

from __future__ import annotations

import shutil
from collections import namedtuple
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from bladerunner_ae.disk_space import check_space, estimate_bytes
from bladerunner_ae.errors import InputError
from bladerunner_ae.film.reading.probe import probe_film

_Usage = namedtuple("_Usage", "total used free")


def _free(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: _Usage(10**12, 0, count))


def test_a_disk_that_is_surely_too_small_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _free(monkeypatch, 400_000_000)
    with pytest.raises(InputError, match=r"out: about 1\.0 GB will be written, 0\.4 GB are free; "):
        check_space(tmp_path / "new" / "out", 10**9, "choose another folder")
    assert not list(tmp_path.iterdir())


def test_a_disk_that_may_be_too_small_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _free(monkeypatch, 900_000_000)
    check_space(tmp_path, 10**9, "choose another folder")
    assert "warning: " in (words := capsys.readouterr().err) and "choose another" in words


def test_what_is_written_already_needs_no_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _free(monkeypatch, 50)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint").write_bytes(bytes(960))
    check_space(tmp_path, 1000, "")
    assert capsys.readouterr().err == ""


def test_the_estimate_grows_with_the_film(film_factory: Callable[..., Path]) -> None:
    info = probe_film(film_factory(frames=48, height=96, width=160))
    timing = replace(info.timing, frames_estimate=172_800, rate_candidates=(Fraction(24),))
    one = replace(info, timing=timing)
    hours = estimate_bytes(one, 72 * 128, (360, 640), run_bytes=250_000_000)
    # Records 1.11 GB, films 1.99 GB, sound 1.15 GB, run 0.25 GB.
    assert hours == pytest.approx(4.51e9, rel=0.01)
