"""The examples for Slurm and Kubernetes in the guide, run with their variables set."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import textwrap
from pathlib import Path

import absl.flags
import pytest

from bladerunner_ae.training.distributed.cluster import Cluster, cluster_of
from bladerunner_ae.training.flags import define_flags
from tests.helpers.commands import ROOT

GUIDE = (ROOT / "docs" / "distributed.md").read_text("utf-8")


def script(first_line: str) -> str:
    """Return the shell script of the guide that begins with a certain comment."""
    (found,) = re.findall(rf"(?ms)^ *# {re.escape(first_line)}$.*?(?=^```)", GUIDE)
    return textwrap.dedent(found)


def run_worker(text: str, folder: Path, **variables: object) -> tuple[Cluster | None, list[str]]:
    """Run a script with a fake `python`; return TF_CONFIG and the command's arguments."""
    tools = {
        "python": 'echo "$TF_CONFIG"; for argument; do echo "$argument"; done',
        "scontrol": '[ "$*" = "show hostnames gpu[07-08,12]" ] && echo "gpu07\\ngpu08\\ngpu12"',
    }
    for name, body in tools.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    environment = {"PATH": f"{folder}:{os.environ['PATH']}"}
    environment.update({name: str(value) for name, value in variables.items()})
    sh = shutil.which("sh")
    assert sh is not None
    result = subprocess.run(
        [sh, "-c", text], env=environment, capture_output=True, text=True, check=True
    )
    config, *arguments = result.stdout.splitlines()
    return cluster_of({"TF_CONFIG": config}), arguments


@pytest.mark.parametrize("index", [0, 2])
def test_slurm(index: int, tmp_path: Path) -> None:
    cluster, arguments = run_worker(
        script("One worker: TF_CONFIG from Slurm's variables."), tmp_path,
        SLURM_JOB_ID=4_000_123, SLURM_JOB_NODELIST="gpu[07-08,12]", SLURM_PROCID=index,
    )  # fmt: skip
    assert cluster == Cluster(("gpu07:20123", "gpu08:20123", "gpu12:20123"), index)
    check_flags(arguments)


@pytest.mark.parametrize("index", [0, 3])
def test_kubernetes(index: int, tmp_path: Path) -> None:
    cluster, arguments = run_worker(
        script("TF_CONFIG from the index that Kubernetes gives every pod."), tmp_path,
        WORKERS=4, JOB_COMPLETION_INDEX=index,
    )  # fmt: skip
    assert cluster == Cluster(tuple(f"dream-{i}.dream:2222" for i in range(4)), index)
    check_flags(arguments)


def check_flags(arguments: list[str]) -> None:
    """The command is ours, and its batch divides among 4 machines of 4 GPUs."""
    assert arguments[:2] == ["-m", "bladerunner_ae.train"]
    flags = dict(argument.removeprefix("--").split("=") for argument in arguments[2:])
    assert flags["strategy"] == "multi_worker" and int(flags["batch_size"]) % 16 == 0
    defined = absl.flags.FlagValues()
    define_flags(defined)
    assert set(flags) <= set(defined)
