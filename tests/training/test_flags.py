"""Training flags: values in, flags.txt out, and the same values from that file again."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest
from absl import flags

from bladerunner_ae.errors import UsageError
from bladerunner_ae.runs.config import ModelConfig, TrainConfig
from bladerunner_ae.runs.fields import GROUPS, check, option
from bladerunner_ae.training.flags import define_flags, flagfiles, given_flags, training_options


def given(folder: Path, *arguments: str) -> tuple[str, dict[str, Any]]:
    """Return flags.txt of a training that is started in a folder, and its flags' values."""
    values, earlier = flags.FlagValues(), Path.cwd()
    names = [name for group in define_flags(values).values() for name in group]
    os.chdir(folder)
    try:
        values(["train", *arguments])
        return given_flags(values), {name: values[name].value for name in names}
    finally:
        os.chdir(earlier)


def again(tmp_path: Path, text: str) -> tuple[str, dict[str, Any]]:
    """Return what a training gives whose only flag is that file, started elsewhere."""
    file, elsewhere = tmp_path / "flags.txt", tmp_path / "elsewhere"
    file.write_text(text, "utf-8")
    elsewhere.mkdir(exist_ok=True)
    return given(elsewhere, f"--flagfile={file}")


def folders(values: dict[str, Any]) -> dict[str, Any]:
    """Return values with folders as paths: a slash may follow one that ends in a blank."""
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
def test_file_gives_the_same_flags(arguments: list[str], tmp_path: Path) -> None:
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


def test_value_that_no_line_can_hold_is_named(tmp_path: Path) -> None:
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


def test_flags_become_options(tmp_path: Path) -> None:
    values = flags.FlagValues()
    groups = define_flags(values)
    values(["train", "--data=/a", "--data=/b", "--data_weights=2,1", "--model_dir=/run",
            "--steps=7", "--nolinear_path", "--gamma=2", "--noreport"])  # fmt: skip
    options = training_options(values, ["--flagfile=x"])
    assert (options.data, options.data_weights) == (["/a", "/b"], ["2", "1"])
    assert (options.model_dir, options.report, options.preset) == ("/run", False, "preview")
    assert options.changes == {"steps": 7, "linear_path": False, "gamma": 2.0}
    assert options.flagfiles == ["x"] and "--steps=7\n" in options.flagfile
    assert tuple(groups) == GROUPS and all(groups.values())


@dataclasses.dataclass(frozen=True)
class Limits:
    at_least: int = option(1, group="data", least=1)
    open_end: float = option(0.5, least=0.0, below=1.0, allowed="0 to below 1")
    choice: str = option("a", group="data", choices=("a", "b", "c"))
    any_text: str = option("", group="data")


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"at_least": 0}, "--at_least=0: give 1 or more"),
        ({"open_end": 1.0}, "open_end=1: give 0 to below 1"),
        ({"open_end": float("nan")}, "open_end=nan: give 0 to below 1"),
        ({"choice": "d"}, "--choice=d: choose a, b or c"),
    ],
)
def test_fields_are_checked(changes: dict[str, Any], line: str) -> None:
    check(Limits())
    with pytest.raises(UsageError, match=f"^{line}$"):
        check(Limits(**changes))


def test_every_flag_of_a_config_has_help() -> None:
    for kind in (ModelConfig, TrainConfig):
        for field in dataclasses.fields(kind):
            made = field.metadata.get("option")
            assert made is None or bool(made.help) == bool(made.group), field.name
