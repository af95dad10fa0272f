"""The weights of the best measured step: kept, found again after a kill, exported, never trained.

What is measured is given by a table here, so that it is known which step is the best.
"""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bladerunner_ae import train
from bladerunner_ae.errors import InputError
from bladerunner_ae.exports.loading import load_autoencoder
from bladerunner_ae.exports.model_card import load_model_card
from bladerunner_ae.objectives import make_objective
from bladerunner_ae.runs.training_set import film_parts
from bladerunner_ae.training import callbacks
from bladerunner_ae.training.best_weights import (
    BestWeights,
    best_step,
    kept_steps,
    networks_to_show,
    score_of,
)
from bladerunner_ae.training.checkpoints import restore
from bladerunner_ae.training.fit import build_trainer
from bladerunner_ae.training.monitoring.score_frames import ScoreFrames
from bladerunner_ae.training.trainer import Trainer
from tests.helpers.tiny_training import (
    forget_after,
    tiny_flags,
    tiny_run,
    tiny_trainer,
    train_here,
    weights_of,
)
from tests.helpers.training_checks import check_same_checkpoint

Flags = dict[str, Any]

# Step -> PSNR of (seen, held out) frames: the mean is best at step 2.
TABLE = {0: (30.0, 20.0), 1: (28.0, 19.0), 2: (33.0, 22.0), 3: (34.0, 20.5), 4: (35.0, 18.0)}


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> dict[int, tuple[float, float]]:
    """Measure every step of a run, by the table."""
    figures = dict(TABLE)

    def take(self: Any) -> None:
        step = self._run.log.step
        found = dict(zip(("seen", "held out"), figures[step], strict=True))
        self._frames = SimpleNamespace(psnr=lambda _: found, interval=lambda *_: 1)
        usual(self)

    usual = callbacks.Scores.take
    monkeypatch.setattr(callbacks.Scores, "take", take)
    monkeypatch.setattr(ScoreFrames, "interval", lambda *_: 1)
    return figures


def flags_of(records: Path, run: Path, **changes: Any) -> Flags:
    return tiny_flags(records, run, **{"checkpoint_every": 1, "ema": 0.5, **changes})


def same(ours: Any, theirs: Any) -> bool:
    """Return whether two networks have the same weights, to the bit."""
    pairs = zip(weights_of(ours).values(), weights_of(theirs).values(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def at_step(flags: Flags, step: int) -> Trainer:
    """Return the trainer of a run as its checkpoint of `step` has it."""
    run = Path(flags["model_dir"])
    copy = run.with_name(f"{run.name}-at-{step}")
    (copy / "checkpoints").mkdir(parents=True)
    for file in (run / "checkpoints").glob(f"step-{step}.*"):
        (copy / "checkpoints" / file.name).write_bytes(file.read_bytes())
    trainer = build_trainer(tiny_run(flags))
    assert restore(trainer, copy) == step
    return trainer


@pytest.mark.usefixtures("table")
def test_the_averages_of_the_best_step_are_kept(small_records: Path, tmp_path: Path) -> None:
    flags = flags_of(small_records, tmp_path / "run")
    trainer = train_here(flags)
    networks, step = networks_to_show(trainer, tmp_path / "run", "best")
    assert step == 2 and kept_steps(tmp_path / "run") == [2]
    assert score_of(tmp_path / "run", 2) == 27.5
    best = at_step(flags, 2)
    assert same(networks.encoder, best.dreaming.encoder)
    assert same(networks.decoder, best.dreaming.decoder)
    assert not same(networks.decoder, best.networks.decoder), "averages are exported"
    assert not same(networks.decoder, trainer.dreaming.decoder)
    assert networks_to_show(trainer, tmp_path / "run", "last") == (trainer.dreaming, 4)
    log = (tmp_path / "run/log.txt").read_text()
    assert "step 4: the weights of step 2 are the best that were measured (27.50 dB)" in log
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    told = "score/weights_of_step"
    assert [line[told] for line in lines if told in line] == [0, 0, 2, 2, 2]
    scores = {line["step"]: line for line in lines if "score/all" in line}
    assert scores[3]["score/all"] == 27.25 and scores[3]["score/psnr_held_out"] == 20.5
    assert sorted(scores) == [0, 1, 2, 3, 4]


def test_training_never_reads_what_is_kept(
    small_records: Path, tmp_path: Path, table: dict[int, tuple[float, float]]
) -> None:
    """A run that was killed, resumed and made longer ends as one that keeps nothing."""
    table |= {5: (40.0, 30.0), 6: (39.0, 30.0)}
    run, last = tmp_path / "run", tmp_path / "last"
    unbroken = networks_to_show(train_here(flags_of(small_records, run)), run, "best")[0]
    train_here(flags_of(small_records, last, keep="last"))
    check_same_checkpoint(run / "checkpoints/step-4", last / "checkpoints/step-4")
    assert kept_steps(last) == [] and kept_steps(run) == [2]
    forget_after(run, 2)
    # As a process leaves it that was killed between two checkpoints.
    BestWeights(run, 2).offer(3, 99.0, tiny_trainer("vae", run_eagerly=True).networks)
    again, step = networks_to_show(train_here(flags_of(small_records, run)), run, "best")
    assert step == 2 and kept_steps(run) == [2] and same(again.decoder, unbroken.decoder)
    check_same_checkpoint(run / "checkpoints/step-4", last / "checkpoints/step-4")
    for folder, keep in ((run, "best"), (last, "last")):
        train_here(flags_of(small_records, folder, steps=6, keep=keep))
    check_same_checkpoint(run / "checkpoints/step-6", last / "checkpoints/step-6")
    # 5 is the best; 2 and it would be, were the newest checkpoints lost.
    assert kept_steps(run) == [2, 5]


def test_an_objective_may_trade_some_psnr(small_records: Path, tmp_path: Path) -> None:
    found = {name: make_objective(name).allowed_fall for name in ("dream", "vae", "patch_gan")}
    assert found == {"dream": 0.0, "vae": 0.0, "patch_gan": 1.0}
    assert make_objective("dream", {"adversarial_weight": 0.1}).allowed_fall == 1.0
    assert make_objective("vae_gan").allowed_fall == 6.0
    assert make_objective("broad2016").allowed_fall == np.inf
    assert make_objective("vae").score({"seen": 30.0, "held out": 21.0}) == 25.5
    assert make_objective("vae").score({"seen": 30.0}) == 30.0


@pytest.fixture(scope="module")
def networks() -> Any:
    return tiny_trainer("vae", run_eagerly=True).networks


@pytest.mark.parametrize(
    ("allowed_fall", "scores", "kept"),
    [
        (0.0, [20.0, 21.0, 20.9, 21.0, 20.0], 3),
        (0.0, [20.0, 19.0, 19.9], 0),
        (1.0, [20.0, 19.1, 18.9], 1),
        (1.0, [20.0, 19.5, 25.0, 23.9, 24.5, 23.0], 4),
        (np.inf, [20.0, 3.0], 1),
        (0.0, [20.0, np.nan, 19.0], 0),
    ],
)
def test_the_latest_of_the_best_is_kept(
    allowed_fall: float, scores: list[float], kept: int, networks: Any, tmp_path: Path
) -> None:
    best = BestWeights(tmp_path, 0, allowed_fall)
    for step, score in enumerate(scores):
        best.offer(step, score, networks)
    assert best_step(tmp_path, "best", len(scores) - 1) == kept
    assert best_step(tmp_path, "last", 17) == 17
    assert score_of(tmp_path, kept) == scores[kept]
    best.tidy([len(scores) - 1])
    assert kept_steps(tmp_path) == [kept]


def test_what_any_checkpoint_needs_is_left(networks: Any, tmp_path: Path) -> None:
    best = BestWeights(tmp_path, 0)
    for step, score in ((0, 20.0), (10, 21.0), (20, 22.0), (30, 23.0), (40, 24.0)):
        best.offer(step, score, networks)
    best.tidy([15, 19, 35])
    assert kept_steps(tmp_path) == [10, 30, 40]
    resumed = BestWeights(tmp_path, 35)
    assert kept_steps(tmp_path) == [10, 30]
    assert not resumed.offer(36, 22.9, networks) and resumed.offer(37, 23.0, networks)
    BestWeights(tmp_path, 0)
    assert kept_steps(tmp_path) == [], "a run of which no checkpoint is left starts anew"


def test_damaged_weights_are_named(networks: Any, tmp_path: Path) -> None:
    BestWeights(tmp_path, 0).offer(0, 20.0, networks)
    file = tmp_path / "best/step-0.npz"
    file.write_bytes(file.read_bytes()[:1000])
    trainer = SimpleNamespace(steps_done=5, dreaming=networks)
    with pytest.raises(InputError, match=r"step-0.npz: is damaged .*; delete it"):
        networks_to_show(trainer, tmp_path, "best")  # type: ignore[arg-type]
    file.unlink()
    assert networks_to_show(trainer, tmp_path, "best") == (networks, 5)  # type: ignore[arg-type]


def test_frames_that_are_measured(small_records: Path, tmp_path: Path) -> None:
    parts = film_parts(tiny_run(tiny_flags(small_records, tmp_path, holdout=0.17)), [small_records])
    frames = ScoreFrames(parts)
    count = parts[0].card.frames
    assert len(frames.images) == count and int(frames._held.sum()) == int((~parts[0].kept()).sum())

    def darker(by: int) -> Any:
        dim = frames._held[:, None, None, None] * np.uint8(by)
        return SimpleNamespace(
            autoencoder=SimpleNamespace(reconstruct=lambda images: np.abs(images - 1.0 - dim))
        )

    frames.images = np.maximum(frames.images, 9)
    found = frames.psnr(darker(1))
    assert found["seen"] == pytest.approx(20 * np.log10(255), abs=1e-3)
    assert found["held out"] == pytest.approx(20 * np.log10(255 / 2), abs=1e-3)
    frames.images = frames.images[:1].repeat(128, 0)
    assert frames.interval(500, 32) == 67 and frames.interval(5000, 32) == 500
    assert frames.interval(5001, 32) == 501


def test_the_best_is_exported_and_said_to_be(
    small_records: Path, tmp_path: Path, table: dict[int, tuple[float, float]],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    table |= {step: (30.0 - step, 20.0) for step in range(1, 6)}
    run = tmp_path / "run"
    flags = flags_of(small_records, run)
    options = {k: v for k, v in flags.items() if k not in ("data", "model_dir", "preset")}
    train(small_records, run, **options)
    said = capsys.readouterr().err
    assert "step 4: the weights of step 0 are the best that were measured (25.00 dB)" in said
    harm = "training harms: after 3 steps frames are remembered worse than before the first"
    assert f"step 3: watchdog: {harm} (seen frames 30.00 -> 27.00 dB)" in said
    card = load_model_card(run / "export/decoder/1")
    assert (card["step"], card["trained_steps"]) == (0, 4)
    readme = (run / "export/decoder/1/assets.extra/README.md").read_text()
    assert "of step 0, the best measured of 4" in readme
    page = (run / "report.html").read_text()
    assert "0 steps of training, the best measured of 4" in page
    assert "4 steps of 8 frames, weights of step 0, the best measured" in page
    new = build_trainer(tiny_run({**flags, "steps": 4}))
    restore(new, run)
    shown, _ = networks_to_show(new, run, "best")
    pictures = np.random.default_rng(0).integers(0, 256, (2, 24, 32, 3), np.uint8)
    if load_autoencoder(run).raster == (24, 32):
        np.testing.assert_allclose(
            load_autoencoder(run).reconstruct(pictures).astype(int),
            shown.autoencoder.reconstruct(pictures).astype(int),
            atol=1,
        )
    train(small_records, run, **{**options, "steps": 5, "keep": "last"})
    assert load_model_card(run / "export/decoder/2")["step"] == 5


def test_keep_is_free_to_change(small_records: Path, tmp_path: Path) -> None:
    config = tiny_run(tiny_flags(small_records, tmp_path))
    other = dataclasses.replace(config, train=dataclasses.replace(config.train, keep="last"))
    assert config.train.keep == "best" and other.differences(config) == []
