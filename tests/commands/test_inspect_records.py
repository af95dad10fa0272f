"""The command as people run it: its output, its files, and its end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.commands import error_of, run_python, run_tool, start_python, tool
from tests.helpers.small_records import flip_byte, write_numbered_film

SHARDS = [f"frames-{number:05d}-of-00004.tfrecord" for number in range(4)]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return run_tool("inspect_records", *arguments)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "film"
    write_numbered_film(folder, 40)
    return folder


@pytest.fixture
def damaged(whole: Path, tmp_path: Path) -> Path:
    """A film with one damaged record and a missing shard."""
    folder = Path(shutil.copytree(whole, tmp_path / "damaged"))
    flip_byte(folder / SHARDS[0], 300)
    (folder / SHARDS[3]).unlink()
    return folder


def test_whole_film_and_its_pictures(whole: Path, tmp_path: Path) -> None:
    done = run(whole, "--verify", f"--contact_sheet={tmp_path}/new/sheet.png",
               f"--barcode={tmp_path}/code.png", f"--export_frames={tmp_path}/frames",
               "--frames=9:12", "--contact_sheet_frames=4")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "error" not in done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == str(whole) and "verified: all 40 records are whole" in lines
    assert [line.split()[1:3] for line in lines if line.startswith("frames-")] == [
        ["10", "0"], ["10", "10"], ["10", "20"], ["10", "30"],
    ]  # fmt: skip
    assert np.asarray(Image.open(tmp_path / "code.png")).shape == (200, 1920, 3)
    assert len(list((tmp_path / "frames").iterdir())) == 3
    assert (tmp_path / "new" / "sheet.png").exists()
    again = run(whole, f"--export_frames={tmp_path}/frames", "--frames=11")
    assert "holds frame_0000011.png already" in error_of(again, 2) and again.stdout == ""


def test_damage_ends_with_2_and_the_fix(whole: Path, damaged: Path) -> None:
    done = run("--verify", damaged, whole)
    line = error_of(done, 2)
    assert line == (
        f"error: {damaged}: 2 damages; restore the files named or run make_tfrecords again with "
        "--overwrite"
    )
    assert [line for line in done.stdout.splitlines() if line.startswith("damaged: ")] == [
        f"damaged: {SHARDS[0]}, record 0 (from 0), frame 0, at 0:00:00.000: "
        "damaged (checksum of its data)",
        f"damaged: {SHARDS[3]}, frames 30 to 39, at 0:00:01.251: the shard is missing",
    ]
    assert "verified: all 40 records are whole" in done.stdout  # the other film
    quick = run(damaged)
    assert "1 damage;" in error_of(quick, 2)


@pytest.mark.parametrize("flag", ["--verify", "--json"])
def test_records_of_a_newer_version_are_not_called_damaged(
    whole: Path, tmp_path: Path, flag: str
) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "newer"))
    card = json.loads((folder / "film.json").read_text())
    (folder / "film.json").write_text(json.dumps({**card, "schema_version": 7}))
    done = run(flag, folder)
    assert done.stdout == "" and error_of(done, 2) == (
        f"error: {folder}/film.json: has schema version 7 but this program reads up to 1; "
        "update bladerunner_ae"
    )


def test_json_is_all_there_is_on_stdout(whole: Path, damaged: Path) -> None:
    done = run("--json", "--verify", whole, damaged)
    assert done.returncode == 2
    good, bad = json.loads(done.stdout)
    assert good["verified"] == 40 and good["damages"] == [] and len(good["shards"]) == 4
    assert bad["verified"] == 29 and [one["frames"] for one in bad["damages"]] == [[0, 0], [30, 39]]


def test_wrong_usage(whole: Path, tmp_path: Path) -> None:
    assert "give the folder of a film's records" in error_of(run(), 1)
    assert "one film at a time" in error_of(run(whole, whole, "--barcode=x.png"), 1)
    assert "Unknown command line flag" in error_of(run(whole, "--nonsense"), 1)
    assert "--frames=40" in error_of(run(whole, f"--export_frames={tmp_path}/x", "--frames=40"), 1)
    assert "there is no such folder" in error_of(run(tmp_path / "nothing"), 2)
    (tmp_path / "text.txt").touch()
    wrong = f"error: {tmp_path}/text.txt: is a file; give the folder of a film's records"
    assert error_of(run(tmp_path / "text.txt"), 2) == wrong


def test_impossible_outputs_are_refused_at_once(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.png").mkdir()
    png, folder = f"{tmp_path}/file/x.png", f"{tmp_path}/folder.png"
    for arguments, words, code in (
        (["--frames=1:3"], "--frames=1:3: says which frames --export_frames=FOLDER writes", 1),
        (["--contact_sheet=x.jpg"], "contact_sheet=x.jpg: is written as PNG; give a name that", 1),
        (["--barcode=barcode"], "--barcode=barcode: is written as PNG; give a name that", 1),
        ([f"--barcode={folder}"], "is a folder; give the name of a file", 1),
        ([f"--barcode={png}"], f"{tmp_path}/file: cannot be written to", 2),
        ([f"--contact_sheet={png}"], f"{tmp_path}/file: cannot be written to", 2),
        ([f"--export_frames={tmp_path}/file"], f"{tmp_path}/file is not a folder", 2),
        ([f"--export_frames={tmp_path}/x", "--frames=50:60"], "the film has frames 0 to 39", 1),
        ([f"--export_frames={tmp_path}/x", "--frames=7:3"], "--frames=7:3: give first:end", 1),
    ):
        done = run(whole, *arguments)
        assert words in error_of(done, code) and done.stdout == "", arguments
    assert sorted(os.listdir(tmp_path)) == ["file", "folder.png"]


def test_tensorflow_is_not_imported(whole: Path) -> None:
    code = (
        "import sys, runpy; sys.argv = ['inspect', sys.argv[1], '--verify']\n"
        "try: runpy.run_module('tools.inspect_records', run_name='__main__')\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "assert 'tensorflow' not in sys.modules"
    )
    assert run_python("-c", code, whole).returncode == 0


def test_interrupted_it_leaves_no_half_picture(tmp_path: Path) -> None:
    write_numbered_film(tmp_path / "film", 400)
    flags = ("--verify", f"--barcode={tmp_path}/code.png", "--contact_sheet_frames=400")
    sheet = f"--contact_sheet={tmp_path}/sheet.png"
    process = start_python(tool("inspect_records"), tmp_path / "film", *flags, sheet)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    left = {path.name for path in tmp_path.iterdir()}
    assert left <= {"film", "code.png", "sheet.png"}
    for name in left - {"film"}:
        Image.open(tmp_path / name).load()
