"""Records written to, trained from and evaluated in a bucket of an S3 server on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.helpers.commands import Result
from tests.helpers.synthetic_film import make_film
from tests.remote.server import BUCKET, S3Server

pytestmark = [
    pytest.mark.remote,
    pytest.mark.skipif(
        not (find_spec("tensorflow_io") and find_spec("moto")), reason="needs make io_test"
    ),
]

DATA, RUN = f"s3://{BUCKET}/data", f"s3://{BUCKET}/runs/a"
CONVERT = ("tools/make_tfrecords.py", "--height=24", "--width=32", "--num_shards=4")
TRAIN = (
    "-m", "bladerunner_ae.train", f"--data={DATA}/film", "--steps=6", "--batch_size=8",
    "--seed=1", "--strategy=none", "--precision=float32", "--checkpoint_every=2", "--log_every=1",
    "--sample_every=4", "--holdout=0.17",
)  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    server = S3Server(tmp_path_factory.mktemp("s3"))
    yield server
    server.close()


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_film(tmp_path_factory.mktemp("film") / "film.mp4")


@pytest.fixture(scope="module")
def records(server: S3Server, film: Path) -> Result:
    """Returns what the conversion into the bucket said."""
    result = server.run(*CONVERT, f"--film={film}", f"--output_dir={DATA}")
    assert result.code == 0, result.err
    return result


@pytest.fixture(scope="module")
def run(server: S3Server, records: Result) -> Result:
    """Returns what training into the bucket said."""
    result = server.run(*TRAIN, f"--model_dir={RUN}")
    assert result.code == 0, result.err
    return result


def test_the_records_are_those_of_a_local_conversion(
    server: S3Server, film: Path, records: Result, tmp_path: Path
) -> None:
    local = server.run(*CONVERT, f"--film={film}", f"--output_dir={tmp_path}")
    assert local.code == 0, local.err
    expected = {path.name: path.read_bytes() for path in (tmp_path / "film").iterdir()}
    assert len(expected) == 5
    assert server.objects("data/film/") == expected
    assert records.out == local.out.replace(str(tmp_path), DATA)


def test_the_card_is_written_last_and_the_spool_removed(
    server: S3Server, records: Result, tmp_path: Path
) -> None:
    written = server.written("data/film/")
    assert written.count("film.json") == 1 and written[-1] == "film.json"
    assert len([name for name in written if name.endswith(".tfrecord")]) == 4
    spool = server._home / "cache" / "bladerunner_ae" / "spool"
    assert [path for path in spool.rglob("*") if path.is_file()] == []


def test_finished_records_are_left_alone(server: S3Server, film: Path, records: Result) -> None:
    before = len(server.written("data/"))
    again = server.run(*CONVERT, f"--film={film}", f"--output_dir={DATA}")
    assert again.code == 0 and again.out == records.out.rstrip("\n") + "; up to date\n"
    other = server.run(*CONVERT, "--quality=80", f"--film={film}", f"--output_dir={DATA}")
    assert other.code == 2
    assert "s3://films/data/film: holds other records (--quality: 95 -> 80)" in other.error
    assert len(server.written("data/")) == before


def test_records_are_looked_at_in_the_bucket(server: S3Server, records: Result) -> None:
    barcode = f"--barcode=s3://{BUCKET}/pictures/barcode.png"
    looked = server.run("tools/inspect_records.py", f"{DATA}/film", "--verify", barcode)
    assert looked.code == 0, looked.err
    assert "48 frames" in looked.out
    assert server.objects("pictures/")["barcode.png"].startswith(b"\x89PNG")


def test_a_run_lies_in_the_bucket_whole(server: S3Server, run: Result) -> None:
    found = server.objects("runs/a/")
    assert {"config.json", "flags.txt", "log.txt", "metrics.jsonl"} <= set(found)
    assert {name for name in found if name.startswith("samples/")} == {
        f"samples/step-{step:07d}.png" for step in (0, 4, 6)
    }
    assert {f"checkpoints/step-{step}.index" for step in (2, 4, 6)} <= set(found)
    assert any(name.startswith("tensorboard/events.out.tfevents") for name in found)
    for name in ("autoencoder", "encoder", "decoder"):
        written = server.written(f"runs/a/export/{name}/1/")
        assert written[-1] == "saved_model.pb", "what makes a folder a SavedModel is last"
    logged = [json.loads(line) for line in found["metrics.jsonl"].splitlines()]
    assert [line["step"] for line in logged if "loss/decoder" in line] == [1, 2, 3, 4, 5, 6]
    assert found["log.txt"].decode().rstrip().endswith("finished step 6")


def test_a_run_goes_on_with_the_same_weights(server: S3Server, run: Result) -> None:
    unbroken = server.objects("runs/a/")
    weights = "checkpoints/step-6.data-00000-of-00001"
    for name in (weights, "checkpoints/step-6.index"):
        server.client.delete_object(Bucket=BUCKET, Key=f"runs/a/{name}")
    again = server.run(*TRAIN, f"--model_dir={RUN}")
    assert again.code == 0, again.err
    assert "resuming from step 4" in again.err
    resumed = server.objects("runs/a/")
    assert _losses(resumed["metrics.jsonl"]) == _losses(unbroken["metrics.jsonl"])
    assert len(resumed[weights]) == len(unbroken[weights])
    assert _values(server, resumed) == _values(server, unbroken)


def _losses(metrics: bytes) -> list[tuple[int, float]]:
    logged = [json.loads(line) for line in metrics.splitlines()]
    return [(line["step"], line["loss/decoder"]) for line in logged if "loss/decoder" in line]


def _values(server: S3Server, run: dict[str, bytes]) -> dict[str, list[float]]:
    """Returns every number of a run's checkpoint of step 6."""
    from tests.helpers.tiny_training import checkpoint_values

    for name in ("data-00000-of-00001", "index"):
        (server._home / f"step-6.{name}").write_bytes(run[f"checkpoints/step-6.{name}"])
    values = checkpoint_values(server._home / "step-6")
    return {name: value.ravel().tolist() for name, value in values.items()}


def test_a_run_is_evaluated_and_filmed_from_the_bucket(
    server: S3Server, run: Result, film: Path, tmp_path: Path
) -> None:
    evaluated = server.run(
        "-m", "bladerunner_ae.evaluate", f"--model={RUN}", f"--data={DATA}/film",
        f"--output=s3://{BUCKET}/results/evaluation.json",
        f"--contact_sheet=s3://{BUCKET}/results/sheet.png",
    )  # fmt: skip
    assert evaluated.code == 0, evaluated.err
    results = server.objects("results/")
    groups = json.loads(results["evaluation.json"])["groups"]
    assert {name: group["frames"] for name, group in groups.items()} == {"held out": 8, "seen": 40}
    assert results["sheet.png"].startswith(b"\x89PNG")
    output = tmp_path / "dream.mp4"
    filmed = server.run(
        "tools/reassemble_film.py", f"--film={film}", f"--model={RUN}/export/autoencoder",
        f"--data={DATA}/film", f"--output={output}",
    )  # fmt: skip
    assert filmed.code == 0, filmed.err
    assert output.stat().st_size > 0


def test_mistakes_are_one_line(server: S3Server, film: Path, records: Result) -> None:
    convert = (*CONVERT, f"--film={film}")
    cases: list[tuple[Result, str]] = [
        (server.run(*convert, "--output_dir=s3://nowhere/data"), "there is no bucket 'nowhere'"),
        (
            server.run(
                *convert, f"--output_dir=s3://{BUCKET}/denied",
                AWS_ACCESS_KEY_ID=None, AWS_SECRET_ACCESS_KEY=None,
            ),
            "access denied; check the credentials (AWS_ACCESS_KEY_ID",
        ),
        (
            server.run(*convert, f"--output_dir={DATA}", AWS_ENDPOINT_URL="http://127.0.0.1:9"),
            "the S3 server http://127.0.0.1:9 does not answer",
        ),
        (
            server.run(
                "-m", "bladerunner_ae.evaluate", f"--model={RUN}none", f"--data={DATA}/film"
            ),
            f"{RUN}none: no such model folder",
        ),
        (
            server.run("-m", "bladerunner_ae.export", "--model_dir=s3://nowhere/run"),
            "bucket 'nowhere' does not exist or may not be read",
        ),
    ]  # fmt: skip
    for result, said in cases:
        assert result.code == 2, result
        assert said in result.error
