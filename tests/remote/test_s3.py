"""Commands on a bucket of an S3 server on this machine, in the ordinary environment."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.commands import Commands, Result
from tests.helpers.s3_server import BUCKET, S3Server, Stalled
from tests.helpers.synthetic_film import make_film

DATA, RUN = f"s3://{BUCKET}/data", f"s3://{BUCKET}/runs/a"
CONVERT = ("tools/make_tfrecords.py", "--height=24", "--width=32", "--num_shards=4")
TRAIN = (
    f"--data={DATA}/film", "--steps=6", "--batch_size=8", "--seed=1", "--strategy=none",
    "--precision=float32", "--checkpoint_every=2", "--log_every=1", "--sample_every=4",
    "--holdout=0.17", "--noreport",
)  # fmt: skip


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_film(tmp_path_factory.mktemp("film") / "film.mp4")


@pytest.fixture(scope="module")
def records(s3: S3Server, film: Path) -> tuple[Result, list[str]]:
    """Return what the conversion into the bucket said, and its requests."""
    before = len(s3.requests)
    result = s3.run(*CONVERT, f"--film={film}", f"--output_dir={DATA}")
    assert result.code == 0, result.err
    return result, s3.requests[before:]


@pytest.fixture(scope="module")
def s3_commands(s3: S3Server) -> Iterator[Commands]:
    """Return a runner of commands that use the server."""
    runner = Commands(s3.variables())
    yield runner
    runner.close()


@pytest.fixture(scope="module")
def run(s3: S3Server, s3_commands: Commands, records: object) -> tuple[Result, list[str]]:
    """Return what training into the bucket said, and its requests up to the first step."""
    before = len(s3.requests)
    result = s3_commands.run("train", *TRAIN, f"--model_dir={RUN}")
    assert result.code == 0, result.err
    asked = s3.requests[before:]
    return result, asked[: next(i for i, text in enumerate(asked) if "step-2.data" in text)]


def test_the_records_are_those_of_a_local_conversion(
    s3: S3Server, film: Path, records: tuple[Result, list[str]], tmp_path: Path
) -> None:
    local = s3.run(*CONVERT, f"--film={film}", f"--output_dir={tmp_path}")
    assert local.code == 0, local.err
    expected = {path.name: path.read_bytes() for path in (tmp_path / "film").iterdir()}
    assert len(expected) == 5
    assert s3.objects("data/film/") == expected
    assert records[0].out == local.out.replace(str(tmp_path), DATA)


def test_each_shard_is_one_request_and_the_card_is_last(
    s3: S3Server, records: tuple[Result, list[str]]
) -> None:
    written = s3.written("data/film/")
    assert written[-1] == "film.json" and written.count("film.json") == 1
    assert sum(name.endswith(".tfrecord") for name in written) == 4
    assert len(records[1]) <= 4 + 19, records[1]
    spool = s3.home / "cache" / "bladerunner_ae" / "spool"
    assert [path for path in spool.rglob("*.tfrecord") if "copies" not in path.parts] == []


def test_finished_records_are_left_alone(s3: S3Server, film: Path, records: object) -> None:
    before = len(s3.written("data/"))
    again = s3.run(*CONVERT, f"--film={film}", f"--output_dir={DATA}")
    assert again.code == 0 and again.out.endswith("; up to date\n")
    other = s3.run(*CONVERT, "--quality=80", f"--film={film}", f"--output_dir={DATA}")
    assert other.code == 2
    assert "s3://films/data/film: holds other records (--quality: 95 -> 80)" in other.error
    assert len(s3.written("data/")) == before


def test_records_are_inspected_in_the_bucket(s3: S3Server, records: object) -> None:
    barcode = f"--barcode=s3://{BUCKET}/pictures/barcode.png"
    looked = s3.run("tools/inspect_records.py", f"{DATA}/film", "--verify", barcode)
    assert looked.code == 0, looked.err
    assert "48 frames" in looked.out
    assert s3.objects("pictures/")["barcode.png"].startswith(b"\x89PNG")


def test_a_conversion_killed_while_it_sends_is_resumed(
    s3: S3Server, film: Path, records: object
) -> None:
    data = f"s3://{BUCKET}/killed"
    convert = (*CONVERT, f"--film={film}", f"--output_dir={data}")
    door = Stalled(s3, writes=4)  # upload.json twice, two shards, and no answer to the third
    process = s3.start(*convert, AWS_ENDPOINT_URL=door.endpoint)
    assert door.closed.wait(60)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    door.close()
    assert set(s3.objects("killed/film/")) == {
        "upload.json", "frames-00000-of-00004.tfrecord", "frames-00001-of-00004.tfrecord"
    }  # fmt: skip
    before = len(s3.written("killed/film/"))
    assert s3.run(*convert).code == 0
    assert s3.written("killed/film/")[before:] == [
        "upload.json", "frames-00002-of-00004.tfrecord", "frames-00003-of-00004.tfrecord",
        "film.json",
    ]  # fmt: skip
    assert s3.objects("killed/film/") == s3.objects("data/film/")


@pytest.mark.slow
def test_a_connection_that_breaks_is_one_line(s3: S3Server, film: Path) -> None:
    door = Stalled(s3, writes=3)
    broken = s3.run(
        *CONVERT, f"--film={film}", f"--output_dir=s3://{BUCKET}/broken",
        AWS_ENDPOINT_URL=door.endpoint,
    )  # fmt: skip
    door.close()
    assert broken.code == 3, broken.err
    assert "s3://films/broken/film/frames-00001-of-00004.tfrecord: " in broken.error
    assert "check the network" in broken.error
    assert s3.run(*CONVERT, f"--film={film}", f"--output_dir=s3://{BUCKET}/broken").code == 0


def test_another_persons_files_are_never_deleted(s3: S3Server, film: Path) -> None:
    s3.put("theirs/film/holiday.txt")
    convert = (*CONVERT, f"--film={film}", f"--output_dir=s3://{BUCKET}/theirs")
    refused = s3.run(*convert, "--overwrite")
    assert refused.code == 2 and "s3://films/theirs/film: exists and holds no rec" in refused.error
    assert s3.objects("theirs/") == {"film/holiday.txt": b"precious"}


def test_mistakes_are_one_line(s3: S3Server, film: Path) -> None:
    convert = (*CONVERT, f"--film={film}")
    there = f"--output_dir=s3://{BUCKET}/mistakes"
    cases = [
        (s3.run(*convert, "--output_dir=s3://nowhere/data"), 2, "there is no bucket 'nowhere'"),
        (
            s3.run(*convert, there, AWS_ACCESS_KEY_ID=None, AWS_SECRET_ACCESS_KEY=None),
            2, "access denied (NoCredentialsError: Unable to locate credentials); check",
        ),
        (
            s3.run(*convert, there, AWS_ENDPOINT_URL="http://127.0.0.1:9"),
            3, 'Could not connect to the endpoint URL: "http://127.0.0.1:9/films',
        ),
        (s3.run(*convert, "--output_dir=s3://A_B!/data"), 2, "cannot be used (ParamValidation"),
        (s3.run("tools/inspect_records.py", f"{DATA}/none"), 2, f"{DATA}/none: there is no such"),
    ]  # fmt: skip
    with s3.asking_for_permission():
        cases.append((s3.run(*convert, there), 2, "access denied (PermissionError: "))
    for result, code, said in cases:
        assert result.code == code, result
        assert said in result.error and "s3://" in result.error


@pytest.mark.slow
def test_a_run_arrives_in_the_bucket_whole(s3: S3Server, run: tuple[Result, list[str]]) -> None:
    found = s3.objects("runs/a/")
    assert {"config.json", "flags.txt", "log.txt", "metrics.jsonl"} <= set(found)
    assert not any(name.startswith(".") for name in found)
    assert {name for name in found if name.startswith("samples/")} == {
        f"samples/step-{step:07d}.png" for step in (0, 4, 6)
    }
    assert {f"checkpoints/step-{step}.index" for step in (2, 4, 6)} <= set(found)
    assert sum(name.startswith("tensorboard/events.out.tfevents") for name in found) > 1
    for name in ("autoencoder", "encoder", "decoder"):
        written = s3.written(f"runs/a/export/{name}/1/")
        assert "saved_model.pb" in written and "variables/variables.index" in written
    assert s3.written("runs/a/export/")[-1].endswith("saved_model.pb")
    logged = [json.loads(line) for line in found["metrics.jsonl"].splitlines()]
    assert [line["step"] for line in logged if "loss/decoder" in line] == [1, 2, 3, 4, 5, 6]
    assert found["log.txt"].decode().rstrip().endswith("all of step 6 is shown")
    assert run[0].out.splitlines() == [
        f"{RUN}/export/{name}/1" for name in ("autoencoder", "encoder", "decoder")
    ]
    # Listings, card and claim, a request a shard, and what begins the first sending.
    assert len(run[1]) <= 4 + 34, run[1]
    assert sum(text.startswith("GET") and ".tfrecord" in text for text in run[1]) == 4


@pytest.mark.slow
def test_a_run_is_resumed_with_the_same_weights(
    s3: S3Server, s3_commands: Commands, run: object, tmp_path: Path
) -> None:
    unbroken, other = s3.objects("runs/a/"), f"s3://{BUCKET}/runs/b"
    process = s3.start("-m", "bladerunner_ae.train", *TRAIN, f"--model_dir={other}")
    end = time.monotonic() + 150
    while "checkpoints/checkpoint" not in s3.objects("runs/b/"):
        assert process.poll() is None and time.monotonic() < end, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    for name in list(s3.objects("runs/b/")):  # wherever it was killed, it is resumed from step 2
        if name.startswith(("checkpoints/step-4", "checkpoints/step-6")):
            s3.client.delete_object(Bucket=BUCKET, Key=f"runs/b/{name}")
    again = s3_commands.run("train", *TRAIN, f"--model_dir={other}")
    assert again.code == 0, again.err
    assert "from step 2" in s3.content("runs/b/log.txt").decode()
    resumed = s3.objects("runs/b/")
    assert _losses(resumed["metrics.jsonl"]) == _losses(unbroken["metrics.jsonl"])
    assert _values(resumed, tmp_path) == _values(unbroken, tmp_path)


def _losses(metrics: bytes) -> list[tuple[int, float]]:
    logged = [json.loads(line) for line in metrics.splitlines()]
    return [(line["step"], line["loss/decoder"]) for line in logged if "loss/decoder" in line]


def _values(run: dict[str, bytes], folder: Path) -> dict[str, list[float]]:
    """Return every number of a run's checkpoint of step 6."""
    from tests.helpers.tiny_training import checkpoint_values

    for name in ("data-00000-of-00001", "index"):
        (folder / f"step-6.{name}").write_bytes(run[f"checkpoints/step-6.{name}"])
    return {
        name: value.ravel().tolist() for name, value in checkpoint_values(folder / "step-6").items()
    }


@pytest.mark.slow
def test_a_run_is_evaluated_reported_and_filmed_from_the_bucket(
    s3: S3Server, s3_commands: Commands, run: object, film: Path, tmp_path: Path
) -> None:
    evaluated = s3_commands.run(
        "evaluate", f"--model={RUN}", f"--data={DATA}/film",
        f"--output=s3://{BUCKET}/results/evaluation.json",
        f"--contact_sheet=s3://{BUCKET}/results/sheet.png",
    )  # fmt: skip
    assert evaluated.code == 0, evaluated.err
    report = f"--output=s3://{BUCKET}/results/report.html"
    reported = s3_commands.run("report", f"--model={RUN}", f"--data={DATA}/film", report)
    assert reported.code == 0, reported.err
    results = s3.objects("results/")
    groups = json.loads(results["evaluation.json"])["groups"]
    assert {name: group["frames"] for name, group in groups.items()} == {
        "held out": 8, "seen": 40, "held out, no near copy": 8, "held out, new": 8,
    }  # fmt: skip
    assert results["sheet.png"].startswith(b"\x89PNG") and b"<html" in results["report.html"][:200]
    exported = s3_commands.run("export", f"--model_dir={RUN}", f"--data={DATA}/film")
    assert exported.out.splitlines()[0] == f"{RUN}/export/autoencoder/2", exported.err
    assert "saved_model.pb" in s3.objects("runs/a/export/autoencoder/2/")
    output = tmp_path / "dream.mp4"
    filmed = s3.run(
        "tools/reassemble_film.py", f"--film={film}", f"--model={RUN}/export/autoencoder",
        f"--data={DATA}/film", f"--output={output}",
    )  # fmt: skip
    assert filmed.code == 0, filmed.err
    assert output.stat().st_size > 0


@pytest.mark.slow
def test_mistakes_with_a_run_are_one_line(s3: S3Server, s3_commands: Commands, run: object) -> None:
    s3.put("runs/theirs/holiday.txt")
    cases = [
        (s3_commands.run("evaluate", f"--model={RUN}none", f"--data={DATA}/film"),
         f"{RUN}none: no such model folder"),
        (s3_commands.run("export", "--model_dir=s3://nowhere/run"), "no bucket 'nowhere'"),
        (s3_commands.run("train", *TRAIN, "--seed=2", f"--model_dir={RUN}"),
         f"{RUN}: holds another run (seed: 1 -> 2)"),
        (s3_commands.run("train", *TRAIN, "--overwrite", f"--model_dir=s3://{BUCKET}/runs/theirs"),
         "s3://films/runs/theirs: not empty and not a run"),
        (s3_commands.run("train", *TRAIN, "--model_dir=s3://nowhere/run"), "no bucket 'nowhere'"),
    ]  # fmt: skip
    for result, said in cases:
        assert result.code == 2, result
        assert said in result.error
    assert s3.objects("runs/theirs/") == {"holiday.txt": b"precious"}
