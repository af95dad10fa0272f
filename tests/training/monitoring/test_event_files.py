"""TensorBoard's event files of a run, read back: every curve, once, over kills and resumes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.util import tensor_util

from bladerunner_ae.errors import UsageError
from bladerunner_ae.runs.config import TrainConfig
from tests.helpers.tiny_training import (
    FEW_LAYERS,
    checkpoint_values,
    forget_after,
    tiny_flags,
    tiny_run,
    train_here,
)


def logged(run: Path) -> EventAccumulator:
    found = EventAccumulator(str(run / "tensorboard"), tensor_size_guidance={"scalars": 0})
    found.Reload()
    return found


def curves(run: Path) -> dict[str, list[tuple[int, float]]]:
    """Name -> (step, value) of every point, as TensorBoard shows them."""
    events = logged(run)
    return {
        tag: [
            (e.step, float(tensor_util.make_ndarray(e.tensor_proto))) for e in events.Tensors(tag)
        ]
        for tag in events.PluginTagToContent("scalars")
    }


def lines_of(run: Path) -> list[dict[str, Any]]:
    lines = (json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if "watchdog" not in line and "finished" not in line]


def expected(run: Path) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for line in lines_of(run):
        for name, value in line.items():
            if name != "step":
                found.setdefault(name, []).append((line["step"], value))
    return found


def assert_same_curves(run: Path) -> None:
    shown, wanted = curves(run), expected(run)
    assert shown.keys() == wanted.keys()
    for name, points in wanted.items():
        assert [step for step, _ in shown[name]] == [step for step, _ in points], name
        np.testing.assert_allclose(
            [value for _, value in shown[name]], [value for _, value in points], rtol=1e-5,
            atol=1e-9, err_msg=name,
        )  # fmt: skip


@pytest.fixture(scope="module")
def run(small_records: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of an objective with a discriminator, interrupted after step 4 and resumed."""
    folder = tmp_path_factory.mktemp("summaries") / "run"
    changes = {"objective": "vae_gan", "sample_every": 3, "evaluate_every": 3, "holdout": 0.17,
               **FEW_LAYERS}  # fmt: skip
    train_here(tiny_flags(small_records, folder, steps=5, **changes))
    forget_after(folder, 4)
    train_here(tiny_flags(small_records, folder, steps=6, **changes))
    return folder


def test_curves_equal_metrics_jsonl_over_kill_and_resume(run: Path) -> None:
    assert [line["step"] for line in lines_of(run) if "loss/decoder" in line] == [1, 2, 3, 4, 5, 6]
    assert_same_curves(run)
    assert len(list((run / "tensorboard").glob("events*"))) == 2


def test_every_figure_has_its_curve(run: Path) -> None:
    names = set(curves(run))
    assert {
        "loss/encoder", "loss/decoder", "loss/discriminator", "term/kl", "term/pixel",
        "weight/kl", "weight/noise", "weight/adversarial", "gradient_norm/encoder",
        "gradient_norm/discriminator", "learning_rate", "learning_rate/discriminator",
        "latent/sigma", "latent/mean_std", "latent/active_units", "speed/frames_per_second",
        "speed/waiting_for_data", "discriminator/p_real", "discriminator/p_reconstruction",
        "discriminator/p_prior", "probe/psnr_seen", "evaluate/psnr_held_out",
        "evaluate/ssim_held_out", "evaluate/sharpness_held_out", "evaluate/flicker_held_out",
    } <= names  # fmt: skip
    points = curves(run)
    for name in ("speed/waiting_for_data", "discriminator/p_prior"):
        assert all(0.0 <= value <= 1.0 for _, value in points[name])


def test_pictures_and_distributions_are_there_at_every_sample(run: Path) -> None:
    events = logged(run)
    pictures = {"original_and_dream", "samples_of_prior", "ways_between_frames"}
    assert pictures <= set(events.PluginTagToContent("images"))
    assert set(events.PluginTagToContent("histograms")) == {"latent/mean", "latent/log_var"}
    for tag in (*pictures, "latent/mean"):
        assert [e.step for e in events.Tensors(tag)] == [0, 3, 6], tag
    buckets = tensor_util.make_ndarray(events.Tensors("latent/mean")[-1].tensor_proto)
    assert buckets[:, 2].sum() == pytest.approx(8 * 200)


def test_a_run_introduces_itself(run: Path) -> None:
    events = logged(run)
    texts = {
        tag: tensor_util.make_ndarray(events.Tensors(tag)[-1].tensor_proto).ravel()[0].decode()
        for tag in events.PluginTagToContent("text")
    }
    assert "| objective | vae_gan |" in texts["run/config"]
    assert "| train/steps | 6 |" in texts["run/config"]
    assert "| 48 | 8 | 1.0 |" in texts["run/films"]
    assert "discriminator" in texts["run/networks"]
    nodes = {node.name.split("/")[0] for node in events.Graph().ListFields()[0][1]}
    assert len(events.Graph().node) > 10 and any("encoder" in name for name in nodes)


def test_hyperparameters_and_the_end_of_the_session(run: Path) -> None:
    found = {
        tag: plugin_data_pb2.HParamsPluginData.FromString(content)
        for tag, content in logged(run).PluginTagToContent("hparams").items()
    }
    start = found["_hparams_/session_start_info"].session_start_info.hparams
    assert start["objective"].string_value == "vae_gan"
    assert start["train/batch_size"].number_value == 8
    assert found["_hparams_/session_end_info"].session_end_info.status == 1  # STATUS_SUCCESS
    names = found["_hparams_/experiment"].experiment.hparam_infos
    assert {"preset", "objective", "train/learning_rate"} <= {info.name for info in names}
    metrics = found["_hparams_/experiment"].experiment.metric_infos
    assert {"probe/psnr_seen", "evaluate/psnr_held_out"} <= {m.name.tag for m in metrics}


@pytest.mark.slow
def test_start_before_first_checkpoint_leaves_no_curves(
    small_records: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    flags = tiny_flags(small_records, run, steps=3, checkpoint_every=100, **FEW_LAYERS)
    train_here(flags)
    forget_after(run, 0)
    train_here({**flags, "steps": 2})
    assert [step for step, _ in curves(run)["loss/decoder"]] == [1, 2]
    assert_same_curves(run)


@pytest.mark.slow
def test_weights_are_the_same_however_much_is_watched(small_records: Path, tmp_path: Path) -> None:
    quiet = {"log_every": 100, "sample_every": 100}
    loud = {"sample_every": 1, "evaluate_every": 1, "profile_steps": "2,3"}
    for name, changes in (("quiet", quiet), ("loud", loud)):
        train_here(tiny_flags(small_records, tmp_path / name, "vae_gan", steps=4, **changes))
    ours, theirs = (
        checkpoint_values(tmp_path / name / "checkpoints/step-4") for name in ("quiet", "loud")
    )
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        if "watchdog" not in name:  # which remembers what it was shown
            np.testing.assert_array_equal(ours[name], value, name)


def profiles(run: Path) -> list[str]:
    folder = run / "tensorboard" / "plugins" / "profile"
    return sorted(path.name for path in folder.glob("*") if list(path.glob("*.xplane.pb")))


@pytest.mark.slow
def test_a_profile_is_taken_once(small_records: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    flags = tiny_flags(small_records, run, steps=4, profile_steps="2,3")
    train_here(flags)
    taken = profiles(run)
    assert len(taken) == 1
    forget_after(run, 2)  # within the range, which is done
    train_here(flags)
    train_here({**flags, "steps": 5})
    assert profiles(run) == taken
    train_here({**flags, "steps": 7, "profile_steps": "6,6"})  # another range; same run
    assert (run / "tensorboard" / "profiled_steps.txt").read_text() == "2,3\n6,6\n"


@pytest.mark.parametrize("wrong", ["5", "3,2", "0,4", "a,b", "1,2,3"])
def test_profile_steps_are_two_steps_in_order(wrong: str) -> None:
    with pytest.raises(UsageError, match=f"--profile_steps={wrong}: give the first and the last"):
        TrainConfig(steps=9, batch_size=1, profile_steps=wrong)


def test_profile_steps_do_not_make_another_run(small_records: Path, tmp_path: Path) -> None:
    ours = tiny_run(tiny_flags(small_records, tmp_path, profile_steps="1,2"))
    assert ours.differences(tiny_run(tiny_flags(small_records, tmp_path))) == []
