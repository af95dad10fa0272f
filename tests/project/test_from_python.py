"""The package used from Python: a film converted, learnt, loaded, dreamt and served."""

import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import bladerunner_ae
from bladerunner_ae import connect, convert_film, load_autoencoder, reassemble_film, train
from bladerunner_ae.conversion.options import ConversionOptions
from bladerunner_ae.errors import InputError, UsageError
from tests.helpers.commands import run_python
from tests.helpers.running_server import running_server

pytest.importorskip("tensorflow")


def test_every_step_from_python(film_factory: Callable[..., Path], tmp_path: Path) -> None:
    film, run = film_factory(frames=30, height=96, width=160), tmp_path / "run"
    options = ConversionOptions(height=24, width=40, num_shards=1)
    card = convert_film(film, tmp_path / "data", options)
    assert (card.frames, card.height, card.width) == (30, 24, 40)
    exported = bladerunner_ae.train(
        tmp_path / "data" / "film", run, objective="vae", steps=2, batch_size=4, strategy="none",
        report=False,
    )  # fmt: skip
    assert {path.parent.name for path in map(Path, exported)} >= {"autoencoder", "decoder"}
    network = load_autoencoder(run)
    for wrong in (np.zeros((1, 24, 41, 3), np.uint8), np.zeros((1, 24, 40, 3), np.float32)):
        with pytest.raises(InputError, match=r"give uint8 \[n, 24, 40, 3\]"):
            network.reconstruct(wrong)
    with pytest.raises(InputError, match=r"shape \[1, 20\]: give float32 \[n, 200\]"):
        network.decode(np.zeros((1, 20), np.float32))
    result = reassemble_film(film, network, tmp_path / "dream.mp4")
    assert result.films[0].frames == 30 and result.films[0].sound[0].startswith("copied")
    with (
        running_server(run, tmp_path) as server,
        connect(f"http://{server.rest}", "decoder") as client,
    ):
        ((name, latents),) = client.signature("serving_default").inputs.items()
        assert client.predict({name: np.zeros((1, *latents.shape[1:]), latents.dtype)})


def test_train_stays_the_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the command's module is imported before or after."""
    for _ in range(2):
        monkeypatch.delitem(sys.modules, "bladerunner_ae.train", raising=False)
        assert bladerunner_ae.train is train
        module = import_module("bladerunner_ae.train")
        assert bladerunner_ae.train is train and module.cli is not train


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("stepz", r"; did you mean steps.*\?"),
        ("latent_sizes", r"; did you mean latent_size or .*\?"),
        ("foo", ""),
        ("changes", ""),  # a field of `TrainingOptions`, but no flag
    ],
)
def test_a_mistyped_option_is_named(name: str, hint: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"^train has no option {name}{hint}$"):
        train("nowhere", tmp_path / "run", **{name: 2})
    assert not (tmp_path / "run").exists()


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="module 'bladerunner_ae' has no attribute 'dream'"):
        _ = bladerunner_ae.dream


def test_the_names_load_no_tensorflow() -> None:
    code = (
        "import sys\n"
        "from bladerunner_ae import connect, convert_film, load_autoencoder\n"
        "from bladerunner_ae import reassemble_film, train\n"
        "print([name for name in ('keras', 'tensorflow') if name in sys.modules])"
    )
    done = run_python("-c", code)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_train_loads_tensorflow_without_its_chatter() -> None:
    code = (
        "from bladerunner_ae import train\n"
        "try: train('nowhere', 'nowhere', foo=1)\n"
        "except Exception as error: print(str(error).split(';')[0])"
    )
    variables = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    done = run_python("-c", code, env={**variables, "TF_ENABLE_ONEDNN_OPTS": "1"})
    assert (done.stdout, done.stderr) == ("train has no option foo\n", "")
