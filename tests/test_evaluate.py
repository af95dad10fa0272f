"""Evaluation: figures against our own arithmetic, labels, and the command's complaints."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from bladerunner_ae import evaluate
from tests.commands import Commands, Result
from tests.small_records import card_maker, write_numbered_film
from tests.synthetic_film import film_pictures
from tfrecords.card import Shard

FRAMES, HEIGHT, WIDTH = 48, 24, 32


class Darker(tf.Module):
    """A model whose error is known: every picture comes out darker by a tenth."""

    @tf.function(input_signature=[tf.TensorSpec((None, HEIGHT, WIDTH, 3), tf.uint8, name="image")])
    def reconstruct(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"reconstruction": image - image // 10}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Exports `Darker` as if it had been trained on `small_records`, frames 40 to 47 held out."""
    version = tmp_path_factory.mktemp("model") / "autoencoder" / "1"
    module = Darker()
    tf.saved_model.save(module, str(version), signatures={"reconstruct": module.reconstruct})
    card = {"film": {"film_id": "0123456789abcdef", "frames": FRAMES}, "held_out": [[40, 48]]}
    (version / "assets.extra").mkdir()
    (version / "assets.extra" / "model_card.json").write_text(json.dumps(card))
    return version.parent


def expected_psnr() -> NDArray[np.float64]:
    pictures = np.stack(list(film_pictures(FRAMES, HEIGHT, WIDTH)))
    error = np.square((pictures // 10).astype(np.float64)).mean((1, 2, 3))
    return 10 * np.log10(255**2 / np.maximum(error, 1 / 12))


@pytest.mark.parametrize("batch_size", [7, 64])
def test_figures_are_means_over_frames_by_label(
    model: Path, small_records: Path, batch_size: int
) -> None:
    result = evaluate.evaluate_film(model, small_records, batch_size)
    psnr = expected_psnr()
    assert (result["film"], result["frames"]) == ("film.mp4", FRAMES)
    assert result["groups"].keys() == {"seen", "held out"}
    for label, part in (("seen", psnr[:40]), ("held out", psnr[40:])):
        group = result["groups"][label]
        assert group["frames"] == len(part)
        assert group["psnr"] == pytest.approx(part.mean(), abs=2e-3)
        assert 0.8 < group["ssim"] < 1
    assert [(shot["first_frame"], shot["label"], shot["frames"]) for shot in result["shots"]] == [
        (0, "seen", 40), (40, "held out", 8)
    ]  # fmt: skip
    assert result["shots"][1]["psnr"] == result["groups"]["held out"]["psnr"]


@pytest.mark.parametrize(
    ("trained_on", "labels"),
    [
        ({"film": {"film_id": "0123456789abcdef", "frames": 6}, "held_out": [[1, 3]]},
         ["seen", "held out", "held out", "seen", "seen", "seen"]),
        ({"film": {"film_id": "0123456789abcdef", "frames": 6}, "held_out": []}, ["seen"] * 6),
        ({"film": {"film_id": "another", "frames": 6}, "held_out": [[1, 3]]}, ["unseen film"] * 6),
        ({"film": {"film_id": "0123456789abcdef", "frames": 9}, "held_out": []},
         ["unseen film"] * 6),
        ({}, ["unseen film"] * 6),
    ],
)  # fmt: skip
def test_labels(trained_on: dict[str, Any], labels: list[str]) -> None:
    card = card_maker()([Shard("frames-00000-of-00001.tfrecord", 6, 0, 1, "0" * 64)])
    assert evaluate.frame_labels(card, trained_on).tolist() == labels


def test_the_worst_shots_come_first() -> None:
    shots = [{"first_frame": i, "psnr": 30.0 - i % 7, "label": "seen"} for i in range(7)]
    groups = {"seen": {"psnr": 27.0, "ssim": 0.9, "frames": 7}}
    lines = evaluate.describe({"groups": groups, "shots": shots})
    assert lines[0] == "seen: PSNR 27.00 dB, SSIM 0.900 over 7 frames"
    assert lines[1].startswith("most forgotten shots: frame 6 (24.0 dB, seen), frame 5 (25.0 dB")
    assert "frame 1 " not in lines[1]


def test_the_command_prints_and_writes(
    trained_run: tuple[Path, Result], small_records: Path, tmp_path: Path, commands: Commands
) -> None:
    output, sheet = tmp_path / "deep" / "result.json", tmp_path / "sheets" / "sheet.png"
    result = commands.run(
        "evaluate", f"--model={trained_run[0]}", f"--data={small_records}", f"--output={output}",
        f"--contact_sheet={sheet}",
    )  # fmt: skip
    assert result.code == 0, result.err
    figures = json.loads(output.read_text())
    assert result.out.splitlines() == evaluate.describe(figures)
    assert figures["groups"]["seen"]["frames"] == 40
    assert figures["groups"]["held out"]["frames"] == 8
    # The linear path alone, fitted to 40 frames, remembers them far better than a grey would.
    assert figures["groups"]["seen"]["psnr"] > 14
    assert sheet.read_bytes().startswith(b"\x89PNG")
    assert not list(tmp_path.rglob(".*"))


def test_a_folder_that_is_no_model(tmp_path: Path, small_records: Path, commands: Commands) -> None:
    for folder, named in ((tmp_path, "holds no SavedModel"), (tmp_path / "x", "no such model")):
        result = commands.run("evaluate", f"--model={folder}", f"--data={small_records}")
        assert result.code == 2 and named in result.error and str(folder) in result.error


def test_a_model_that_does_something_else(
    trained_run: tuple[Path, Result], small_records: Path, commands: Commands
) -> None:
    encoder = trained_run[0] / "export" / "encoder"
    result = commands.run("evaluate", f"--model={encoder}", f"--data={small_records}")
    assert result.code == 2 and "has no signature 'reconstruct'" in result.error


def test_a_damaged_model(model: Path, small_records: Path, tmp_path: Path,
                         commands: Commands) -> None:  # fmt: skip
    damaged = Path(shutil.copytree(model, tmp_path / "autoencoder"))
    (damaged / "1" / "saved_model.pb").write_bytes(b"\x0a\xff\xff")
    result = commands.run("evaluate", f"--model={damaged}", f"--data={small_records}")
    assert result.code == 2 and "cannot be loaded" in result.error


def test_another_raster(model: Path, tmp_path: Path, commands: Commands) -> None:
    write_numbered_film(tmp_path / "film", 8, 32, 48)
    result = commands.run("evaluate", f"--model={model}", f"--data={tmp_path / 'film'}")
    assert result.code == 2
    assert "frames are 32x48 but the model takes 24x32" in result.error
    assert "--height=24 --width=32" in result.error


def test_records_that_are_damaged(
    model: Path, small_records: Path, tmp_path: Path, commands: Commands
) -> None:
    records = Path(shutil.copytree(small_records, tmp_path / "film"))
    shard = sorted(records.glob("*.tfrecord"))[3]
    data = bytearray(shard.read_bytes())
    data[-9] ^= 0xFF
    shard.write_bytes(data)
    result = commands.run("evaluate", f"--model={model}", f"--data={records}")
    assert result.code == 2 and shard.name in result.error and "record 11" in result.error
    shard.write_bytes(data[:1000])
    result = commands.run("evaluate", f"--model={model}", f"--data={records}")
    assert result.code == 2 and shard.name in result.error and "record" in result.error
    (records / "film.json").unlink()
    result = commands.run("evaluate", f"--model={model}", f"--data={records}")
    assert result.code == 2 and "film.json" in result.error
