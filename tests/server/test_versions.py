"""Versions that are added, replaced and removed while they are served."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from bladerunner_ae.errors import InputError
from bladerunner_ae.protocol import messages, tensors
from bladerunner_ae.server.metrics import Metrics
from bladerunner_ae.server.model_folders import ModelFolder, find_models
from bladerunner_ae.server.saved_model import WARM_UP_REQUESTS
from bladerunner_ae.server.serving_errors import ServingError
from bladerunner_ae.server.versions import Catalogue, ServedModel, Version
from tests.helpers.small_model import copy_version, save_model

ONES = np.ones((1, 3), np.float32)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Versions 1 and 2, which double and treble."""
    folder = tmp_path_factory.mktemp("saved")
    save_model(folder, 1, factor=2.0)
    save_model(folder, 2, factor=3.0)
    return folder


@pytest.fixture
def model(saved: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "small"
    shutil.copytree(saved / "1", folder / "1")
    return folder


class Watched:
    """A model that is polled by the test."""

    def __init__(self, path: Path, wanted: Any = "newest", **labels: int) -> None:
        self.said: list[str] = []
        self._threads = ThreadPoolExecutor(1)
        self.metrics = Metrics()
        self.model = ServedModel(
            ModelFolder("small", path), wanted, labels, self._threads, self.metrics, 1 << 20,
            self.said.append,
        )  # fmt: skip
        self.catalogue = Catalogue([self.model])

    def look(self) -> list[int]:
        """Poll once; return the versions that are loaded then."""
        asyncio.run(self.model.poll())
        return sorted(self.model.loaded)

    def factor(self, **which: Any) -> float:
        """Return the factor of a version."""
        return factor(self.catalogue.find("small", **which))

    def state(self, number: int) -> str:
        return self.model.states[number].name

    def close(self) -> None:
        self.model.close()
        self._threads.shutdown()


def factor(version: Version) -> float:
    signature = version.saved_model.signatures["serving_default"]
    return float(version.saved_model.run(signature, {"latent": ONES})["scaled"][0, 0])


@pytest.fixture
def watched(model: Path) -> Iterator[Watched]:
    watched = Watched(model)
    assert watched.look() == [1] and watched.factor() == 2.0
    yield watched
    watched.close()


def test_a_new_version_takes_over(watched: Watched, model: Path, saved: Path) -> None:
    shutil.copytree(saved / "2", model / ".partial-2")
    assert watched.look() == [1]  # not published yet
    (model / ".partial-2").rename(model / "2")
    with watched.catalogue.find("small").in_use():
        old = watched.catalogue.find("small")
        assert watched.look() == [2]
        assert watched.factor() == 3.0
        assert factor(old) == 2.0  # requests that have it may finish
    with pytest.raises(tf.errors.CancelledError, match="closed"):
        factor(old)
    assert [watched.state(number) for number in (1, 2)] == ["END", "AVAILABLE"]
    assert [line.partition(" in ")[0] for line in watched.said] == [
        "small 1: loaded", "small 2: loaded", "small 1: unloaded"
    ]  # fmt: skip


def test_lost_signatures_are_reported(watched: Watched, model: Path) -> None:
    module = tf.Module()
    spec = tf.TensorSpec([None, 3], tf.float32, "latent")
    module.scale = tf.function(lambda latent: {"scaled": 5.0 * latent}, input_signature=[spec])
    watched.look()
    tf.saved_model.save(
        module, str(model / "2"), signatures={"serving_default": module.scale, "new": module.scale}
    )
    assert watched.look() == [2]
    assert watched.said[1].partition(";")[2] == (
        " it has no signature kinds, mix, scalar, strings, work, unlike version 1"
    )


def test_removing_a_version_loads_the_one_before(
    watched: Watched, model: Path, saved: Path
) -> None:
    shutil.copytree(saved / "2", model / "2")
    assert watched.look() == [2]
    shutil.rmtree(model / "2")
    assert watched.factor() == 3.0  # it was being served all the time
    assert watched.look() == [1] and watched.factor() == 2.0


def test_the_last_version_is_kept(watched: Watched, model: Path, saved: Path) -> None:
    shutil.rmtree(model)
    assert watched.look() == watched.look() == [1]
    assert watched.factor() == 2.0
    assert watched.said[1:] == [f"{model}: holds no version any more; version 1 is still served"]
    shutil.copytree(saved / "2", model / "2")
    assert watched.look() == [2]


def test_a_corrupt_version_is_reported_once(watched: Watched, model: Path, saved: Path) -> None:
    broken = copy_version(model, 1, 7)
    (broken / "saved_model.pb").write_bytes(b"garbage")
    assert watched.look() == watched.look() == [1]
    (line,) = watched.said[1:]
    assert line.startswith(f"{broken}: cannot be loaded (")
    assert line.endswith("; version 1 is still served")
    assert watched.model.states[7].name == "END" and watched.model.states[7].message
    shutil.copy(saved / "2" / "saved_model.pb", broken / "saved_model.pb")
    assert watched.look() == [7]  # its files have changed
    assert watched.state(7) == "AVAILABLE"


def test_truncated_variables_are_reported(watched: Watched, model: Path) -> None:
    broken = copy_version(model, 1, 2)
    (broken / "variables" / "variables.index").write_bytes(b"")
    assert watched.look() == [1]
    assert len(watched.said) == 2 and "\n" not in watched.said[1]
    (broken / "variables" / "variables.index").write_bytes(
        (model / "1" / "variables" / "variables.index").read_bytes()
    )
    (broken / "variables" / "variables.data-00000-of-00001").write_bytes(b"")
    assert watched.look() == [1]
    assert "Read less bytes than requested" in watched.said[2] and "\n" not in watched.said[2]


def test_an_older_version_serves_if_the_newest_cannot(saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "small"
    shutil.copytree(saved, folder)
    (folder / "2" / "saved_model.pb").write_bytes(b"")
    watched = Watched(folder)
    assert watched.look() == [1]
    watched.close()


def test_other_folder_names_are_ignored(watched: Watched, model: Path) -> None:
    for name in ("notes", "01x", "-3", "9"):
        (model / name).mkdir()
    assert watched.look() == [1] and len(watched.said) == 1


def test_files_replaced_under_the_same_number(watched: Watched, model: Path, saved: Path) -> None:
    shutil.rmtree(model / "1")
    shutil.copytree(saved / "2", model / "1", copy_function=shutil.copyfile)
    assert watched.look() == [1] and watched.factor() == 3.0


def test_versions_by_number_label_and_all(saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "small"
    shutil.copytree(saved, folder)
    copy_version(folder, 2, 5)
    for wanted, labels, loaded in (
        ("all", {}, [1, 2, 5]), ((1, 2), {}, [1, 2]), ("newest", {"stable": 1}, [1, 5]),
    ):  # fmt: skip
        watched = Watched(folder, wanted, **labels)
        assert watched.look() == loaded
        if labels:
            assert watched.factor(label="stable") == 2.0 and watched.factor() == 3.0
            with pytest.raises(ServingError, match="Model small has no version label x"):
                watched.factor(label="x")
        watched.close()


def warm_up_request(value: Any, signature: str = "serving_default") -> bytes:
    log = messages.PredictionLog()
    request = log.predict_log.request
    request.model_spec.signature_name = signature
    request.inputs["latent"].CopyFrom(tensors.to_tensor(value))
    return log.SerializeToString()


def write_requests(version: Path, *requests: bytes) -> None:
    path = version / WARM_UP_REQUESTS
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for request in requests:
            writer.write(request)


def test_warm_up_requests_are_replayed(watched: Watched, model: Path) -> None:
    write_requests(copy_version(model, 1, 2), warm_up_request(ONES))
    assert watched.look() == [2]
    page = watched.metrics.page().decode()
    assert f'model_warmup_latency_count{{model_path="{model}/2",status="OK"}} 1.0' in page


@pytest.mark.parametrize(
    ("request_bytes", "words"),
    [
        (warm_up_request(ONES[:, :2]), "has the shape [1, 2], expected is [?, 3]"),
        (warm_up_request(ONES, "nope"), 'The model has no signature "nope"'),
        (b"\xff\xff", "warm-up requests failed"),
    ],
)
def test_a_model_whose_warm_up_fails_is_not_served(
    watched: Watched, model: Path, request_bytes: bytes, words: str
) -> None:
    write_requests(copy_version(model, 1, 2), request_bytes)
    assert watched.look() == [1]
    assert words in watched.said[1] and len(watched.said) == 2


def test_damaged_warm_up_files_are_reported(watched: Watched, model: Path) -> None:
    version = copy_version(model, 1, 2)
    write_requests(version, warm_up_request(ONES))
    path = version / WARM_UP_REQUESTS
    path.write_bytes(path.read_bytes()[:-3])
    assert watched.look() == [1] and "warm-up requests failed" in watched.said[1]
    assert "cut short; export again" in watched.said[1] and "shard" not in watched.said[1]


def test_models_are_found_in_folders(saved: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(saved, run / "export" / "decoder")
    shutil.copytree(saved, run / "export" / "encoder")
    base = run / "export" / "decoder"
    assert find_models(base) == [ModelFolder("decoder", base)]
    assert find_models(base, "other") == [ModelFolder("other", base)]
    assert find_models(base / "2") == [ModelFolder("decoder", base / "2", 2)]
    both = [ModelFolder(name, run / "export" / name) for name in ("decoder", "encoder")]
    assert find_models(run) == find_models(run / "export") == both
    shutil.copytree(saved / "1", tmp_path / "mine")
    assert find_models(tmp_path / "mine")[0].versions() == {1: tmp_path / "mine"}
    for path, words in (
        (tmp_path / "nowhere", "no such model folder"),
        (saved / "1" / "saved_model.pb", "is a file"),
        (tmp_path / "run" / "export" / "decoder" / "1" / "variables", "holds no SavedModel"),
    ):
        with pytest.raises(InputError, match=words):
            find_models(path)
    with pytest.raises(InputError, match="--name is for one model"):
        find_models(run, "x")
