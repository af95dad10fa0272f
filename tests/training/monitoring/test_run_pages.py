"""Probe frames, the projector's files, the clock; and a real TensorBoard that serves a run."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from PIL import Image
from tensorboard.plugins.projector import ProjectorConfig

from bladerunner_ae.model import pixels
from bladerunner_ae.training.monitoring import projector
from bladerunner_ae.training.monitoring.input_wait import WaitingClock
from bladerunner_ae.training.monitoring.probes import Probes, choose_probes
from tests.helpers.commands import Result
from tests.helpers.tiny_training import tiny_networks
from tfrecords.card import load_card
from tfrecords.frames import read_images
from tfrecords.mixture import FilmPart


@pytest.fixture(scope="module")
def part(small_records: Path) -> FilmPart:
    keep = np.ones(48, bool)
    keep[40:] = False
    return FilmPart(small_records, load_card(small_records), keep)


def test_probes_show_extremes_of_light_and_motion(part: FilmPart) -> None:
    chosen = choose_probes(part, 8)
    assert len(chosen.frames) == 8 and chosen.frames == sorted(set(chosen.frames))
    of = dict(zip(chosen.roles, chosen.frames, strict=True))
    film = read_images(part.directory, part.card, range(48)).astype(np.float32)
    light = film.mean((1, 2, 3))
    motion = np.abs(film[1:] - film[:-1]).mean((1, 2, 3))
    cuts = [start - 1 for start in part.card.shot_starts if start]
    whole = [frame for frame in range(47) if frame not in cuts]
    assert {"fastest", "at rest", "darkest", "brightest"} <= set(of)
    assert of["fastest"] not in cuts
    assert motion[of["fastest"]] == motion[whole].max()
    free = [f for f in whole if f not in (of["fastest"], of["at rest"])]
    assert light[of["darkest"]] == light[free].min()
    assert light[of["brightest"]] == light[[f for f in free if f != of["darkest"]]].max()
    assert choose_probes(part, 8) == chosen


def test_names_of_probes_say_what_they_were_chosen_for(part: FilmPart) -> None:
    probes = Probes([part])
    assert len(probes.originals) == len(probes.names) == len(probes.held) == 8
    assert sum(name.endswith(", darkest") for name in probes.names) == 1
    assert all(re.match(r"frame \d+", name) for name in probes.names)


def test_projector_files_belong_together(part: FilmPart, tmp_path: Path) -> None:
    encoder = tiny_networks().encoder
    assert projector.write_projector(tmp_path, encoder, [part]) == 48
    folder = tmp_path / "tensorboard"
    config = text_format.Parse((folder / "projector_config.pbtxt").read_text(), ProjectorConfig())
    (entry,) = config.embeddings
    latents = np.loadtxt(folder / entry.tensor_path, delimiter="\t")
    header, *rows = [
        line.split("\t") for line in (folder / entry.metadata_path).read_text().splitlines()
    ]
    assert header == ["frame", "film", "seconds", "shot", "label"]
    assert [int(row[0]) for row in rows] == list(range(48))
    assert [row[4] for row in rows] == ["seen"] * 40 + ["held out"] * 8
    starts = part.card.shot_starts
    assert [int(row[3]) for row in rows] == [sum(s <= f for s in starts) for f in range(48)]
    film = read_images(part.directory, part.card, range(48))
    means = encoder(pixels.to_float(film), training=False)[0].numpy()
    np.testing.assert_allclose(latents, means, rtol=1e-3, atol=1e-5)
    width, height = entry.sprite.single_image_dim
    assert (width, height) == (64, 64)  # squares, as points are
    sheet = np.asarray(Image.open(folder / entry.sprite.image_path))
    assert sheet.shape == (7 * height, 7 * width, 3)
    tile = sheet[height : 2 * height, 3 * width : 4 * width]  # the eleventh
    small = np.asarray(Image.fromarray(film[10]).resize((64, 48), Image.Resampling.BILINEAR))
    assert np.abs(tile[8:56].astype(int) - small).mean() < 3
    assert tile[:8].min() == tile[56:].min() == 255
    assert sheet[6 * height :, 6 * width :].max() == 0  # the forty-ninth


def test_projector_stops_reading_when_its_time_is_up(part: FilmPart) -> None:
    points = projector.collect(tiny_networks().encoder, [part], until=0.0)
    assert 0 < len(points.rows) == len(points.latents) == len(points.tiles) <= 48


def test_a_sprite_never_grows_beyond_what_browsers_show() -> None:
    side = int(np.ceil(np.sqrt(projector.MOST_FRAMES))) * 64
    assert side <= projector.SIDE
    with pytest.raises(ValueError, match="do not fit"):
        projector.sprite(np.zeros((5, 4000, 1, 3), np.uint8))


def test_clock_counts_waiting_and_changes_no_batch() -> None:
    def slow(number: np.int64) -> np.int64:
        time.sleep(0.02)
        return number

    numbers = tf.data.Dataset.range(20)
    waiting = numbers.map(lambda n: tf.numpy_function(slow, [n], tf.int64))
    clock = WaitingClock()
    watched = clock.watch(waiting)
    clock.share()
    assert [int(n) for n in watched] == list(range(20))
    assert clock._seconds.numpy() >= 20 * 0.02
    assert 0.5 < (clock.share() or 0.0) <= 1.0
    time.sleep(0.05)
    assert clock.share() == 0.0
    assert WaitingClock().share() is None


@pytest.mark.slow
def test_tensorboard_serves_a_run(trained_run: tuple[Path, Result]) -> None:
    run, _ = trained_run
    process = subprocess.Popen(
        [sys.executable, "-m", "tensorboard.main", f"--logdir={run}", "--host=127.0.0.1",
         "--port=0"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )  # fmt: skip
    try:
        assert process.stderr is not None
        found = next(m for line in process.stderr if (m := re.search(r"http://\S+?:\d+/", line)))
        assert_serves(f"{found[0]}data/", "tensorboard")
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate()


def assert_serves(url: str, name: str) -> None:
    """Ask for what the pages of a browser ask for."""

    def get(path: str, **query: str) -> Any:
        with urllib.request.urlopen(f"{url}{path}?{urllib.parse.urlencode(query)}") as answer:
            content = answer.read()
            return json.loads(content) if "json" in answer.headers["Content-Type"] else content

    until = time.monotonic() + 120.0
    while name not in (tags := get("plugin/scalars/tags")) and time.monotonic() < until:
        time.sleep(0.5)
    assert "loss/decoder" in tags[name] and "weight/kl" in tags[name]
    points = get("plugin/scalars/scalars", run=name, tag="loss/decoder")
    assert [step for _, step, _ in points] == [1, 2, 3, 4]
    (picture, *_) = get("plugin/images/images", run=name, tag="original_and_dream", sample="0")
    image = get("plugin/images/individualImage", **urllib_query(picture["query"]))
    assert image.startswith(b"\x89PNG")
    (text, *_) = get("plugin/text/text", run=name, tag="run/config")
    assert "<td>vae</td>" in text["text"]
    assert get("plugin/graphs/info")[name]["run_graph"]
    assert b"encoder" in get("plugin/graphs/graph", run=name, conceptual="false")
    assert get("plugin/projector/runs") == [name]
    info = get("plugin/projector/info", run=name)
    assert info["embeddings"][0]["tensorShape"] == [48, 200]
    sprite = get("plugin/projector/sprite_image", run=name, name="frames")
    assert sprite.startswith(b"\x89PNG")
    request = urllib.request.Request(
        f"{url}plugin/hparams/session_groups",
        data=json.dumps({"startIndex": 0, "sliceSize": 9,
                         "allowedStatuses": ["STATUS_SUCCESS"]}).encode(),
        headers={"Content-Type": "application/json"},
    )  # fmt: skip
    with urllib.request.urlopen(request) as answer:
        groups = json.load(answer)["sessionGroups"]
    assert len(groups) == 1 and groups[0]["hparams"]["objective"] == "vae"
    values = {metric["name"]["tag"]: metric["value"] for metric in groups[0]["metricValues"]}
    assert values["probe/psnr_seen"] > 5.0


def urllib_query(query: str) -> dict[str, str]:
    return dict(urllib.parse.parse_qsl(query))
