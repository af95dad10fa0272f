"""Damaged films and records: each is found, noted or refused, and the judge itself can fail one."""

import dataclasses
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest

from benchmarks.fuzz import __main__ as fuzz
from benchmarks.fuzz import damaged_films as fuzz_films
from benchmarks.fuzz import records as fuzz_records
from benchmarks.fuzz.damaged_films import (
    CRASHED,
    IDENTICAL,
    NOTED,
    SILENT,
    UNDETECTABLE,
    Case,
    Converted,
)
from benchmarks.fuzz.pool import Workers
from bladerunner_ae.film.notes import NoteKind
from tfrecords.reader import unexplained_loss
from tfrecords.record_errors import DamagedError

LEAST_GROWTH = 64 * 2**20
"""Caches may grow by so much over a few hundred films; a leak of one film's pictures would not."""


def _fuzz(folder: Path, cases: int, seed: int) -> None:
    results, resources = fuzz.fuzz_all_films(cases, seed, folder, workers=2, limit_seconds=30)
    assert [case.number for case, _ in results] == list(range(cases))
    assert fuzz.failures(results) == []
    for used in resources:
        if used.first is not None and used.last is not None:
            assert used.last.rss - used.first.rss < LEAST_GROWTH
            assert used.last.descriptors <= used.first.descriptors
            assert used.last.threads <= used.first.threads


def test_damaged_films(tmp_path: Path) -> None:
    _fuzz(tmp_path, cases=36, seed=11)


@pytest.mark.slow
def test_many_damaged_films(tmp_path: Path) -> None:
    _fuzz(tmp_path, cases=200, seed=12)


def test_cases_repeat(tmp_path: Path) -> None:
    film = tmp_path / "h264.mp4"
    film.write_bytes(bytes(range(256)) * 40)
    damages = set()
    for number in range(0, 36, 6):
        case = fuzz_films.make_case(number)
        assert case.film == "h264.mp4"
        damages.add(case.damage)
        once, again = (fuzz_films.damaged_bytes(case, film, seed=3) for _ in range(2))
        assert once == again != film.read_bytes()
        assert once != fuzz_films.damaged_bytes(case, film, seed=4)
    assert damages == set(fuzz_films.DAMAGES)


def test_the_judge_sees_what_is_silent(tmp_path: Path) -> None:
    whole = Converted(tuple(Fraction(n, 24) for n in range(9)), tuple(b"%d" % n for n in range(9)),
                      ("always said",))  # fmt: skip
    film = tmp_path / "h264.mp4"
    film.write_bytes(b"no film, so ffmpeg's decoder never says a word")

    def kind(**changed: object) -> str:
        return fuzz_films.judge(dataclasses.replace(whole, **changed), whole, film)[0]  # type: ignore[arg-type]

    other = (*whole.pictures[:-1], b"x")
    fewer = whole.pictures[:-1]
    assert kind() == IDENTICAL
    assert kind(pictures=other, notes=("always said", "one frame is damaged")) == NOTED
    assert kind(pictures=other) == UNDETECTABLE
    assert kind(times=(*whole.times[:-1], Fraction(9))) == UNDETECTABLE
    assert kind(pictures=fewer) == SILENT
    # How it was read says nothing of what is lost.
    notes = ("always said", str(NoteKind.SINGLE_PASS.note(reason="it is damaged")))
    assert kind(pictures=fewer, notes=notes) == SILENT


def test_a_crash_costs_one_case(tmp_path: Path) -> None:
    """Of three cases the middle one's film is missing: its process dies, the others continue."""
    films = fuzz_films.make_films(tmp_path)
    whole = {"h264.mp4": fuzz_films.convert(films["h264.mp4"], tmp_path / "whole", False)}
    films["gone"] = tmp_path / "gone"
    whole["gone"] = whole["h264.mp4"]
    cases = [Case(0, "h264.mp4", "cut"), Case(1, "gone", "cut"), Case(2, "h264.mp4", "cut")]
    with Workers(films, whole, tmp_path, seed=0, count=1) as workers:
        kinds = {case.number: outcome.kind for case, outcome in workers.run(cases)}
    assert kinds[1] == CRASHED and kinds[0] != CRASHED != kinds[2]


def test_damaged_records(tmp_path: Path) -> None:
    found = fuzz_records.attack(tmp_path / "records", rounds=1, seed=5)
    assert len(found) == len(fuzz_records.READERS) * (1 + len(fuzz_records.DAMAGES))
    assert [str(one) for one in found if one.failed] == []
    kinds = Counter(one.kind for one in found if one.damage == "none")
    assert kinds == {fuzz_records.HARMLESS: len(fuzz_records.READERS)}
    verified = [one for one in found if one.reader == "inspect --verify" and one.damage != "none"]
    assert all(one.kind == fuzz_records.NAMED for one in verified), verified


def test_the_judge_of_records_sees_a_refusal_without_a_cause(tmp_path: Path) -> None:
    whole = fuzz_records.write_film(tmp_path / "film")

    def kind(error: Exception) -> str:
        def refuse(_: Path) -> fuzz_records.Pictures:
            raise error

        return fuzz_records.read(refuse, tmp_path / "film", whole)[0]

    assert kind(unexplained_loss(tmp_path / "film")) == fuzz_records.BROKEN
    assert kind(DamagedError(tmp_path / "film", "is damaged")) == fuzz_records.REFUSED
    assert kind(DamagedError("elsewhere", "is damaged")) == fuzz_records.BROKEN
