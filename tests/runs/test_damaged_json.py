"""Small JSON files in which one value is another: read, or refused in a line that names them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bladerunner_ae.errors import InputError
from bladerunner_ae.evaluation.labels import frame_labels
from bladerunner_ae.exports.model_card import FILE_NAME, load_model_card, make_model_card
from bladerunner_ae.inspection.inspect_folder import inspect_film
from bladerunner_ae.memory_report.sections.network import read_panels
from bladerunner_ae.runs.films import FilmUse
from bladerunner_ae.runs.folder import load_config
from bladerunner_ae.runs.run_config import RunConfig
from tests.helpers.small_records import write_small_film
from tests.runs.test_folder import make_config
from tfrecords.card import CARD_NAME, check_shards, load_card
from tfrecords.record_errors import RecordsError

OTHERS: tuple[Any, ...] = (None, [], {}, "", "x", -1, 0, True, 10**400, [[]], [None], {"a": []})
TEXTS = ("", "{", "[]", "3", "null", "[" * 100_000, '{"a": 1e999}', "\udcff")


def changed(values: Any, whole: Any = None) -> Iterator[Any]:
    """Return copies of JSON values in each of which one value, at any depth, is another."""
    whole = values if whole is None else whole
    for key in list(values) if isinstance(values, dict) else range(len(values)):
        before = values[key]
        for other in OTHERS:
            values[key] = other
            yield copy.deepcopy(whole)
        values[key] = before
        if isinstance(before, dict | list):
            yield from changed(before, whole)


def check(path: Path, use: Callable[[], object]) -> int:
    """Use a file in all its changed versions; return how many of them are refused."""
    values = json.loads(path.read_text())
    texts = [*TEXTS, *map(json.dumps, changed(values))]
    refused = 0
    for text in texts:
        path.write_text(text, "utf-8", "surrogateescape")
        try:
            use()
        except (InputError, RecordsError) as error:
            refused += 1
            line = str(error)
            assert "\n" not in line and len(line) < 600, line
            assert path.name in line or "update bladerunner_ae" in line, line
    return refused


def test_config(tmp_path: Path) -> None:
    config = make_config()
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config.to_json()))

    def use() -> None:
        found = load_config(tmp_path)
        config.differences(found)
        assert RunConfig.from_json(json.loads(json.dumps(found.to_json()))) == found
        sum(film.held_out_frames for film in found.films)

    assert check(path, use) > 300


def test_film_card(tmp_path: Path) -> None:
    card = write_small_film(tmp_path / "film")
    path = tmp_path / "film" / CARD_NAME

    def use() -> None:
        found = load_card(tmp_path / "film")
        FilmUse.of(found)
        found.shots()
        check_shards(tmp_path / "film", found)
        inspect_film(str(tmp_path / "film"))

    assert check(path, use) > 150
    assert card.frames == 20


def test_model_card(tmp_path: Path) -> None:
    config = make_config()
    path = tmp_path / FILE_NAME
    path.parent.mkdir()
    path.write_text(json.dumps(make_model_card(config.to_json(), 4)))
    card = write_small_film(tmp_path / "film")

    def use() -> None:
        frame_labels(card, load_model_card(tmp_path))

    assert check(path, use) > 20


@pytest.mark.parametrize("value", [10**400, "x", None, [1], {}])
def test_metrics(tmp_path: Path, value: Any) -> None:
    lines = [{"step": step, "learning_rate": step + 1.0} for step in (1, 2, 3)]
    bad = [{"step": value, "learning_rate": 1.0}, {"step": 4, "learning_rate": value}, value]
    texts = [json.dumps(line) for line in [*lines, *bad]]
    (tmp_path / "metrics.jsonl").write_text("\n".join([*texts, "[" * 100_000, "{"]))
    (panel,) = read_panels(tmp_path)
    assert set(panel.curves[0].points) >= {(1.0, 2.0), (2.0, 3.0), (3.0, 4.0)}
