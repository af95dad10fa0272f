"""The client, over both APIs, against a real server; and what it imports."""

from __future__ import annotations

import http.server
import io
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

from bladerunner_ae.client import (
    Client,
    RequestError,
    Tensor,
    UnreachableError,
    connect,
    decode_images,
)
from bladerunner_ae.client.rest_client import RestClient
from bladerunner_ae.errors import UsageError
from tests.helpers.commands import ROOT
from tests.helpers.running_server import RunningServer, running_server
from tests.helpers.small_model import copy_version, save_model


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("models") / "my model"
    folder.mkdir()
    save_model(folder, 1)
    copy_version(folder, 1, 2)
    log = tmp_path_factory.mktemp("server")
    flags = "--version_labels=old:1", "--poll_seconds=0", "--max_body_mb=1"
    with running_server(folder, log, *flags) as server:
        yield server


@pytest.fixture(params=["http", "grpc"])
def url(request: pytest.FixtureRequest, server: RunningServer) -> str:
    return f"{request.param}://{server.rest if request.param == 'http' else server.grpc}"


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with connect(url, "my model") as client:
        yield client


def test_predict(client: Client) -> None:
    found = client.predict({"latent": [[1, 2, 3]]})
    assert list(found) == ["scaled"] and found["scaled"].dtype == np.float32
    assert found["scaled"].tolist() == [[2, 4, 6]]
    found = client.predict({"a": [1], "b": [[0.5, 1.5]]}, "mix")
    assert found["sum"].tolist() == [1.5] and found["b"].tolist() == [[0.5, 1.5]]
    assert list(client.predict({"a": [1], "b": [[0.5, 1.5]]}, "mix", ["sum"])) == ["sum"]


def test_strings(client: Client) -> None:
    found = client.predict({"text": ["ä", b"\x00\x01"]}, "strings")
    assert found["back_bytes"].tolist() == ["ä".encode(), b"\x00\x01"]
    assert found["length"].tolist() == [2, 2] and found["length"].dtype == np.int32


def test_nan_and_infinity(client: Client) -> None:
    found = client.predict({"latent": np.full((1, 3), np.nan, np.float32)})["scaled"]
    assert np.isnan(found).all()


def test_signatures_and_states(client: Client) -> None:
    signatures = client.signatures()
    assert set(signatures) == {"serving_default", "mix", "strings", "kinds", "work", "scalar"}
    assert signatures["mix"].inputs == {
        "a": Tensor(np.dtype(np.int32), (None,)), "b": Tensor(np.dtype(np.float32), (None, 2))
    }  # fmt: skip
    assert signatures["scalar"].outputs == {"y": Tensor(np.dtype(np.float32), ())}
    assert signatures["strings"].outputs["back_bytes"].dtype == object
    assert client.states() == {2: "AVAILABLE", 1: "AVAILABLE"}


def test_versions_and_labels(url: str) -> None:
    for which in ({"version": 1}, {"label": "old"}, {"version": 2}):
        with connect(url, "my model", **which) as client:  # type: ignore[arg-type]
            assert client.predict({"latent": [[1, 0, 0]]})["scaled"].tolist() == [[2, 0, 0]]
    with connect(url, "my model", label="new") as client, pytest.raises(RequestError) as caught:
        client.predict({"latent": [[1, 0, 0]]})
    assert caught.value.status in (400, "INVALID_ARGUMENT")
    assert caught.value.message == "Model my model has no version label new"
    with pytest.raises(UsageError):
        connect(url, "my model", 1, "old")


def test_refusals_are_one_line(client: Client) -> None:
    with pytest.raises(RequestError) as caught:
        client.predict({"latent": [[1, 2]]})
    assert caught.value.status in (400, "INVALID_ARGUMENT")
    shapes = (
        'Input "latent" of signature "serving_default" has the shape [1, 2], expected is [?, 3]'
    )
    assert shapes in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(RequestError, match="nope; the model has"):
        client.predict({"latent": [[1, 2, 3]]}, "nope")


def test_empty_batches(server: RunningServer) -> None:
    empty = {"latent": np.zeros((0, 3), np.float32)}
    with connect(f"grpc://{server.grpc}", "my model") as client:
        assert client.predict(empty)["scaled"].shape == (0, 3)
    with (
        connect(f"http://{server.rest}", "my model") as client,
        pytest.raises(UsageError, match="use gRPC"),
    ):
        client.predict(empty)


def test_threads_share_a_client(client: Client) -> None:
    found: dict[int, float] = {}

    def ask(number: int) -> None:
        row = np.full((1, 3), number, np.float32)
        found[number] = float(client.predict({"latent": row})["scaled"][0, 0])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: 2.0 * number for number in range(8)}


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_unanswered_requests_raise(scheme: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with (
        connect(f"{scheme}://{address}", "x", timeout=5) as client,
        pytest.raises(UnreachableError, match=f"{address}: no answer") as caught,
    ):
        client.states()
    assert "\n" not in str(caught.value) and caught.value.exit_code == 3


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_silent_servers_time_out(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with (
            connect(f"{scheme}://{address}", "x", timeout=0.3) as client,
            pytest.raises(UnreachableError, match=r"no answer"),
        ):
            client.states()


class _Other(http.server.BaseHTTPRequestHandler):
    """A web server that is no model server; it hangs up after each answer, without saying so."""

    protocol_version = "HTTP/1.1"
    answers: list[bytes]

    def do_GET(self) -> None:
        body = type(self).answers.pop(0)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *arguments: Any) -> None:
        pass


def test_other_servers_and_closed_connections() -> None:
    state = {"version": "1", "state": "AVAILABLE"}
    good = json.dumps({"model_version_status": [state]}).encode()
    _Other.answers = [good, good, b"<html>"]
    with http.server.HTTPServer(("127.0.0.1", 0), _Other) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        with RestClient(f"127.0.0.1:{other.server_port}", "x") as client:
            assert client.states() == client.states() == {1: "AVAILABLE"}
            with pytest.raises(RequestError, match="is this a model server"):
                client.states()
        other.shutdown()


def test_too_large_bodies_get_the_servers_message(server: RunningServer) -> None:
    """The server answers and hangs up while the body is still being sent."""
    with connect(f"http://{server.rest}", "my model") as client:
        for _ in range(2):  # over a new connection and one that was used
            with pytest.raises(RequestError, match=r"\(413\): The request is larger than 1 MiB"):
                client.predict({"latent": np.full((100_000, 3), 0.123456789)})
            assert client.states() == {1: "AVAILABLE", 2: "AVAILABLE"}


def test_invalid_inputs_and_outputs_are_refused(client: Client) -> None:
    with pytest.raises(UsageError, match="complex128 cannot be sent"):
        client.predict({"latent": np.zeros((1, 3), complex)})
    with pytest.raises(RequestError, match="nope"):
        client.predict({"latent": np.zeros((1, 3))}, outputs=["nope"])
    if isinstance(client, RestClient):  # JSON goes in rows
        with pytest.raises(UsageError, match="batches of different sizes: a 2, b 1"):
            client.predict({"a": [1, 2], "b": [[0.5, 1.5]]}, "mix")


def test_unreachable_addresses(server: RunningServer) -> None:
    with (
        connect("grpc://nosuch.invalid:8500", "x", timeout=5) as client,
        pytest.raises(UnreachableError),
    ):
        client.states()
    with (
        connect(f"http://{server.grpc}", "x", timeout=5) as client,
        pytest.raises(UnreachableError, match="is this the port of gRPC"),
    ):
        client.states()


@pytest.mark.parametrize(
    "url",
    ["localhost:8501", "ftp://x", "http://", "grpc:", "http://x:port", "grpc://x:99999",
     "http://x/prefix", "http://me:secret@x"],
)  # fmt: skip
def test_invalid_urls_are_refused(url: str) -> None:
    with pytest.raises(UsageError, match="give http://HOST:PORT or grpc://HOST:PORT"):
        connect(url, "decoder")


def test_pictures_are_decoded() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    found = decode_images([file.getvalue()] * 2)
    np.testing.assert_array_equal(found, np.stack([picture] * 2))
    for kind in ("GIF", "BMP", "TIFF", "PPM"):  # no signature gives these
        other = io.BytesIO()
        Image.fromarray(picture).save(other, kind)
        with pytest.raises(UnidentifiedImageError):
            decode_images([other.getvalue()])


def test_client_imports_no_tensorflow_and_no_server(server: RunningServer) -> None:
    program = f"""
import sys
from bladerunner_ae.client import connect
connect("http://{server.rest}", "my model").predict({{"latent": [[1, 2, 3]]}})
rest = [name for name in ("tensorflow", "grpc", "starlette", "google.protobuf", "PIL")
        if name in sys.modules]
connect("grpc://{server.grpc}", "my model").predict({{"latent": [[1, 2, 3]]}})
print(rest, [name for name in ("tensorflow", "starlette") if name in sys.modules])
"""
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True,
                            text=True, check=False)  # fmt: skip
    assert result.stdout == "[] []\n", result.stderr


def test_the_examples_in_the_docstring_exist() -> None:
    import bladerunner_ae.client as module

    text = Path(module.__file__).read_text("utf-8")
    for name in ("connect", "decode_images"):
        assert f"{name}(" in (module.__doc__ or "") and f"def {name}(" in text
