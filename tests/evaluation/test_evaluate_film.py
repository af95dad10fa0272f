"""Evaluation: figures against arithmetic by hand, labels, and errors of the command."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from bladerunner_ae.errors import InputError
from bladerunner_ae.evaluation import choice as film_choice
from bladerunner_ae.evaluation import evaluate_film as evaluation
from bladerunner_ae.evaluation.choice import choose
from bladerunner_ae.evaluation.evaluate_film import EvaluationOptions, evaluate_film
from bladerunner_ae.evaluation.labels import frame_labels
from bladerunner_ae.evaluation.novelty import NEW, NO_COPY
from bladerunner_ae.evaluation.perceptual import available, perceptual_distances
from bladerunner_ae.evaluation.text import describe
from bladerunner_ae.evaluation.vmaf import missing_vmaf
from tests.helpers.commands import Commands, Result
from tests.helpers.small_records import card_maker, write_numbered_film, write_pictures
from tests.helpers.synthetic_film import film_pictures
from tests.helpers.tiny_training import arguments, tiny_flags
from tfrecords.card import Shard

FRAMES, HEIGHT, WIDTH = 48, 24, 32
Given = Callable[[Path, Path, Path], tuple[Path, Path]]


class Darker(tf.Module):
    """A model whose error is known: pictures become darker by a tenth."""

    @tf.function(input_signature=[tf.TensorSpec((None, HEIGHT, WIDTH, 3), tf.uint8, name="image")])
    def reconstruct(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"reconstruction": image - image // 10}


def trained_on(
    frames: int, held_out: list[list[int]], film_id: str = "0123456789abcdef"
) -> dict[str, Any]:
    """Return the card of a model that was trained on one film."""
    film = {"name": "film.mp4", "film_id": film_id, "frames": frames, "held_out": held_out}
    return {"films": [film]}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`Darker`, exported as if it was trained on `small_records`, frames 40 to 47 held out."""
    version = tmp_path_factory.mktemp("model") / "autoencoder" / "1"
    module = Darker()
    tf.saved_model.save(module, str(version), signatures={"reconstruct": module.reconstruct})
    (version / "assets.extra").mkdir()
    (version / "assets.extra" / "model_card.json").write_text(
        json.dumps(trained_on(FRAMES, [[40, 48]]))
    )
    return version.parent


def expected_psnr() -> NDArray[np.float64]:
    pictures = np.stack(list(film_pictures(FRAMES, HEIGHT, WIDTH)))
    error = np.square((pictures // 10).astype(np.float64)).mean((1, 2, 3))
    return 10 * np.log10(255**2 / np.maximum(error, 1 / 12))


@pytest.mark.parametrize("batch_size", [7, 64])
def test_figures_are_means_over_frames_by_label(
    model: Path, small_records: Path, batch_size: int
) -> None:
    result = evaluate_film(model, small_records, EvaluationOptions(batch_size, perceptual=False))
    psnr = expected_psnr()
    assert (result["film"], result["frames"]) == ("film.mp4", FRAMES)
    assert result["groups"].keys() == {"seen", "held out", NO_COPY, NEW}
    assert result["groups"][NEW]["psnr"] == result["groups"]["held out"]["psnr"]
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
    ("model_card", "labels"),
    [
        (trained_on(6, [[1, 3]]), ["seen"] + ["held out"] * 2 + ["seen"] * 3),
        (trained_on(6, []), ["seen"] * 6),
        (trained_on(6, [[1, 3]], "another"), ["unseen film"] * 6),
        (trained_on(9, []), ["unseen film"] * 6),
        ({}, ["unseen film"] * 6),
    ],
)
def test_labels(model_card: dict[str, Any], labels: list[str]) -> None:
    card = card_maker()([Shard("frames-00000-of-00001.tfrecord", 6, 0, 1, "0" * 64)])
    assert frame_labels(card, model_card).tolist() == labels


def test_baselines_are_fitted_to_what_training_saw(model: Path, small_records: Path) -> None:
    result = evaluate_film(model, small_records, EvaluationOptions(vmaf=False, perceptual=False))
    # It is unknown how many numbers this model has for a frame: no components.
    assert list(result["baselines"]) == ["mean frame"] and result["prior"] is None
    assert result["latent_size"] is None and result["groups"]["seen"]["rate_bits"] is None
    (note,) = result["notes"]
    assert note.startswith("no latent rate and no samples: ") and "is missing" in note
    pictures = np.stack(list(film_pictures(FRAMES, HEIGHT, WIDTH))).astype(np.float64)
    mean = np.rint(pictures[:40].mean(axis=0))
    error = np.square(pictures - mean).mean((1, 2, 3))
    psnr = 10 * np.log10(255**2 / error)
    for label, part in (("seen", psnr[:40]), ("held out", psnr[40:])):
        found = result["baselines"]["mean frame"][label]["psnr"]
        assert found == pytest.approx(part.mean(), abs=0.01)


def test_figures_of_a_sample_are_weighted_means(
    model: Path, small_records: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = EvaluationOptions(max_frames=12, perceptual=False, baselines=False)
    result = evaluate_film(model, small_records, options)
    assert (result["frames"], result["measured"], result["every"]) == (FRAMES, 12, 4)
    pieces = [(0, 40), (40, 48)]
    choice = choose(pieces, ["seen", "held out"], FRAMES, 12)
    for label, (start, end) in zip(("seen", "held out"), pieces, strict=True):
        weights = choice.weights[start:end]
        expected = np.average(expected_psnr()[start:end], weights=weights)
        assert result["groups"][label]["psnr"] == pytest.approx(expected, abs=2e-3)
        assert result["groups"][label]["frames"] == (weights > 0).sum() > 0
    assert result["baselines"] == {}
    words = "12 of 48 frames in 2 shots"
    if not missing_vmaf():
        words += ", VMAF over 1 run of 2 frames"
        assert (result["sample"]["vmaf_runs"], result["sample"]["vmaf_frames"]) == (1, 2)
        assert result["groups"]["seen"]["vmaf"] > 0 and result["groups"]["held out"]["vmaf"] is None
    assert f"measuring {words}\n" in capsys.readouterr().err
    assert result["sample"]["description"] == words
    assert any(line.startswith(f"measured: {words}; ") for line in describe(result))


@pytest.mark.skipif(bool(missing_vmaf()), reason="this ffmpeg has no libvmaf")
def test_vmaf_of_runs_is_that_of_the_whole_film(model: Path, tmp_path: Path) -> None:
    """Runs follow each other as shots do at a cut, and so keep their numbers."""
    write_numbered_film(tmp_path / "film", 120, HEIGHT, WIDTH, film_id="fedcba9876543210")
    whole, some = (
        evaluate_film(model, tmp_path / "film", EvaluationOptions(max_frames=n, perceptual=False))
        for n in (0, 100)
    )
    assert whole["sample"]["description"] == "all 120 frames in 3 shots, VMAF over all of them"
    assert some["sample"]["description"] == (
        "100 of 120 frames in 3 shots, VMAF over 5 runs of 4 frames"
    )
    assert len(some["shots"]) == len(whole["shots"]) == 3
    for one, other in zip(some["shots"], whole["shots"], strict=True):
        assert one["vmaf"] == pytest.approx(other["vmaf"], abs=6)
        assert one["psnr"] == pytest.approx(other["psnr"], abs=0.2)


@pytest.mark.parametrize(("max_frames", "missed"), [(2, True), (12, False)])
def test_a_sample_without_held_out_frames_is_noted(
    max_frames: int, missed: bool, model: Path, small_records: Path
) -> None:
    """Frames 40 to 47 are held out, and of two frames in all the pair in the middle is chosen."""
    options = EvaluationOptions(
        max_frames=max_frames, vmaf=False, perceptual=False, baselines=False
    )
    result = evaluate_film(model, small_records, options)
    note = (
        f"none of the 8 frames held out is among the {max_frames} that were measured; give a "
        "larger --max_frames"
    )
    assert ("held out" not in result["groups"]) == (note in result["notes"]) == missed
    assert result["measured"] == max_frames


@pytest.mark.skipif(not available(), reason="the extra [perceptual] is not installed")
def test_the_perceptual_distance_of_each_label(
    model: Path, small_records: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(film_choice, "choose_all", partial(film_choice.choose_all, few=5))
    options = EvaluationOptions(vmaf=False, baselines=False)
    result = evaluate_film(model, small_records, options)
    film = np.stack(list(film_pictures(FRAMES, HEIGHT, WIDTH)))
    for label, few in (("seen", [4, 12, 20, 28, 36]), ("held out", [40, 42, 44, 45, 47])):
        expected = perceptual_distances(film[few], film[few] - film[few] // 10).mean()
        assert result["groups"][label]["perceptual"] == pytest.approx(expected, abs=2e-4)
    assert result["sample"]["perceptual_frames"] == 10
    words = "all 48 frames in 2 shots, perceptual distance over 10 frames"
    assert result["sample"]["description"] == words


def test_without_the_extra_a_note_names_it(
    model: Path, small_records: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = 'no perceptual figures: it is not installed: pip install "bladerunner_ae[perceptual]"'
    monkeypatch.setattr(evaluation, "missing_perceptual", lambda: reason)
    result = evaluate_film(model, small_records, EvaluationOptions(vmaf=False, baselines=False))
    assert reason in result["notes"] and result["sample"]["perceptual_frames"] == 0
    assert {group["perceptual"] for group in result["groups"].values()} == {None}
    lines = describe(result)
    assert f"note: {reason}" in lines
    assert not any("perceptual" in line for line in lines if not line.startswith("note: "))


def test_results_of_earlier_versions_are_described() -> None:
    """They had a Frechet distance by other features, which is not shown for today's."""
    figures = {"psnr": 27.0, "ssim": 0.9, "frames": 7, "shots": 1, "vmaf": None}
    scores = {"pictures": 7, "nearest_film": 3.25, "nearest_sample": 4.5, "frechet": 0.125}
    lines = describe(
        {
            "groups": {"seen": figures},
            "shots": [{"first_frame": 0, "psnr": 30.0, "label": "seen"}],
            "prior": {"scores": {"drawn from N(0, 1)": scores}},
        }
    )
    assert lines == [
        "seen, 7 frames, 1 shot  PSNR dB   SSIM",
        "  dream                   27.00  0.900",
        "samples               pictures  to nearest frame  from frame to nearest",
        "  drawn from N(0, 1)         7              3.25                   4.50",
        "most forgotten shots: frame 0 (30.0 dB, seen)",
    ]


def test_a_film_the_model_has_not_seen(model: Path, tmp_path: Path) -> None:
    write_numbered_film(tmp_path / "film", 6, HEIGHT, WIDTH, film_id="fedcba9876543210")
    result = evaluate_film(
        model, tmp_path / "film", EvaluationOptions(vmaf=False, perceptual=False)
    )
    assert list(result["groups"]) == ["unseen film"] and result["baselines"] == {}
    assert "no baselines and no samples: the model has not seen this film" in result["notes"]


def test_the_result_as_lines() -> None:
    def shot(number: int) -> dict[str, Any]:
        return {"first_frame": number, "psnr": 30.0 - number % 7, "label": "seen"}

    figures = {"psnr": 27.0, "ssim": 0.9, "frames": 7, "shots": 1, "vmaf": None}
    sure = {**figures, "psnr": 12.345, "confidence": {"psnr": [11.0, 13.0], "ssim": None}}
    lines = describe(
        {
            "groups": {"seen": figures},
            "baselines": {"mean frame": {"seen": sure}, "PCA-3": {"held out": figures}},
            "shots": [shot(number) for number in range(7)],
            "notes": ["nothing else"],
        }
    )
    assert lines == [
        "seen, 7 frames, 1 shot       PSNR dB   SSIM",
        "  dream                        27.00  0.900",
        "  mean frame                   12.35  0.900",
        "    95 %                11.00..13.00",
        "most forgotten shots: frame 6 (24.0 dB, seen), frame 5 (25.0 dB, seen), "
        "frame 4 (26.0 dB, seen), frame 3 (27.0 dB, seen), frame 2 (28.0 dB, seen)",
        "note: nothing else",
    ]


def test_the_command_prints_and_writes(
    trained_run: tuple[Path, Result], small_records: Path, tmp_path: Path, commands: Commands
) -> None:
    output, sheet = tmp_path / "deep" / "result.json", tmp_path / "sheets" / "sheet.png"
    result = commands.run(
        "evaluate", f"--model={trained_run[0]}", f"--data={small_records}", f"--output={output}",
        f"--contact_sheet={sheet}", f"--pictures={tmp_path / 'latent'}",
    )  # fmt: skip
    assert result.code == 0, result.err
    figures = json.loads(output.read_text())
    assert result.out.splitlines() == describe(figures)
    assert figures["groups"]["seen"]["frames"] == 40
    assert figures["groups"]["held out"]["frames"] == 8
    # The linear path alone, fitted to 40 frames, remembers them far better than plain grey.
    assert figures["groups"]["seen"]["psnr"] > 14
    assert sheet.read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in (tmp_path / "latent").iterdir()) == [
        "interpolation.png", "prior.png"
    ]  # fmt: skip
    assert not list(tmp_path.rglob(".*"))
    assert list(figures["baselines"]) == ["mean frame", "PCA-39"]  # 40 frames span no more
    exact = figures["baselines"]["PCA-39"]["seen"]
    assert exact["psnr"] > 50 and exact["ssim"] > 0.99
    assert exact["sharpness"] == pytest.approx(1.0, abs=0.01)
    assert exact["flicker"] == pytest.approx(1.0, abs=0.01)
    still = figures["baselines"]["mean frame"]["seen"]
    assert still["flicker"] == 0.0 and still["psnr"] < figures["groups"]["seen"]["psnr"]
    assert figures["latent_size"] == 200 and figures["groups"]["seen"]["rate_bits"] > 0
    assert still["rate_bits"] is None
    # One shot of each label: no interval.
    assert set(figures["groups"]["seen"]["confidence"].values()) == {None}
    scores = figures["prior"]["scores"]
    assert list(scores) == [
        "frames held out", "dreams of training frames", "drawn from N(0, 1)",
        "drawn from fitted density",
    ]  # fmt: skip
    if available():
        assert exact["perceptual"] < 0.1 < 0.3 < still["perceptual"]
        dreams, normal = scores["dreams of training frames"], scores["drawn from N(0, 1)"]
        assert dreams["perceptual_frechet_pictures"] == normal["perceptual_frechet_pictures"] == 40
        assert dreams["perceptual_frechet"] < normal["perceptual_frechet"]
        assert scores["frames held out"]["perceptual_frechet"] is None  # 8 are too few
        assert "perceptual Frechet" in result.out
    if not missing_vmaf():
        assert exact["vmaf"] > 90 > still["vmaf"]
        assert figures["vmaf_rows"] == 288 and "VMAF" in result.out


def test_without_vmaf_and_baselines(
    trained_run: tuple[Path, Result], small_records: Path, commands: Commands
) -> None:
    result = commands.run(
        "evaluate", f"--model={trained_run[0]}", f"--data={small_records}", "--vmaf=off",
        "--perceptual=off", "--nobaselines",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert "VMAF" not in result.out and "mean frame" not in result.out
    assert "perceptual" not in result.out
    assert "drawn from N(0, 1)" in result.out
    result = commands.run("evaluate", "--model=x", "--data=y", "--vmaf=perhaps")
    assert result.code == 1 and "<auto|off>" in result.error
    result = commands.run("evaluate", "--model=x", "--data=y", "--pca=16,many")
    assert result.code == 1 and "--pca=16,many: give whole numbers from 1" in result.error


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["one frame", "black"])
def test_one_frame_or_a_black_film(kind: str, tmp_path: Path, commands: Commands) -> None:
    records, run = tmp_path / "film", tmp_path / "run"
    if kind == "black":
        write_pictures(records, np.zeros((10, HEIGHT, WIDTH, 3), np.uint8))
    else:
        write_numbered_film(records, 1, HEIGHT, WIDTH)
    flags = tiny_flags(records, run, steps=2, batch_size=1, evaluate_every=1)
    result = commands.run("train", *arguments(flags))
    assert result.code == 0, result.err
    assert "no frames are held out, seen psnr" in (run / "log.txt").read_text()
    assert (run / "prior.png").is_file() and (run / "interpolation.png").is_file()
    result = commands.run(
        "evaluate", f"--model={run}", f"--data={records}", f"--output={tmp_path / 'e.json'}",
        f"--pictures={tmp_path / 'pictures'}", "--perceptual=off",
    )  # fmt: skip
    assert result.code == 0 and "RuntimeWarning" not in result.err, result.err
    assert "note: no shots were held out" in result.out
    figures = json.loads((tmp_path / "e.json").read_text())
    seen = figures["groups"]["seen"]
    assert seen["flicker"] is None  # there is no change to compare with
    assert figures["baselines"]["mean frame"]["seen"]["psnr"] > 50
    assert (tmp_path / "pictures" / "prior.png").is_file()
    if kind == "black":
        assert seen["sharpness"] is None and seen["psnr"] > 20
    else:
        assert seen["frames"] == 1 and seen["sharpness"] > 0


@pytest.mark.parametrize(
    ("flag", "name", "code", "said"),
    [
        ("output", "film.mp4", 1, "is written as JSON; give a name that ends in .json"),
        ("output", "folder.json", 1, "is a folder; give the name of a file"),
        ("output", "film.mp4/figures.json", 2, "film.mp4 is not a folder"),
        ("pictures", "film.mp4", 1, "is a file; give the name of a folder"),
        ("pictures", "film.mp4/pictures", 2, "film.mp4 is not a folder"),
    ],
)
def test_impossible_outputs_are_refused_at_the_start(
    flag: str, name: str, code: int, said: str, tmp_path: Path, commands: Commands
) -> None:
    (tmp_path / "film.mp4").write_bytes(b"a film")
    (tmp_path / "folder.json").mkdir()
    output = tmp_path / name
    result = commands.run("evaluate", "--model=none", "--data=none", f"--{flag}={output}")
    assert (result.code, result.out) == (code, "")
    assert said in result.error and str(output.parent) in result.error
    assert (tmp_path / "film.mp4").read_bytes() == b"a film"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film.mp4", "folder.json"]


def another_size(model: Path, records: Path, folder: Path) -> tuple[Path, Path]:
    write_numbered_film(folder / "large", 8, 32, 48)
    return model, folder / "large"


def damaged(model: Path, records: Path, folder: Path) -> tuple[Path, Path]:
    copy = Path(shutil.copytree(model, folder / "autoencoder"))
    (copy / "1" / "saved_model.pb").write_bytes(b"\x0a\xff\xff")
    return copy, records


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (lambda model, records, folder: (folder, records), "{folder}: holds no SavedModel"),
        (lambda model, records, folder: (folder / "x", records), "{folder}/x: no such model"),
        (damaged, "{folder}/autoencoder/1: is a SavedModel that cannot be loaded"),
        (another_size, "{folder}/large: frames are 32x48 but the model takes 24x32; convert the "
                       "film with --height=24 --width=32"),
    ],
    ids=["no model", "no folder", "damaged", "another size"],
)  # fmt: skip
def test_a_model_that_does_not_fit_is_one_line(
    given: Given, said: str, model: Path, small_records: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as caught:
        evaluate_film(*given(model, small_records, tmp_path))
    assert str(caught.value).startswith(said.format(folder=tmp_path))
    assert "\n" not in str(caught.value)


def test_damaged_records_are_one_line(
    model: Path, small_records: Path, tmp_path: Path, commands: Commands
) -> None:
    records = Path(shutil.copytree(small_records, tmp_path / "film"))

    def refused() -> str:
        result = commands.run("evaluate", f"--model={model}", f"--data={records}")
        assert result.code == 2
        return result.error

    shard = sorted(records.glob("*.tfrecord"))[3]
    data = bytearray(shard.read_bytes())
    data[-9] ^= 0xFF
    shard.write_bytes(data)
    error = refused()
    assert shard.name in error and "record 11" in error
    shard.write_bytes(data[:1000])
    error = refused()
    assert shard.name in error and "record" in error
    (records / "film.json").unlink()
    assert "film.json" in refused()
