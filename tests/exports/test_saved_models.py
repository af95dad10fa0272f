"""SavedModels on disk: versions, failures and kills, model cards, weights."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bladerunner_ae.errors import InputError, OutputError
from bladerunner_ae.exports import model_card, saved_models, warm_up
from bladerunner_ae.exports.model_card import load_model_card, make_model_card
from bladerunner_ae.exports.signatures import make_signatures
from bladerunner_ae.model.networks import Networks
from bladerunner_ae.runs.folder import writing
from tests.helpers.commands import ROOT, environment
from tests.helpers.tiny_exports import LATENT, run_values, small_networks
from tests.helpers.tiny_training import checkpoint_values, tiny_networks, weights_of

CARD = make_model_card({"films": [{"name": "ümlaut.mp4", "film_id": "0" * 16, "frames": 9}]}, 4)


@pytest.fixture(scope="module")
def networks() -> Networks:
    return small_networks()


def pretend(
    monkeypatch: pytest.MonkeyPatch, fails_at: int = -1, stage: str = "_write_saved_model"
) -> None:
    """Make exports quick: a SavedModel is one file. Model `fails_at` fails at a stage."""
    done: dict[str, int] = {}

    def staged(name: str, work: Any) -> Any:
        def call(folder: Path, *arguments: Any) -> None:
            work(folder, *arguments)
            done[name] = done.get(name, -1) + 1
            if name == stage and done[name] == fails_at:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))

        return call

    def write(folder: Path, *arguments: Any) -> None:
        folder.mkdir()
        (folder / "saved_model.pb").write_text(folder.parent.name)

    monkeypatch.setattr(saved_models, "_write_saved_model", staged("_write_saved_model", write))
    for name in ("_write_extras", "_sync"):
        monkeypatch.setattr(saved_models, name, staged(name, getattr(saved_models, name)))
    monkeypatch.setattr(warm_up, "replay", staged("replay", lambda folder: None))


def listing(folder: Path) -> dict[str, bytes]:
    """Return path -> content of every file of a folder, hidden ones too."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_the_next_version_is_the_same_for_all_models(
    networks: Networks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch)
    saved_models.export_models(networks, CARD, tmp_path)
    (tmp_path / "decoder" / "9").mkdir()
    (tmp_path / "decoder" / "best").mkdir()
    written = saved_models.export_models(networks, CARD, tmp_path)
    assert written == [tmp_path / name / "10" for name in saved_models.MODELS]
    assert saved_models.newest_versions(tmp_path) == written
    assert (tmp_path / "autoencoder" / "1").is_dir()


@pytest.mark.parametrize("fails_at", [0, 1, 2])
@pytest.mark.parametrize("stage", ["_write_saved_model", "_write_extras", "replay", "_sync"])
def test_a_full_disk_leaves_earlier_versions_alone(
    stage: str,
    fails_at: int,
    networks: Networks,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    export = tmp_path / "run" / "export"
    with monkeypatch.context() as patch:
        pretend(patch)
        saved_models.export_models(networks, CARD, export)
    before = listing(export)
    assert len(before) == 12
    with monkeypatch.context() as patch:
        pretend(patch, fails_at, stage)
        with (
            pytest.raises(OutputError, match=r"run: the disk is full; free some space") as caught,
            writing(tmp_path / "run"),
        ):
            saved_models.export_models(networks, {**CARD, "step": 5}, export)
    assert "\n" not in str(caught.value)
    assert listing(export) == before
    pretend(monkeypatch)
    assert saved_models.export_models(networks, CARD, export)[0].name == "2"


_KILLED = """
import os, signal, sys
from pathlib import Path
from bladerunner_ae.exports import saved_models, warm_up
stage, count = sys.argv[2], int(sys.argv[3])

def write(folder, *arguments):
    folder.mkdir()
    (folder / "saved_model.pb").write_text("new")

def killed_after(name, work):
    left = [count]
    def call(*arguments):
        work(*arguments)
        left[0] -= 1
        if name == stage and not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
    return call

saved_models.make_signatures = lambda *arguments: dict.fromkeys(saved_models.MODELS, [])
saved_models._write_saved_model = killed_after("write", write)
warm_up.replay = killed_after("replay", lambda folder: None)
saved_models.sync_folder = killed_after("publish", lambda folder: None)
card = {"step": 5, "averaged_weights": False, "film_cards": [], "metrics": {}}
saved_models.export_models(None, card, Path(sys.argv[1]))
"""


@pytest.mark.parametrize(
    ("stage", "count", "published"),
    [("write", 2, 0), pytest.param("replay", 3, 0, marks=pytest.mark.slow), ("publish", 1, 1)],
)
def test_a_kill_leaves_complete_versions_only(
    stage: str,
    count: int,
    published: int,
    networks: Networks,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend(monkeypatch)
    saved_models.export_models(networks, CARD, tmp_path)
    before = listing(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, str(tmp_path), stage, str(count)],
        cwd=ROOT, env=environment(), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    visible = [path for name in saved_models.MODELS for path in (tmp_path / name).glob("[0-9]*")]
    new = [path for path in visible if path.name == "2"]
    assert len(new) == published and len(visible) == 3 + published
    for path in new:
        assert load_model_card(path)["step"] == 5 and (path / "saved_model.pb").read_text() == "new"
    after = listing(tmp_path)
    assert {path: after[path] for path in before} == before
    written = saved_models.export_models(networks, CARD, tmp_path)
    assert {path.name for path in written} == {"3" if published else "2"}
    assert not list(tmp_path.glob("*/.partial*"))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs to mount a disk")
@pytest.mark.parametrize("share", [0.01, 0.35, 0.5, 0.75, 0.97])
def test_a_disk_that_is_really_full(
    share: float, networks: Networks, tiny_export: Path, tmp_path: Path
) -> None:
    """With room for a share of what an export needs: TensorFlow says it in many ways."""
    disk = tmp_path / "disk"
    disk.mkdir()
    kibibytes = int(share * sum(map(len, listing(tiny_export).values()))) >> 10
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kibibytes}k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("may not mount a disk")
    try:
        with pytest.raises(OutputError, match="the disk is full"), writing(disk / "run"):
            saved_models.export_models(networks, CARD, disk / "run" / "export")
        assert listing(disk / "run" / "export") == {}
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_the_extra_files_of_each_model(tiny_export: Path, small_records: Path) -> None:
    always = {"README.md", "model_card.json", "tf_serving_warmup_requests"}
    for name in saved_models.MODELS:
        found = {path.name for path in (tiny_export / name / "1" / "assets.extra").iterdir()}
        assert found == (always | {"film_latents.npz"} if name == "decoder" else always)
    card = load_model_card(tiny_export / "decoder" / "1")
    assert {key: card[key] for key in run_values(small_records)} == run_values(small_records)
    assert (card["schema_version"], card["model_name"], card["step"]) == (1, "decoder", 4)
    assert card["metrics"] == {"probe/psnr_seen": 21.5} and card["averaged_weights"] is False
    (film,) = card["film_cards"]
    assert film["film_id"] == card["films"][0]["film_id"] == film["sha256"][:16]
    assert (film["frames"], film["raster"]) == (48, [24, 32])
    assert card["signatures"]["decode"]["inputs"] == {"latent": ["float32", [None, LATENT]]}
    assert load_model_card(tiny_export) == {}, "no card"


def test_the_readme_of_a_model(tiny_export: Path) -> None:
    text = (tiny_export / "decoder" / "1" / model_card.README_NAME).read_text("utf-8")
    assert text.startswith("# Decoder that has watched film.mp4\n")
    for line in (
        "* Pictures of 24x32 pixels (height x width), RGB; 20 latent numbers a picture",
        "* Preset preview, objective vae, weights of step 4, bladerunner_ae 0.0",
        "* film.mp4: 48 frames, 8 kept from training, ",
        "* probe/psnr_seen: 21.5",
        "| serving_default | latent float32 [?, 20] | image_bytes string [?] | ",
    ):
        assert f"\n{line}" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"schema_version": 2}', "1: was exported with schema version 2 but this program reads"),
        ('{"schema_version": "x"}', "schema version x but"),
        ("{", "model_card.json: damaged "),
        ("[1]", "model_card.json: damaged .it is not a JSON object"),
        ("\xff", "model_card.json: damaged "),
        ('{"step": 500, "film": {}}', "1: was exported by an early version of bladerunner_ae"),
    ],
)
def test_a_damaged_or_newer_card_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "1" / model_card.FILE_NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=message) as caught:
        load_model_card(tmp_path / "1")
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


def test_keras_says_nothing(
    networks: Networks, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    signatures = make_signatures(networks)["encoder"][:1]
    saved_models._write_saved_model(tmp_path / "encoder", signatures)
    assert warm_up.replay(tmp_path / "encoder") == 0
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


@pytest.mark.parametrize("latent", [{}, {"latent": "spatial", "latent_channels": 6}])
def test_every_weight_is_stored_once(latent: dict[str, Any], tmp_path: Path) -> None:
    changes = {"filters": (8, 16), "bottleneck_channels": 4, **latent}
    networks = tiny_networks("vae", **changes)
    encoder, decoder = (
        [value.tobytes() for value in weights_of(network).values()]
        for network in (networks.encoder, networks.decoder)
    )
    weights = {"encoder": encoder, "decoder": decoder, "autoencoder": encoder + decoder}
    for name, signatures in make_signatures(networks).items():
        saved_models._write_saved_model(tmp_path / name, signatures)
        stored = checkpoint_values(tmp_path / name / "variables" / "variables").values()
        assert sorted(value.tobytes() for value in stored) == sorted(weights[name])
