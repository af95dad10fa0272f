"""RUN/flags.txt asks for the same again, whatever was typed and wherever it is used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bladerunner_ae.training.flags import flagfiles
from tests.helpers.commands import ROOT

_COMMAND = """
import json, sys
from absl import flags
from bladerunner_ae.training import flags as train_flags
from bladerunner_ae.training.flags import flagfiles, given_flags
train_flags.define_flags()
flags.FLAGS(["train", *sys.argv[1:]])
values = {f.name: f.value for f in flags.FLAGS.get_flags_for_module(train_flags)}
print(json.dumps([given_flags(flags.FLAGS), values]))
"""


def given(folder: Path, *arguments: str) -> tuple[str, dict[str, Any]]:
    """Returns flags.txt of a training that is started in a folder, and its flags' values."""
    result = subprocess.run(
        [sys.executable, "-c", _COMMAND, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr.decode()
    text, values = json.loads(result.stdout)
    return text, values


def again(tmp_path: Path, text: str) -> tuple[str, dict[str, Any]]:
    """Returns what a training gives whose only flag is that file, started elsewhere."""
    file, elsewhere = tmp_path / "flags.txt", tmp_path / "elsewhere"
    file.write_text(text, "utf-8")
    elsewhere.mkdir(exist_ok=True)
    return given(elsewhere, f"--flagfile={file}")


def folders(values: dict[str, Any]) -> dict[str, Any]:
    """Returns values with folders as paths: a slash may follow one that ends in a blank."""
    paths = {"data": [Path(folder) for folder in values["data"]]}
    return {**values, **paths, "model_dir": Path(values["model_dir"])}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--data=/a", "--model_dir=/run"],
        ["--data", "/a", "--data", "/b", "--data_weights=2,1.5", "--model_dir=/run"],
        ["--data=/my films/#1 'the' \"best\" $HOME; ümlaut --steps=3", "--model_dir=/run  "],
        ["--data=/a", "--model_dir=/run", "--noreport", "--nolinear_path", "--balance=shots"],
        ["--data=/a", "--model_dir=/run", "--report=false", "--linear_path=true"],
        ["--data=gs://bucket/film", "--model_dir=gs://bucket/run", "--fine_tune_from=gs://b/c"],
        ["--data=/a", "--model_dir=/run", "--learning_rate=1e-3", "--holdout=.1", "--seed=0",
         "--kl_weight=1e-05", "--profile_steps=3,4", "--data_service=grpc://[::1]:9"],
    ],
)  # fmt: skip
def test_it_asks_for_the_same(arguments: list[str], tmp_path: Path) -> None:
    text, values = given(tmp_path, *arguments)
    text_again, values_again = again(tmp_path, text)
    assert text_again == text
    assert folders(values_again) == folders(values)


def test_only_what_was_given_and_belongs_to_the_run_is_written(tmp_path: Path) -> None:
    text, _ = given(tmp_path, "--data=/a", "--model_dir=/run", "--steps=3", "--steps=5",
                    "--overwrite", "--dry_run", "--objective=vae", "--noreport")  # fmt: skip
    assert sorted(text.splitlines()) == [
        "--data=/a", "--model_dir=/run", "--noreport", "--objective=vae", "--steps=5"
    ]  # fmt: skip


def test_flagfiles_are_gone_through(tmp_path: Path) -> None:
    (tmp_path / "inner.flags").write_text("# how long\n--steps=7\n--seed=3\n")
    (tmp_path / "outer.flags").write_text("--preset=base\n--flagfile=inner.flags\n")
    text, values = given(
        tmp_path, "--flagfile=outer.flags", "--data=/a", "--model_dir=/run", "--seed=4"
    )
    assert (values["steps"], values["seed"], values["preset"]) == (7, 4, "base")
    assert "flagfile" not in text
    assert again(tmp_path, text) == (text, values)


def test_folders_are_named_from_the_root_on(tmp_path: Path) -> None:
    text, _ = given(
        tmp_path, "--data=records/a", "--data=../b", "--model_dir=run", "--fine_tune_from=x/y"
    )
    assert text.splitlines() == [
        f"--data={tmp_path}/records/a", f"--data={tmp_path}/../b", f"--model_dir={tmp_path}/run",
        f"--fine_tune_from={tmp_path}/x/y",
    ]  # fmt: skip


def test_what_no_line_can_hold_is_said(tmp_path: Path) -> None:
    text, _ = given(tmp_path, "--data=/two\nlines", "--model_dir=/run", "--seed=1")
    assert "# --data holds what a flagfile cannot; give it beside this file" in text.splitlines()
    (tmp_path / "flags.txt").write_text(text)
    _, values = given(tmp_path, f"--flagfile={tmp_path}/flags.txt", "--data=/two\nlines")
    assert values["data"] == ["/two\nlines"] and values["seed"] == 1


def test_a_folder_without_a_name_in_utf8_is_no_obstacle(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    folder.mkdir()
    text, _ = given(folder, "--data=records", "--model_dir=/run")
    assert text.splitlines() == ["--data=records", "--model_dir=/run"]


def test_flagfiles_of_a_command_line() -> None:
    line = ["--flagfile=a.flags", "--steps=3", "--flagfile", "b c.flags", "-flagfile=d", "--data=x"]
    assert flagfiles(line) == ["a.flags", "b c.flags", "d"]
