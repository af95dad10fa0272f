"""The REST API: URLs and statuses of TensorFlow Serving, without a network."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bladerunner_ae.server.limits import Limits
from bladerunner_ae.server.model_folders import find_models
from bladerunner_ae.server.process import Options, Server
from tests.helpers.small_model import save_model

ROWS = {"instances": [[1.0, 2.0, 3.0], [0.0, 0.0, 0.5]]}
GZIP = {"Content-Encoding": "gzip"}
DOUBLED = {"predictions": [[2.0, 4.0, 6.0], [0.0, 0.0, 1.0]]}


class Rest:
    """Requests to a server in this process."""

    def __init__(self, model: Path, **options: Any) -> None:
        self._runner = asyncio.Runner()
        limits = Limits(batch_rows=8, body_bytes=20_000, held_bytes=30_000)
        self.server = Server(Options(find_models(model), **{"limits": limits, **options}))
        self._runner.run(self.server.load())
        transport = httpx.ASGITransport(self.server.application())
        self._client = httpx.AsyncClient(transport=transport, base_url="http://localhost")

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self._runner.run(self._client.request(method, path, **options))

    def get(self, path: str) -> httpx.Response:
        return self.ask("GET", path)

    def post(self, path: str, body: Any) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.ask("POST", path, content=content)

    def close(self) -> None:
        self._runner.run(self._client.aclose())
        self._runner.close()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "small"
    folder.mkdir()
    save_model(folder, 3)
    return folder


@pytest.fixture(scope="module", params=[None, 0.0], ids=["one by one", "batching"])
def rest(request: pytest.FixtureRequest, model: Path) -> Iterator[Rest]:
    rest = Rest(model, batch_timeout=request.param, labels={"stable": 3})
    yield rest
    rest.close()


def refused(response: httpx.Response, status: int = 400) -> str:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    found = response.json()
    assert list(found) == ["error"]
    return found["error"]


@pytest.mark.parametrize(
    "path",
    ["/v1/models/small:predict", "/v1/models/small/versions/3:predict",
     "/v1/models/small/labels/stable:predict", "/V1/MODELS/small:PREDICT",
     "/v1/models/sm%61ll:predict"],
)  # fmt: skip
def test_predict_by_every_name(rest: Rest, path: str) -> None:
    response = rest.post(path, ROWS)
    assert (response.status_code, response.json()) == (200, DOUBLED)
    assert response.headers["content-type"] == "application/json"


def test_columns_and_signatures(rest: Rest) -> None:
    body = {"signature_name": "mix", "inputs": {"a": [1, 2], "b": [[0.5, 1], [1, 1]]}}
    assert rest.post("/v1/models/small:predict", body).json() == {
        "outputs": {"sum": [1.5, 3.0], "b": [[0.5, 1.0], [1.0, 1.0]]}
    }
    body = {"signature_name": "mix", "instances": [{"a": 1, "b": [0.5, 1]}]}
    assert rest.post("/v1/models/small:predict", body).json() == {
        "predictions": [{"sum": 1.5, "b": [0.5, 1.0]}]
    }


def test_strings_and_bytes(rest: Rest) -> None:
    body = {"signature_name": "strings", "instances": [{"b64": "/w=="}]}
    response = rest.post("/v1/models/small:predict", body)
    assert response.content.count(b'"shout": "\xff!"') == 1
    body["instances"] = ["hé"]
    assert rest.post("/v1/models/small:predict", body).json() == {
        "predictions": [{"back_bytes": {"b64": "aMOp"}, "length": 3, "shout": "hé!"}]
    }


def test_nan_and_infinity(rest: Rest) -> None:
    response = rest.post("/v1/models/small:predict", b'{"instances": [[NaN, 1, Infinity]]}')
    assert response.status_code == 200 and b"NaN" in response.content


def test_gzip_is_unpacked(rest: Rest) -> None:
    content = gzip.compress(json.dumps(ROWS).encode())
    response = rest.ask("POST", "/v1/models/small:predict", content=content, headers=GZIP)
    assert response.json() == DOUBLED


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        *((method, path, 400, f"Malformed request: {method} {path}") for method, path in (
            ("PUT", "/v1/models/small"), ("DELETE", "/v1/models/small:predict"),
            ("GET", "/v1/models/small:predict"), ("POST", "/v1/models/small"),
            ("POST", "/v1/models/small:dream"), ("POST", "/v1/models/small:predict?a=1"),
            ("POST", "/v1/models/small/versions/x:predict"), ("GET", "/v1/foo"),
        )),
        ("POST", f"/v1/models/small/versions/{2**64}:predict", 400, "Version 184467"),
        ("GET", "/v1/models", 400, "The path names no model"),
        ("GET", "/v1/models/other", 404, "Model other has no versions"),
        ("GET", "/v1/models/small/versions/9", 404, "Model small has no version 9"),
        ("GET", "/v1/models/other/metadata", 404, "Model other is not served"),
    ],
)  # fmt: skip
def test_invalid_paths_are_refused(
    rest: Rest, method: str, path: str, status: int, message: str
) -> None:
    assert refused(rest.ask(method, path), status).startswith(message)


def test_other_paths_are_not_found(rest: Rest) -> None:
    assert rest.get("/nothing").status_code == 404


EXAMPLES = {"examples": [{"x": 1}]}


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("other:predict", ROWS, 404, "Model other is not served"),
        ("small/versions/9:predict", ROWS, 404, "Model small is not served in version 9"),
        ("small/labels/x:predict", ROWS, 400, "Model small has no version label x"),
        ("small:predict", {**ROWS, "signature_name": "no"}, 400, 'The model has no signature "no"'),
        ("small:predict", b"", 400, "The body is not JSON: "),
        ("other:predict", b"", 400, "The body is not JSON: "),
        ("small:predict", b"\xff\xfe\x00garbage", 400, "The body is not JSON: "),
        ("small:predict", {"instances": []}, 400, "'instances' must be a list"),
        ("small:predict", {"instances": [["a", 1, 2]]}, 400, "instances[0]: 'a' is no float"),
        (
            "small:predict",
            {"instances": [[1, 2]]},
            400,
            'Input "latent" of signature '
            '"serving_default" has the shape [1, 2], expected is [?, 3]',
        ),
        ("small:predict", {"instances": [[0, 0, 0]] * 9}, 400, "The request has 9 rows, more than"),
        (
            "small:predict",
            {"inputs": []},
            400,
            'Input "latent" of signature "serving_default" has the shape [0], expected is [?, 3]',
        ),
        ("small:classify", EXAMPLES, 400, 'Signature "serving_default" is not for classify'),
        ("small:regress", EXAMPLES, 400, 'Signature "serving_default" is not for regress'),
        ("small:classify", {"a": 1}, 400, "The body needs 'examples'"),
        ("small:classify", {**EXAMPLES, "signature_name": "x"}, 400, "The model has no signature"),
        ("other:classify", EXAMPLES, 404, "Model other is not served"),
    ],
)
def test_invalid_requests_are_refused(
    rest: Rest, path: str, body: Any, status: int, message: str
) -> None:
    found = refused(rest.post(f"/v1/models/{path}", body), status)
    assert found.startswith(message), found
    assert rest.post("/v1/models/small:predict", ROWS).json() == DOUBLED  # still served


def test_too_large_bodies_are_refused(rest: Rest) -> None:
    response = rest.post("/v1/models/small:predict", b" " * 20_001)
    assert refused(response, 413).startswith("The request is larger than 20000 bytes")
    assert response.headers["connection"] == "close"
    for body, status, message in (
        (gzip.compress(b" " * 10_000_000), 413, "The request is larger than"),
        (b"not gzip", 400, "The body cannot be decompressed"),
    ):
        response = rest.ask("POST", "/v1/models/small:predict", content=body, headers=GZIP)
        assert refused(response, status).startswith(message)


def test_status(rest: Rest) -> None:
    wanted = {
        "model_version_status": [
            {"version": "3", "state": "AVAILABLE",
             "status": {"error_code": "OK", "error_message": ""}}
        ]
    }  # fmt: skip
    for path in ("small", "small/versions/3", "small/labels/stable"):
        assert rest.get(f"/v1/models/{path}").json() == wanted


def test_metadata(rest: Rest) -> None:
    found = rest.get("/v1/models/small/versions/3/metadata").json()
    assert found["model_spec"] == {"name": "small", "signature_name": "", "version": "3"}
    signatures = found["metadata"]["signature_def"]["signature_def"]
    assert set(signatures) == {"serving_default", "mix", "strings", "kinds", "work", "scalar",
                               "__saved_model_init_op"}  # fmt: skip
    signature = signatures["serving_default"]
    assert signature["method_name"] == "tensorflow/serving/predict"
    assert signature["inputs"]["latent"] == {
        "name": "serving_default_latent:0",
        "dtype": "DT_FLOAT",
        "tensor_shape": {
            "dim": [{"size": "-1", "name": ""}, {"size": "3", "name": ""}], "unknown_rank": False
        },
    }  # fmt: skip
    assert rest.get("/v1/models/small/labels/stable/metadata").json() == found


def test_metrics(rest: Rest) -> None:
    def count(line: str) -> float:
        page = rest.get("/monitoring/prometheus/metrics").text
        return next((float(x.split()[-1]) for x in page.splitlines() if x.startswith(line)), 0.0)

    good = ':tensorflow:serving:request_count{model_name="small",status="OK"}'
    bad = ':tensorflow:serving:request_count{model_name="small",status="INVALID_ARGUMENT"}'
    latency = (':tensorflow:serving:request_latency_count{API="predict",entrypoint="REST",'
               'model_name="small"}')  # fmt: skip
    before = count(good), count(bad), count(latency)
    rest.post("/v1/models/small:predict", ROWS)
    rest.post("/v1/models/small:predict", b"")
    assert (count(good), count(bad), count(latency)) == (
        before[0] + 1,
        before[1] + 1,
        before[2] + 1,
    )
    page = rest.get("/monitoring/prometheus/metrics").text
    assert "# TYPE :tensorflow:serving:request_count counter\n" in page
    assert "# TYPE :tensorflow:serving:request_latency histogram\n" in page
    assert "_created" not in page


def test_scalars_are_not_batched(model: Path, rest: Rest) -> None:
    """With batching every input needs rows."""
    response = rest.post("/v1/models/small:predict", {"signature_name": "scalar", "inputs": 2})
    if response.status_code == 200:
        assert response.json() == {"outputs": 4.0}
    else:
        assert refused(response) == "With --batching all inputs need the same number of rows"


def test_slow_requests_time_out(model: Path) -> None:
    rest = Rest(model, limits=Limits(run_seconds=1.0))
    body = {"signature_name": "work", "instances": [10**8]}
    assert refused(rest.post("/v1/models/small:predict", body), 504) == (
        "There was no answer within --run_seconds"
    )
    assert rest.post("/v1/models/small:predict", ROWS).json() == DOUBLED
    rest.close()


def test_too_many_waiting_requests_are_refused(model: Path) -> None:
    rest = Rest(model, limits=Limits(waiting=0))
    assert "Too many requests wait" in refused(rest.post("/v1/models/small:predict", ROWS), 503)
    rest.close()


def test_the_explorer_uses_any_model_with_a_latent(rest: Rest, model: Path) -> None:
    assert rest.server.current() == ("small", 3, model / "3")  # it takes a latent
    assert rest.get("/").status_code == 200
