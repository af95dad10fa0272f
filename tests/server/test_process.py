"""A real server in a process of its own: gRPC, bad clients, signals, versions."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from bladerunner_ae.client import RequestError, connect
from bladerunner_ae.serve import say_ready
from tests.helpers.commands import ROOT, Commands, environment
from tests.helpers.running_server import RunningServer, running_server
from tests.helpers.small_model import copy_version, save_model

ROW = {"latent": np.ones((1, 3), np.float32)}
POST = "POST /v1/models/small:predict HTTP/1.1\r\nHost: localhost\r\n"
BODY = json.dumps({"instances": [[1, 1, 1]]}).encode()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "small"
    folder.mkdir()
    save_model(folder, 1)
    return folder


@pytest.fixture(scope="module")
def server(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("server")
    flags = "--max_body_mb=1", "--poll_seconds=0.2", "--batching", "--max_batch_size=64"
    with running_server(model, folder, *flags, "--version_labels=old:78") as server:
        server.wait_for_line("has no version 78")
        yield server
        assert server.stop() == 0
        assert "Traceback" not in server.log.read_text("utf-8")


def post(address: str, body: bytes = BODY, path: str = "/v1/models/small:predict") -> bytes:
    with urllib.request.urlopen(f"http://{address}{path}", body, timeout=30) as response:
        return response.read()


def factor(address: str) -> float:
    return json.loads(post(address))["predictions"][0][0]


def open_socket(server: RunningServer) -> socket.socket:
    host, _, port = server.rest.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=20)


def refusal(call: object) -> tuple[str, str]:
    with pytest.raises(RequestError) as caught:
        call()  # type: ignore[operator]
    return str(caught.value.status), caught.value.message


def test_grpc_answers_as_rest_does(server: RunningServer) -> None:
    random = np.random.default_rng(0)
    with (
        connect(f"http://{server.rest}", "small") as rest,
        connect(f"grpc://{server.grpc}", "small") as rpc,
    ):
        assert rest.signatures() == rpc.signatures()
        assert rest.states() == rpc.states() == {1: "AVAILABLE"}
        for signature, inputs in {
            "serving_default": {"latent": random.normal(size=(5, 3)).astype(np.float32)},
            "mix": {"a": [1, 2], "b": [[1, 2], [3, 4]]},
            "strings": {"text": [b"a\x00", b"b"]},
            "kinds": {"image": random.integers(0, 256, (2, 4, 5, 3)).astype(np.uint8),
                      "seed": [2**62, -1], "flag": [True, False]},
        }.items():  # fmt: skip
            ours, others = rest.predict(inputs, signature), rpc.predict(inputs, signature)
            assert set(ours) == set(others)
            for name, array in ours.items():
                assert array.dtype == others[name].dtype
                np.testing.assert_array_equal(array, others[name])


def test_grpc_codes(server: RunningServer) -> None:
    rpc = connect(f"grpc://{server.grpc}", "small")
    wrong = np.ones((1, 2), np.float32)
    assert refusal(lambda: rpc.predict({"latent": wrong}))[0] == "INVALID_ARGUMENT"
    code, words = refusal(lambda: rpc.predict({"other": wrong}))
    assert code == "INVALID_ARGUMENT" and words.endswith("inputs latent, the request has other")
    code, words = refusal(lambda: rpc.predict({**ROW, "other": wrong}))
    assert code == "INVALID_ARGUMENT"
    assert words.endswith("inputs latent, the request has latent, other")
    code, words = refusal(lambda: rpc.predict({"latent": np.array(["x"], object)}))
    assert code == "INVALID_ARGUMENT" and "to be float but string is provided" in words
    assert refusal(lambda: rpc.predict(ROW, outputs=["nope"]))[1] == (
        'output_filter: nope is no output of "serving_default", which has scaled'
    )
    large = {"latent": np.zeros((65, 3), np.float32)}
    assert refusal(lambda: rpc.predict(large))[1] == (
        "The request has 65 rows, more than --max_batch_size=64"
    )
    huge = {"latent": np.zeros((10**6, 3), np.float32)}
    assert refusal(lambda: rpc.predict(huge))[0] == "RESOURCE_EXHAUSTED"
    other = connect(f"grpc://{server.grpc}", "other")
    assert refusal(other.states) == ("NOT_FOUND", "Model other has no versions")
    assert refusal(other.signatures)[1] == "Model other is not served"
    assert rpc.predict({"latent": np.zeros((0, 3), np.float32)})["scaled"].shape == (0, 3)
    rpc.close(), other.close()


def call(server: RunningServer, method: str, request: bytes) -> tuple[str, str]:
    """Send bytes to a method of PredictionService; return code and words."""
    with grpc.insecure_channel(server.grpc) as channel:
        try:
            channel.unary_unary(f"/tensorflow.serving.PredictionService/{method}")(
                request, timeout=20
            )
        except grpc.RpcError as error:
            return error.code().name, error.details()  # type: ignore[attr-defined]
    return "OK", ""


def test_grpc_codes_of_malformed_requests(server: RunningServer) -> None:
    assert call(server, "Predict", b"\xff\xff garbage")[0] == "INTERNAL"
    assert call(server, "Predict", b"") == ("INVALID_ARGUMENT", "The request has no model_spec")
    spec = b"\x0a\x07\x0a\x05small"
    assert call(server, "Classify", spec) == (
        "INVALID_ARGUMENT",
        'Signature "serving_default" is not for classify; use predict',
    )
    assert call(server, "Predict", b"\x0a\x0e\x0a\x05small\x1a\x05other") == (
        "FAILED_PRECONDITION", 'The model has no signature "other"'
    )  # fmt: skip
    assert call(server, "GetModelMetadata", spec)[1] == "The request needs a metadata_field"
    assert call(server, "GetModelMetadata", spec + b"\x12\x01x") == (
        "INVALID_ARGUMENT", "metadata_field must be signature_def, not x"
    )  # fmt: skip
    assert call(server, "MultiInference", b"")[0] == "UNIMPLEMENTED"


@pytest.mark.parametrize(
    "garbage", [b"\x00\x01\x02garbage\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00"]
)
def test_garbage_is_refused(server: RunningServer, garbage: bytes) -> None:
    with open_socket(server) as client:
        client.sendall(garbage)
        assert client.recv(100)[:12] in (b"HTTP/1.1 400", b"")
    assert factor(server.rest) == 2.0


@pytest.mark.slow
def test_stalled_clients_are_disconnected(model: Path, tmp_path: Path) -> None:
    """Slow heads and bodies end after --read_seconds, and delay no other client."""
    head = POST.encode() + b"Content-Length: 9\r\n\r\n{"
    with (
        running_server(model, tmp_path, "--read_seconds=3") as server,
        open_socket(server) as silent,
        open_socket(server) as slow,
        open_socket(server) as late,
    ):
        slow.sendall(b"GET /v1/models/small HTTP/1.1\r\nHost:")
        late.sendall(head)
        with open_socket(server) as gone:
            gone.sendall(head)
        assert factor(server.rest) == 2.0
        assert silent.recv(10) == slow.recv(10) == b""
        answer = b""
        while part := late.recv(1000):
            answer += part
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"The request was not complete after 3 s" in answer
        assert factor(server.rest) == 2.0


@pytest.mark.slow
def test_clients_that_do_not_read_answers_are_dropped(model: Path, tmp_path: Path) -> None:
    """A client that reads slowly gets the whole answer."""
    image = np.full((1, 1000, 1000, 3), 200).tolist()
    body = json.dumps({"signature_name": "kinds", "inputs": {
        "image": image, "seed": [1], "flag": [True]}}).encode()  # fmt: skip
    head = f"{POST}Content-Length: {len(body)}"
    with (
        running_server(model, tmp_path, "--read_seconds=2") as server,
        socket.socket() as never,
        socket.socket() as slowly,
    ):
        host, _, port = server.rest.rpartition(":")
        for client in (never, slowly):
            client.settimeout(60)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)  # the kernel's own
            client.connect((host, int(port)))
            client.sendall(f"{head}\r\n\r\n".encode() + body)
        answer = slowly.recv(1000)
        whole = len(answer) + int(re.findall(rb"content-length: (\d+)", answer)[0])
        whole -= len(answer.partition(b"\r\n\r\n")[2])
        assert whole > 10_000_000  # more than the server's kernel holds
        taken, start = len(answer), time.monotonic()
        while taken < whole:
            if time.monotonic() - start < 6.0:
                time.sleep(0.25)  # for three times as long as a client may take nothing
            part = slowly.recv(1 << 18)
            assert part, f"hung up on after {taken} of {whole} bytes"
            taken += len(part)
        left = 0
        with contextlib.suppress(ConnectionResetError):
            while part := never.recv(1 << 20):
                left += len(part)
        assert left < whole / 2
        assert factor(server.rest) == 2.0


def test_too_large_bodies_are_not_received(server: RunningServer) -> None:
    with open_socket(server) as client:
        client.sendall(POST.encode() + b"Content-Length: 99999999\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (b"Host: localhost:99\r\nContent-Length: 26", b"200"),
        (b"Host: evil.example\r\nContent-Length: 26", b"400"),
        (b"Host: [::1]\r\nContent-Length: 26\r\nOrigin: http://evil.example", b"403"),
        (b"Host: [::1]\r\nContent-Length: 26\r\nTransfer-Encoding: chunked", b"400"),
    ],
)
def test_hosts_origins_and_lengths_are_checked(
    server: RunningServer, headers: bytes, status: bytes
) -> None:
    start = b"POST /v1/models/small:predict HTTP/1.1\r\n"
    with open_socket(server) as client:
        client.sendall(start + headers + b"\r\n\r\n" + BODY)
        answer = client.recv(10_000)
    assert answer[9:12] == status, answer
    assert b"x-content-type-options: nosniff" in answer
    assert b"cross-origin-resource-policy: same-origin" in answer
    for path in ("/monitoring/prometheus/metrics", "/"):
        with urllib.request.urlopen(f"http://{server.rest}{path}", timeout=30) as response:
            assert response.headers.get_all("X-Content-Type-Options") == ["nosniff"]
            assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_a_thousand_connections(server: RunningServer) -> None:
    """Half of the connections are idle, the others ask at once."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(open_socket(server)) for _ in range(1000)]
        head = f"{POST}Content-Length: {len(BODY)}"
        asking = clients[::2]
        for client in asking:
            client.sendall(head.encode() + b"\r\n\r\n" + BODY)
        assert all(client.recv(1000).startswith(b"HTTP/1.1 200") for client in asking)
    assert factor(server.rest) == 2.0


def test_many_clients_get_their_own_answers(server: RunningServer) -> None:
    """Batching: every client gets what belongs to its own row."""

    def ask(number: int) -> bool:
        with connect(f"grpc://{server.grpc}", "small") as client:
            values = np.full((1 + number % 3, 3), number, np.float32)
            return all(
                np.array_equal(client.predict({"latent": values})["scaled"], 2 * values)
                for _ in range(10)
            )

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert all(pool.map(ask, range(32)))


def test_versions_change_while_the_server_runs(server: RunningServer, model: Path) -> None:
    """It answers all the time while versions are added, damaged and removed."""
    stop = False
    failures = []

    def keep_asking() -> int:
        count = 0
        while not stop:
            count += 1
            if (found := factor(server.rest)) not in (2.0, 5.0):
                failures.append(found)
        return count

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asking = pool.submit(keep_asking)
        try:
            broken = copy_version(model, 1, 9)
            (broken / "saved_model.pb").write_bytes(b"garbage")
            line = server.wait_for_line(f"{broken}: cannot be loaded")
            shutil.rmtree(broken)
            save_model(model, 2, factor=5.0)
            server.wait_for_line("small 1: unloaded")
            assert factor(server.rest) == 5.0
            shutil.rmtree(model / "2")
            server.wait_for_line("small 2: unloaded")
            assert factor(server.rest) == 2.0
        finally:
            stop = True
        assert asking.result() > 0 and not failures
    log = server.log.read_text("utf-8")
    assert log.count(line) == 1 or log.count("cannot be loaded") <= 2


def test_the_explorer_is_served(server: RunningServer) -> None:
    with urllib.request.urlopen(f"http://{server.rest}/", timeout=30) as response:
        assert response.status == 200 and b"<html" in response.read().lower()


def test_ports_in_use_are_reported(server: RunningServer, model: Path, commands: Commands) -> None:
    for flag, address in (("port", server.rest), ("grpc_port", server.grpc)):
        port = address.rpartition(":")[2]
        result = commands.run("serve", f"--model={model}", "--port=0", "--grpc_port=0",
                              f"--{flag}={port}")  # fmt: skip
        assert result.code == 2
        assert result.error == (
            f"error: {address}: is in use by another program; choose another with --{flag}"
        )


def test_invalid_flags_are_reported(model: Path, tmp_path: Path, commands: Commands) -> None:
    for flags, code, words in (
        ((f"--model={tmp_path}/none",), 2, "no such model folder"),
        ((f"--model={tmp_path}",), 2, "holds no SavedModel"),
        ((f"--model={model}", "--versions=old"), 1, "choose newest, all, or numbers"),
        ((f"--model={model}", "--version_labels=stable"), 1, "write LABEL:NUMBER"),
        ((f"--model={model}", f"--model={model}"), 1, "two models are called small"),
        ((f"--model={model}", "--host=999.1.1.1", "--port=0"), 2, "cannot be listened at"),
    ):
        result = commands.run("serve", *flags)
        assert result.code == code and words in result.error


def test_flags_in_the_docs_exist_with_their_defaults(commands: Commands) -> None:
    text = commands.run("serve", "--help").out
    defaults = dict(re.findall(r"--(\w+)\n(?:      .*\n)*?.*\(default:\s+(\S+)\)", text))
    docs = (ROOT / "docs" / "server.md").read_text("utf-8")
    named = re.findall(r"`--(\w+)", docs)
    with_default = re.findall(r"\| `--(\w+)`, [^|]+\| ([\d,]+) \|", docs)
    assert named and with_default
    for flag in named:
        assert f"--{flag}\n" in text, flag
    for flag, default in with_default:
        assert float(defaults[flag]) == float(default.replace(",", "")), flag


def test_a_model_that_cannot_be_loaded_is_refused(
    model: Path, tmp_path: Path, commands: Commands
) -> None:
    shutil.copytree(model / "1", tmp_path / "broken" / "1")
    (tmp_path / "broken" / "1" / "saved_model.pb").write_bytes(b"garbage")
    result = commands.run("serve", f"--model={tmp_path}/broken", "--port=0", "--grpc_port=0")
    assert result.code == 2 and "no version can be served; export again" in result.error


def test_missing_versions_are_named(model: Path, commands: Commands) -> None:
    flags = (f"--model={model}", "--port=0", "--grpc_port=0", "--versions=77")
    result = commands.run("serve", *flags)
    assert result.code == 2
    assert f"{model}: no version can be served; choose others with --versions" in result.error


def test_urls_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    say_ready(["a/b c"], "[::1]:8501", None, True)
    say_ready(["decoder"], "127.0.0.1:1", "127.0.0.1:2", False)
    assert capsys.readouterr().out.splitlines() == [
        "http://[::1]:8501/v1/models/a%2Fb%20c", "explorer: http://[::1]:8501/",
        "http://127.0.0.1:1/v1/models/decoder", "grpc://127.0.0.1:2", "no explorer: no decoder",
    ]  # fmt: skip


def test_missing_extra_is_named(model: Path) -> None:
    program = (
        "import sys; sys.modules['starlette'] = None; sys.argv = ['serve', '--model=x'];"
        "import importlib.util as u; find = u.find_spec;"
        "u.find_spec = lambda name, *a: None if name == 'starlette' else find(name, *a);"
        "from bladerunner_ae.serve import cli; cli()"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment(),
                            capture_output=True, text=True, check=False)  # fmt: skip
    assert result.returncode == 1
    assert result.stderr == (
        "error: serving needs packages that are not installed (starlette); install them with: "
        'pip install "bladerunner_ae[serve]"\n'
    )


def start_work(
    server: RunningServer, pool: concurrent.futures.Executor, turns: int
) -> list[object]:
    """Requests that take a while, over both APIs, and that have arrived."""
    body = json.dumps({"signature_name": "work", "instances": [turns]}).encode()
    rpc = connect(f"grpc://{server.grpc}", "small", timeout=60)
    rpc.signatures()
    futures = [
        pool.submit(post, server.rest, body),
        pool.submit(rpc.predict, {"turns": [turns]}, "work"),
    ]
    end = time.monotonic() + 30
    page = ""
    while "bladerunner_waiting_requests 2.0" not in page and time.monotonic() < end:
        url = f"http://{server.rest}/monitoring/prometheus/metrics"
        with urllib.request.urlopen(url, timeout=30) as response:
            page = response.read().decode()
    assert "bladerunner_waiting_requests 2.0" in page
    return futures


def test_sigterm_answers_what_is_in_flight(model: Path, tmp_path: Path) -> None:
    with (
        running_server(model, tmp_path) as server,
        concurrent.futures.ThreadPoolExecutor(2) as pool,
    ):
        rest, rpc = start_work(server, pool, 60_000)
        assert server.stop(signal.SIGTERM) == 0
        assert json.loads(rest.result()) == {"predictions": [1]}  # type: ignore[attr-defined]
        assert rpc.result()["done"].tolist() == [1]  # type: ignore[attr-defined]
        log = server.log.read_text("utf-8")
        assert log.endswith("stopping; 2 requests are still to be answered\n"), log
    with pytest.raises(OSError):
        post(server.rest)


@pytest.mark.slow
def test_a_second_signal_stops_at_once(model: Path, tmp_path: Path) -> None:
    with (
        running_server(model, tmp_path) as server,
        concurrent.futures.ThreadPoolExecutor(2) as pool,
    ):
        futures = start_work(server, pool, 10_000_000)
        server.process.send_signal(signal.SIGINT)
        server.wait_for_line("stopping; 2 requests are still to be answered")
        time.sleep(1.1)  # two at once count as one
        assert server.stop(signal.SIGINT) == 130
        assert server.log.read_text("utf-8").endswith("stopped at once\n")
        for future in futures:
            with pytest.raises(Exception):  # noqa: B017  the connection is gone
                future.result()  # type: ignore[attr-defined]
