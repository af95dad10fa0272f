"""A new objective is one file, one line of the registry and one flagfile; the rest follows."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.commands import ROOT, environment
from tests.helpers.tiny_training import arguments, tiny_flags

OBJECTIVE = '''
from dataclasses import dataclass
from typing import ClassVar

from bladerunner_ae.objectives import losses
from bladerunner_ae.objectives.base import (
    KL, Batch, Objective, Outcome, run_part, sample_posterior, weight,
)


@dataclass(frozen=True)
class Fading(Objective):
    """A variational autoencoder whose absolute error fades in."""

    name: ClassVar[str] = "fading"

    kl_weight: float = weight(1e-5, KL)
    fade_weight: float = weight(
        2.0, "Weight of the absolute error", lambda self, progress, scale: progress
    )
    fade_end: float = run_part(1.0, "Part of the run after which it is whole")

    @property
    def players(self) -> tuple[str, ...]:
        return "encoder", "decoder"

    def __call__(self, networks, batch: Batch) -> Outcome:
        mean, log_var = networks.encoder(batch.images, training=True)
        latent = sample_posterior(mean, log_var, batch.epsilon)
        picture = networks.decoder(latent, training=True)
        absolute = losses.absolute_error(batch.images, picture)
        kl = losses.kl_divergence(mean, log_var)
        loss = absolute * self.fade_weight * batch.progress + self.kl_weight * kl
        losses_of = {"encoder": loss, "decoder": loss}
        return Outcome(losses_of, {"absolute": absolute, "kl": kl}, (mean, log_var), picture)
'''
COMMAND = """
import runpy, sys
from bladerunner_ae import objectives
from fading import Fading
objectives.REGISTRY[Fading.name] = Fading
runpy.run_module("bladerunner_ae.train", run_name="__main__")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fading")
    (folder / "fading.py").write_text(OBJECTIVE)
    (folder / "fading.flags").write_text("--objective=fading\n--fade_weight=4\n")
    return folder


def train(folder: Path, *line: str) -> subprocess.CompletedProcess[str]:
    paths = {"PYTHONPATH": f"{ROOT}:{folder}"}
    return subprocess.run(
        [sys.executable, "-c", COMMAND, *line], env={**environment(), **paths}, cwd=folder,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_help_shows_its_flags(folder: Path) -> None:
    result = train(folder, "--help")
    assert result.returncode == 0, result.stderr
    text = " ".join(result.stdout.split())
    assert "broad2016, fading. Default: the preset's. --kl_weight" in text
    assert re.search(r"latent numbers \(dream 1e-05, .* fading 1e-05\)\.", text)
    assert "--fade_weight Weight of the absolute error (fading 2)." in text


def test_it_trains_with_its_flags_and_curves(folder: Path, small_records: Path) -> None:
    run = folder / "run"
    flags = tiny_flags(small_records, run, steps=2)
    del flags["objective"]
    result = train(folder, "--flagfile=fading.flags", *arguments(flags), "--noreport")
    assert result.returncode == 0, result.stderr
    assert "--fade_weight=4.0" in (run / "flags.txt").read_text().splitlines()
    assert json.loads((run / "config.json").read_text())["weights"] == {
        "kl_weight": 1e-5, "fade_weight": 4.0, "fade_end": 1.0
    }  # fmt: skip
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    curve = {line["step"]: line["weight/fade"] for line in lines if "weight/fade" in line}
    assert curve == {1: 2.0, 2: 4.0}
    assert not any("weight/fade_end" in line for line in lines)


@pytest.mark.slow
def test_its_limits_are_checked(folder: Path, small_records: Path) -> None:
    flags = arguments(tiny_flags(small_records, folder / "none", "fading", fade_end=2))
    result = train(folder, *flags)
    assert result.returncode == 1
    assert "--fade_end=2: give a part of the run, from 0 to 1" in result.stderr
