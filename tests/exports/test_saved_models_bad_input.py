"""Exports that are damaged, of a newer version or of another kind: one line each, and the cure."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bladerunner_ae.errors import InputError
from bladerunner_ae.exports.loading import load_autoencoder
from bladerunner_ae.exports.model_card import FILE_NAME
from tests.helpers.commands import Commands
from tests.helpers.small_records import flip_byte

DATA = "variables/variables.data-00000-of-00001"


def cut(name: str) -> Callable[[Path], None]:
    """Returns what cuts a file in half."""

    def damage(version: Path) -> None:
        data = (version / name).read_bytes()
        (version / name).write_bytes(data[: len(data) // 2])

    return damage


def lose(name: str) -> Callable[[Path], None]:
    return lambda version: (version / name).unlink()


def flip(name: str, position: int) -> Callable[[Path], None]:
    return lambda version: flip_byte(version / name, position)


def newer(version: Path) -> None:
    card = json.loads((version / FILE_NAME).read_text("utf-8"))
    (version / FILE_NAME).write_text(json.dumps({**card, "schema_version": 2, "films": 7}))


@pytest.fixture
def export(tiny_export: Path, tmp_path: Path) -> Path:
    shutil.copytree(tiny_export, tmp_path / "export")
    return tmp_path / "export"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut("saved_model.pb"), "is a SavedModel that cannot be loaded .*; export it again"),
        (lose("saved_model.pb"), "holds no SavedModel"),
        (lose(DATA), "is a SavedModel that cannot be loaded .*; export it again"),
        (lose("variables/variables.index"), "is a SavedModel that cannot be loaded"),
        (cut(DATA), "is a SavedModel that cannot be loaded"),
        (flip(DATA, 2000), "is a SavedModel that cannot be loaded"),
        (cut("variables/variables.index"), "is a SavedModel that cannot be loaded"),
        (cut(FILE_NAME), "model_card.json: damaged .*; export the run again"),
        (newer, "was exported with schema version 2 but this program reads up to 1; update"),
    ],
    ids=["cut graph", "no graph", "no weights", "no index", "cut weights", "flipped weights",
         "cut index", "cut card", "newer"],
)  # fmt: skip
def test_damage_is_one_line(export: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(export / "autoencoder" / "1")
    with pytest.raises(InputError, match=message) as caught:
        load_autoencoder(export)
    assert str(export) in str(caught.value) and "\n" not in str(caught.value)


def test_without_a_card_a_model_is_still_one(export: Path) -> None:
    """As those of other programs, and of the first version of this one."""
    shutil.rmtree(export / "autoencoder" / "1" / "assets.extra")
    images = np.zeros((2, 24, 32, 3), np.uint8)
    assert load_autoencoder(export).reconstruct(images).shape == images.shape


@pytest.mark.parametrize("name", ["encoder", "decoder"])
def test_the_halves_are_told_from_the_whole(export: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"no signature 'reconstruct' .* give an exported auto"):
        load_autoencoder(export / name)


def test_other_folders_of_a_run_are_no_model(tmp_path: Path) -> None:
    for name, file in (("checkpoints", "step-4.index"), ("keras", "model.weights.h5")):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).touch()
        with pytest.raises(InputError, match=f"{tmp_path / name}: holds no SavedModel; give"):
            load_autoencoder(tmp_path / name)


def test_commands_refuse_a_newer_export(
    export: Path, small_records: Path, commands: Commands
) -> None:
    newer(export / "autoencoder" / "1")
    refused = commands.run("evaluate", f"--model={export}", f"--data={small_records}")
    assert refused.code == 2
    assert f"{export}/autoencoder/1: was exported with schema version 2" in refused.error
