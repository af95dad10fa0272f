"""The steps of the Beam pipeline, one after the other and without Beam."""

import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from bladerunner_ae.conversion import beam as beam_conversion
from bladerunner_ae.conversion.beam import Outcome, convert_films
from bladerunner_ae.conversion.convert import convert_film, plan_conversion
from bladerunner_ae.conversion.options import ConversionOptions
from bladerunner_ae.conversion.shard_items import Item, Job
from bladerunner_ae.errors import InputError
from tfrecords import storage
from tfrecords.record_errors import StorageError

ROOT = Path(__file__).resolve().parent.parent.parent
FilmFactory = Callable[..., Path]
OPTIONS = ConversionOptions(height=48, width=80, num_shards=5, bars=(0, 0, 0, 0))


@pytest.fixture
def films(film_factory: FilmFactory, tmp_path: Path) -> list[Path]:
    """A film of shards, one that must be read as a whole, and none."""
    small = {"frames": 60, "height": 96, "width": 160}
    nonsense = tmp_path / "nonsense.mp4"
    nonsense.write_bytes(b"no film")
    film = film_factory(**small, extra_ffmpeg_args=("-g", "12", "-bf", "2"))
    return [film, film_factory(**small, name="second.avi", codec="mpeg4"), nonsense]


def in_order(films: list[Path], job: Job, pipeline: Any) -> str:
    """A pipeline's work with each step done twice, as if a worker is lost after its end."""
    for _ in range(2):
        items = [named for film in films for named in beam_conversion.plan(str(film), job)]
    by_film = defaultdict(list)
    for _ in range(2):
        done = [beam_conversion.make(named, job) for named in reversed(items)]
    for film, one in done:
        by_film[film].append(one)
    for _ in range(2):
        for named in by_film.items():
            beam_conversion.finish(named, job)
    return ""


@pytest.fixture
def without_beam(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    monkeypatch.setattr(beam_conversion, "_pipeline", lambda arguments: (None, True))
    monkeypatch.setattr(beam_conversion, "_run", in_order)
    monkeypatch.setattr(beam_conversion, "_PAUSE_SECONDS", 0.0)
    yield monkeypatch


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def errors(outcomes: list[Outcome]) -> list[str]:
    return [outcome.error for outcome in outcomes]


def test_one_film_that_fails_does_not_stop_the_others(
    films: list[Path], without_beam: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    first, second, nonsense = convert_films(films, data, OPTIONS)
    assert (first.error, second.error, first.up_to_date) == ("", "", False)
    assert nonsense.card is None and "nonsense.mp4: is not a film" in nonsense.error
    assert names(data) == ["film", "second"]
    for outcome in (first, second):
        assert outcome.card == convert_film(
            plan_conversion(outcome.film, tmp_path / "whole", OPTIONS)
        )
    again = convert_films(films, data, OPTIONS)
    assert [outcome.up_to_date for outcome in again] == [True, True, False]
    assert again[0].card == first.card


def test_a_fault_that_passes_is_tried_again(
    films: list[Path], without_beam: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make, failures = beam_conversion.make_item, [OSError(5, "Input/output error", "/films")] * 2

    def unsteady(item: Item, job: Job) -> str:
        if failures:
            raise failures.pop()
        return make(item, job)

    without_beam.setattr(beam_conversion, "make_item", unsteady)
    assert errors(convert_films(films[:1], tmp_path / "data", OPTIONS)) == [""]
    assert not failures


def test_a_fault_that_stays_is_told_and_the_rest_is_kept(
    films: list[Path], without_beam: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make = beam_conversion.make_item

    def broken(item: Item, job: Job) -> str:
        if item.shard == 3:
            raise OSError(5, "Input/output error", "/films/film.mp4")
        return make(item, job)

    with without_beam.context() as patch:
        patch.setattr(beam_conversion, "make_item", broken)
        (failed,) = convert_films(films[:1], tmp_path / "data", OPTIONS)
    drive = "input/output error of the drive; check the drive and run the same command again"
    assert failed.error == f"/films/film.mp4: {drive}" and failed.card is None
    kept = tmp_path / "data" / ".film.apart"
    assert [name for name in names(kept) if name.startswith("part-0000")] == [
        f"part-0000{number}{suffix}" for number in (0, 1, 2, 4) for suffix in ("", ".json")
    ]
    assert errors(convert_films(films[:1], tmp_path / "data", OPTIONS)) == [""]
    assert names(tmp_path / "data") == ["film"]


def test_a_pipeline_that_breaks_off(
    films: list[Path], without_beam: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(paths: list[Path], job: Job, pipeline: Any) -> str:
        in_order(paths[:1], job, pipeline)
        return "the cluster is gone"

    without_beam.setattr(beam_conversion, "_run", broken)
    first, second = convert_films(films[:2], tmp_path / "data", OPTIONS)
    assert first.error == "" and first.card is not None
    assert "second.avi: Beam did not finish it (the cluster is gone)" in second.error
    without_beam.setattr(beam_conversion, "_run", lambda *arguments: "no cluster")
    with pytest.raises(InputError, match=r"Beam did not finish \(no cluster\)"):
        convert_films(films[1:2], tmp_path / "data", OPTIONS)
    assert names(tmp_path / "data") == ["film"]


def test_a_bucket_gets_the_same_records(
    films: list[Path], without_beam: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A film of shards, one of a single item, and none; each step done twice."""
    remote = storage.location("memory://beam/data")
    found = convert_films(films, str(remote), OPTIONS)
    local = convert_films(films, tmp_path / "data", OPTIONS)
    assert [outcome.card for outcome in found] == [outcome.card for outcome in local]
    assert errors(found) == errors(local)
    assert {name: storage.read_bytes(remote / name) for name in storage.files_below(remote)} == {
        name: (tmp_path / "data" / name).read_bytes()
        for name in storage.files_below(tmp_path / "data")
    }
    again = convert_films(films, str(remote), OPTIONS)
    assert [outcome.up_to_date for outcome in again] == [True, True, False]


def test_a_bucket_that_cannot_be_written_is_told_at_once(
    films: list[Path], without_beam: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StorageError, match=r"^abc://b/data/\.beam-\w+/begun: unknown kind of path"):
        convert_films(films, "abc://b/data", OPTIONS)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["--runner=beam"], "Beam is not installed here; install it in an environment "
                     "of its own, from requirements/beam.txt as docs/beam.md says, or here: pip "
                     "install 'bladerunner_ae[beam]'",
                     marks=pytest.mark.skipif(find_spec("apache_beam") is not None,
                                              reason="Beam is installed")),
        (["--beam_options=--runner=FlinkRunner"], "--beam_options are for --runner=beam"),
    ],
)  # fmt: skip
def test_wrong_usage(films: list[Path], tmp_path: Path, arguments: list[str], words: str) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "make_tfrecords.py", f"--film={films[0]}",
         f"--output_dir={tmp_path / 'data'}", *arguments],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and words in line
    assert not (tmp_path / "data").exists()
