"""The table of two films follows from the figures in the work folder; nothing is done twice."""

from __future__ import annotations

import io
import json
import shlex
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.cross_film import __main__ as cross_film
from benchmarks.cross_film.picture import Strip, draw_sheet, small_png
from benchmarks.cross_film.plan import Film, Plan, figures_of, load_plan, save_plan
from benchmarks.cross_film.table import table

A, B = Film("a", "a.mp4"), Film("b_2", "b 2.mkv")
PLAN = Plan((A, B), 500, 100, 1.0, "contain", "a fast machine")


def card(rows: int = 72) -> Any:
    picture = {"top": 0, "left": 0, "height": rows, "width": 128}
    return SimpleNamespace(frames=240, frame_rate=Fraction(24), height=72, width=128,
                           geometry={"picture": picture})  # fmt: skip


def evaluation(baseline: float | None = None, **psnr: float) -> dict[str, Any]:
    groups = {
        label.replace("_", " "): {"frames": 24, "psnr": value, "flicker": None}
        for label, value in psnr.items()
    }
    baselines = (
        {} if baseline is None else {"PCA-200": {"held out": {"frames": 9, "psnr": baseline}}}
    )
    return {"groups": groups, "baselines": baselines}


def rows(text: str) -> list[dict[str, str]]:
    """The table's rows, each as {head: cell}."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    heads, *cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(heads, row, strict=True)) for row in cells]


def test_each_network_stands_beside_the_film_that_it_was_shown() -> None:
    found = {
        ("run_a", "a"): evaluation(held_out=30.0, seen=35.0, baseline=28.125),
        ("run_b_2", "a"): evaluation(unseen_film=12.0),
        ("tuned_a", "a"): evaluation(seen=31.0),
        ("short_a", "a"): evaluation(seen=29.0),
        ("run_a", "b_2"): evaluation(unseen_film=13.0),
    }
    text = table(PLAN, found, {"a": card(), "b_2": card(rows=54)})
    found_rows = [
        tuple(row[head] for head in ("film shown", "network trained on", "steps",
                                     "these frames are", "PSNR dB"))
        for row in rows(text)
    ]  # fmt: skip
    assert found_rows == [
        ("a.mp4", "a.mp4", "500", "seen", "35.00"),
        ("a.mp4", "a.mp4", "500", "held out", "30.00"),
        ("a.mp4", "b 2.mkv", "500", "never seen film", "12.00"),
        ("a.mp4", "b 2.mkv, then a.mp4", "500 + 100", "seen", "31.00"),
        ("a.mp4", "a.mp4", "100", "seen", "29.00"),
        ("a.mp4", "none: PCA-200", "-", "held out", "28.12"),
        ("b 2.mkv", "a.mp4", "500", "never seen film", "13.00"),
    ]


def test_only_figures_that_somebody_has_are_columns() -> None:
    first, second = evaluation(seen=35.0), evaluation(unseen_film=12.0)
    first["groups"]["seen"]["vmaf"] = 81.26
    text = table(PLAN, {("run_a", "a"): first, ("run_b_2", "a"): second},
                 {"a": card(), "b_2": card()})  # fmt: skip
    assert [row["VMAF"] for row in rows(text)] == ["81.3", "-"]
    assert not {"SSIM", "flicker"} & set(rows(text)[0])


def test_the_page_says_what_was_done_and_what_counts() -> None:
    found = {("run_a", "a"): evaluation(seen=35.0)}
    text = table(PLAN, found, {"a": card(), "b_2": card(rows=54)})
    assert f"`{PLAN.command()}` on a fast machine." in text
    about = [line for line in text.splitlines() if line.startswith("* ")]
    assert "240 frames, 24.000 a second, 72x128" in about[0] and "margin" not in about[0]
    assert "25% are black margins" in about[1]
    assert "every 10th run of 1 s" in text
    assert table(PLAN, {}, {"a": card(), "b_2": card()}) == "No figures yet."


def test_the_command_leaves_the_plan_that_it_stands_for(tmp_path: Path) -> None:
    for film in PLAN.films:
        (tmp_path / film.file).touch()
    options = cross_film.parse_arguments(shlex.split(PLAN.command())[2:])
    assert options.film == [Path("a.mp4"), Path("b 2.mkv")]
    options.film = [tmp_path / film.file for film in PLAN.films]
    plan = cross_film.plan_of(options)
    assert plan.differences(PLAN) == [] and plan.films == PLAN.films
    save_plan(tmp_path, plan)
    assert load_plan(tmp_path) == plan


class Commands:
    """Stands for our commands: notes them, and leaves what they would leave."""

    def __init__(self) -> None:
        self.seen: list[list[str]] = []
        self.stopped = False

    def __call__(self, arguments: list[str]) -> None:
        self.seen.append(list(arguments))
        if "bladerunner_ae.evaluate" in arguments:
            output = Path(self.flag("output"))
            output.parent.mkdir(parents=True, exist_ok=True)
            output.write_text(json.dumps(evaluation(seen=30.0)), "utf-8")
        elif "bladerunner_ae.train" in arguments and "--dry_run" not in arguments:
            exported = Path(self.flag("model_dir")) / "export" / "autoencoder"
            exported.mkdir(parents=True, exist_ok=True)
            if self.stopped:
                exported.rmdir()

    def flag(self, name: str) -> str:
        """The value of a flag of the last command."""
        start = f"--{name}="
        return next(word for word in self.seen[-1] if word.startswith(start)).removeprefix(start)

    def named(self, name: str) -> list[list[str]]:
        """The commands of a name that did something."""
        return [c for c in self.seen if name in " ".join(c[:2]) and "--dry_run" not in c]


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Commands:
    commands = Commands()
    monkeypatch.setattr(cross_film, "run", commands)
    monkeypatch.setattr(cross_film, "load_card", lambda _: card())
    monkeypatch.chdir(tmp_path)
    for film in PLAN.films:
        (tmp_path / film.file).touch()
    return commands


FILMS = ("--film=a.mp4", "--film=b 2.mkv", "--work=work")


def test_every_part_is_done_once(commands: Commands) -> None:
    assert cross_film.main(FILMS) == 0
    trained = [" ".join(command) for command in commands.named("train")]
    assert len(trained) == 6 and len(commands.named("make_tfrecords")) == 2
    tuned = [command for command in trained if "--fine_tune_from" in command]
    assert "--data=work/records/b_2 --model_dir=work/tuned_b_2" in tuned[1]
    assert "--steps=100 --fine_tune_from=work/run_a" in tuned[1]
    assert "--steps=500" in trained[0] and "--holdout=0.1 --holdout_seconds=1 " in trained[0]
    shown = commands.named("evaluate")
    assert len(shown) == 8
    assert sum("--nobaselines" not in command for command in shown) == 2
    # The films through both networks come before anything is fine-tuned.
    assert commands.seen.index(shown[3]) < commands.seen.index(commands.named("train")[2])

    commands.seen.clear()
    lost = figures_of(Path("work"), PLAN.own(A), B)
    lost.unlink()
    assert cross_film.main(FILMS) == 0
    (again,) = commands.named("evaluate")
    assert f"--output={lost}" in again and "--model=work/run_a/export/autoencoder" in again
    assert lost.is_file()


def test_the_table_alone_starts_nothing(
    commands: Commands, capsys: pytest.CaptureFixture[str]
) -> None:
    cross_film.main(FILMS)
    commands.seen.clear()
    capsys.readouterr()
    assert cross_film.main(["--table", "--work=work", "--output=docs/table.md"]) == 0
    text = capsys.readouterr().out
    assert commands.seen == [] and Path("docs/table.md").read_text("utf-8") == text
    assert len(rows(text)) == 8


def test_a_training_that_was_stopped_is_not_evaluated(commands: Commands) -> None:
    commands.stopped = True
    with pytest.raises(SystemExit) as stopped:
        cross_film.main(FILMS)
    assert stopped.value.code == 143
    assert len(commands.named("train")) == 1 and not commands.named("evaluate")


def test_other_flags_do_not_add_to_the_same_figures(
    commands: Commands, capsys: pytest.CaptureFixture[str]
) -> None:
    cross_film.main(FILMS)
    commands.seen.clear()
    assert cross_film.main([*FILMS, "--steps=4"]) == 1
    assert "work: holds other figures (steps: 500 -> 4); give" in capsys.readouterr().err
    assert commands.seen == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--film=a.mp4"], 1, "give two films"),
        (["--film=a.mp4", "--film=c.mp4"], 2, "c.mp4: no such file"),
        (["--film=a.mp4", "--film=a.mp4"], 1, "both films would go to"),
        ([*FILMS, "--holdout_seconds=0"], 1, "above 0"),
        (["--table", "--work=nowhere"], 2, "nowhere: nothing was measured here"),
    ],
)
def test_what_makes_no_sense_is_one_line(
    commands: Commands, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int,
    words: str,
) -> None:  # fmt: skip
    assert cross_film.main(arguments) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and words in line
    assert commands.seen == []


def test_pictures_stand_in_rows_and_columns_and_the_file_is_small() -> None:
    greys = np.arange(6, dtype=np.uint8).reshape(3, 2) * 40 + 30
    strips = [
        Strip(np.stack([np.full((72, 128, 3), grey, np.uint8) for grey in row]), ["one for all"])
        for row in greys
    ]
    sheet = np.asarray(draw_sheet(strips, 128))
    corners = [[np.argwhere((sheet == grey).all(-1)) for grey in row] for row in greys]
    # No more and no less than the picture, but for letters that happen to be of its grey.
    assert all(len(found) >= 72 * 128 for row in corners for found in row)
    middles = np.array([[np.median(found, 0) for found in row] for row in corners])
    assert (np.diff(middles[..., 0], axis=0) >= 72).all()
    assert (np.diff(middles[..., 1], axis=1) >= 128).all()

    noise = np.random.default_rng(0).integers(0, 256, (2, 72, 128, 3), np.uint8)
    large, small = (small_png([Strip(noise, ["", ""])], limit) for limit in (10**7, 150_000))
    assert len(small) <= 150_000 < len(large)
    widths = [Image.open(io.BytesIO(png)).width for png in (large, small)]
    assert widths[0] > 2 * 256 > widths[1] > 2 * 128
