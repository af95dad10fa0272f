"""TensorFlow itself reads s3:// with the extra [io]; see `make io_test`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.helpers.commands import Result
from tests.helpers.s3_server import BUCKET, S3Server
from tests.helpers.small_records import write_numbered_film

pytestmark = [
    pytest.mark.remote,
    pytest.mark.skipif(not find_spec("tensorflow_io"), reason="needs make io_test"),
]
TRAIN = (
    "-m", "bladerunner_ae.train", "--steps=2", "--batch_size=8", "--seed=1", "--strategy=none",
    "--precision=float32", "--checkpoint_every=2", "--noreport",
)  # fmt: skip


@pytest.fixture(scope="module")
def data(s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("data") / "film"
    write_numbered_film(folder, 24, 24, 32, num_shards=2)
    for path in folder.iterdir():
        s3.put(f"streamed/{path.name}", path.read_bytes())
    return f"s3://{BUCKET}/streamed"


def test_training_streams_without_a_copy(s3: S3Server, data: str, tmp_path: Path) -> None:
    results: list[Result] = [
        s3.run(*TRAIN, f"--data={data}", f"--model_dir={tmp_path / stream}", "--cache_limit=0",
               BLADERUNNER_STREAM=stream)
        for stream in ("s3", "none")
    ]  # fmt: skip
    assert [result.code for result in results] == [0, 0], results
    assert ["fetching" in result.err for result in results] == [False, True]
    metrics = [(tmp_path / name / "metrics.jsonl").read_text("utf-8") for name in ("s3", "none")]
    losses = [
        [line.split('"loss/decoder": ')[1].split(",")[0] for line in text.splitlines()
         if "loss/decoder" in line]
        for text in metrics
    ]  # fmt: skip
    assert losses[0] == losses[1] and len(losses[0]) >= 1


def test_a_server_that_is_away_is_one_line(s3: S3Server, data: str, tmp_path: Path) -> None:
    result = s3.run(
        *TRAIN, f"--data={data}", f"--model_dir={tmp_path / 'run'}", BLADERUNNER_STREAM="s3",
        AWS_ENDPOINT_URL="http://127.0.0.1:9",
    )  # fmt: skip
    assert result.code == 3 and data in result.error
