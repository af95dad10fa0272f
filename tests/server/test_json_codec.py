"""JSON to tensors and back, by the rules of TensorFlow Serving (its json_tensor_test.cc)."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import numpy as np
import pytest

from bladerunner_ae.server import json_codec
from bladerunner_ae.server.json_codec import PredictBody
from bladerunner_ae.server.serving_errors import Code, ServingError

FLOAT, DOUBLE, INT32, UINT8, STRING, INT64, BOOL, COMPLEX, UINT64 = 1, 2, 3, 4, 7, 9, 10, 8, 23


def parse(body: Any, **types: int) -> PredictBody:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    inputs = types or {"x": FLOAT}
    return json_codec.read_predict(json_codec.parse(text), {"serving_default": inputs, "s": inputs})


def refused(body: Any, status: int = 400, **types: int) -> str:
    with pytest.raises(ServingError) as caught:
        parse(body, **types)
    assert caught.value.http == status
    assert caught.value.code == (Code.INVALID_ARGUMENT if status == 400 else Code.UNIMPLEMENTED)
    assert len(caught.value.message) < 300
    return caught.value.message


def array(values: Any, kind: Any = np.float32) -> Any:
    return np.array(values, kind)


@pytest.mark.parametrize(
    ("body", "types", "wanted"),
    [
        ({"instances": [[1, 2.5], [3, 4]]}, {}, {"x": array([[1, 2.5], [3, 4]])}),
        ({"instances": [7]}, {}, {"x": array([7])}),
        ({"signature_name": "s", "instances": [{"a": 1, "b": [0.5]}, {"b": [1], "a": 2}]},
         {"a": INT32, "b": FLOAT}, {"a": array([1, 2], np.int32), "b": array([[0.5], [1]])}),
        ({"inputs": {"a": [1, 2], "b": [[0.5], [1]]}}, {"a": INT32, "b": FLOAT},
         {"a": array([1, 2], np.int32), "b": array([[0.5], [1]])}),
        ({"inputs": [[1], [2]]}, {}, {"x": array([[1], [2]])}),
        ({"inputs": 3}, {}, {"x": array(3)}),
        ({"inputs": []}, {}, {"x": array([])}),
        ({"inputs": [[], []]}, {}, {"x": np.zeros((2, 0), np.float32)}),
        ({"instances": [{"b64": "/wA="}, "ä"]}, {"x": STRING},
         {"x": array([b"\xff\x00", "ä".encode()], object)}),
        ({"inputs": {"b64": "Y\nQ"}}, {"x": STRING}, {"x": array(b"a", object)}),
        # Bytes that are no UTF-8 are let through.
        (b'{"instances": ["\xfe"]}', {"x": STRING}, {"x": array([b"\xfe"], object)}),
        (b'\xef\xbb\xbf{"inputs": [1]}', {}, {"x": array([1])}),
        (b'{"instances": [NaN, Infinity, -Infinity, 1]}', {},
         {"x": array([np.nan, np.inf, -np.inf, 1])}),
        ({"instances": [300, -1]}, {"x": UINT8}, {"x": array([44, 255], np.uint8)}),
        ({"instances": [2**62]}, {"x": INT64}, {"x": array([2**62], np.int64)}),
        ({"instances": [2**64 - 1]}, {"x": UINT64}, {"x": array([2**64 - 1], np.uint64)}),
        ({"instances": [True]}, {"x": BOOL}, {"x": array([True], bool)}),
    ],
)  # fmt: skip
def test_bodies_become_arrays(body: Any, types: Any, wanted: dict[str, Any]) -> None:
    found = parse(body, **types)
    assert found.in_rows == (
        b"instances" in (body if isinstance(body, bytes) else repr(body).encode())
    )
    assert found.signature == ("s" if "signature_name" in str(body) else "")
    assert set(found.inputs) == set(wanted)
    for name, values in wanted.items():
        assert found.inputs[name].dtype == values.dtype
        assert found.inputs[name].shape == values.shape
        np.testing.assert_array_equal(found.inputs[name], values)


@pytest.mark.parametrize(
    ("value", "kind", "fits"),
    [
        (2**24 - 1, FLOAT, True), (2**24, FLOAT, False), (-(2**24), FLOAT, False),
        (16777217.5, FLOAT, True), (3e38, FLOAT, True), (4e38, FLOAT, False),
        (10**30, FLOAT, True), (10**400, FLOAT, False), (2**53 - 1, DOUBLE, True),
        (2**53, DOUBLE, False), (1e300, DOUBLE, True), (10**400, DOUBLE, False),
    ],
)  # fmt: skip
def test_floats_lose_no_digits(value: float, kind: int, fits: bool) -> None:
    for values in ([value], [0.5, value, float("nan")]):
        if fits:
            found = parse({"inputs": values}, x=kind).inputs["x"]
            np.testing.assert_array_equal(found, np.array(values, found.dtype))
        else:
            where = f"inputs.x[{len(values) // 2}]: "
            message = refused({"inputs": values}, x=kind)
            assert message.startswith(where) and "loses precision as" in message


@pytest.mark.parametrize(
    ("body", "types", "message"),
    [
        (b"", {}, "The body is not JSON: Expecting value: line 1 column 1 (char 0)"),
        (b"nope", {}, "The body is not JSON: "),
        (b"{} x", {}, "The body is not JSON: Extra data: line 1 column 4"),
        (b'{"a": [1 2]}', {}, "The body is not JSON: Expecting ',' delimiter: line 1 column 10"),
        (b"[" * 100_000, {}, "The body is not JSON: "),
        (b'{"a":' * 100_000, {}, "The body is not JSON: "),
        (b'{"inputs": ' + b"9" * 5000 + b"}", {}, "The body is not JSON: "),
        (b'{"in\\ud800": [1]}', {}, "The body is not JSON: lone surrogate at char 4"),
        (b'{"a\\\\ud800\\ud83d\\ude00": "\\ude00"}', {}, "The body is not JSON: lone surrogate at "
         "char 26"),
        (b'{"a\\\\ud800\\uD83D\\uDE00\xff": 1}', {}, "The body needs either"),
        (b'{"instances": ' + b"[" * 100 + b"1" + b"]" * 100 + b"}", {}, "instances: maximum"),
        ([1], {}, "The body must be a JSON object, not [1]"),
        ({}, {}, "The body needs either 'instances' or 'inputs'"),
        ({"inputs": [1], "instances": [1]}, {}, "The body needs either"),
        ({"signature_name": 1}, {}, "signature_name must be a string, not 1"),
        ({"signature_name": "no"}, {}, 'The model has no signature "no"'),
        ({"instances": 1}, {}, "'instances' must be a list of rows, not 1"),
        ({"instances": []}, {}, "'instances' must be a list of rows, not []"),
        ({"instances": "x" * 10_000_000}, {}, "'instances' must be a list of rows, not 'xxx"),
        ({"instances": [[1, 2], [3]]}, {}, "instances[1]: [3] is not a list of 2"),
        ({"instances": [[[1], [2]], [[1, 2]]]}, {}, "instances[1]: [[1, 2]] is not a list of 2"),
        ({"instances": [[[1], [2]], [[1], [1, 2]]]}, {}, "instances[1]: [1, 2] is not a list of 1"),
        ({"instances": [[1, [2]]]}, {}, "instances[0]: [2] is no float"),
        ({"instances": [[[1], 2]]}, {}, "instances[0]: 2 is not a list of 1"),
        ({"instances": [[0.5], [True]]}, {}, "instances[1]: True is no float"),
        ({"instances": [{"y": 1}]}, {}, "instances[0]: needs the inputs x by name"),
        ({"instances": [{"x": 1}, 2]}, {}, "instances[1]: needs the inputs x by name"),
        ({"instances": [1, {"x": 1}]}, {}, "instances[1]: {'x': 1} is no float"),
        ({"instances": [{}]}, {}, "instances[0]: needs the inputs x by name, not {}"),
        ({"instances": [{"x": 1}, {"x": "a"}]}, {}, "instances[1].x: 'a' is no float"),
        ({"inputs": [[1, 2], [3]]}, {}, "inputs.x[1]: [3] is not a list of 2"),
        ({"inputs": "a"}, {}, "inputs.x: 'a' is no float"),
        ({"inputs": {"y": 1}}, {}, "inputs.x: is missing"),
        ({"instances": [1]}, {"a": FLOAT, "b": FLOAT}, "Each row of 'instances' needs the inputs "
         "a, b by name"),
        ({"inputs": [1]}, {"a": FLOAT, "b": FLOAT}, "'inputs' needs the inputs a, b by name"),
        *(({"inputs": [value]}, {"x": INT32}, f"inputs.x[0]: {value!r} is no int32")
          for value in (1.5, "1", None, True, {"y": 1})),
        ({"inputs": [1, 2**31]}, {"x": INT32}, "inputs.x[1]: 2147483648 does not fit int32"),
        ({"inputs": [2**31]}, {"x": UINT8}, "inputs.x[0]: 2147483648 does not fit uint8"),
        ({"inputs": [-1]}, {"x": UINT64}, "inputs.x[0]: -1 does not fit uint64"),
        ({"instances": [1]}, {"x": BOOL}, "instances[0]: 1 is no bool"),
        *(({"instances": ["a", value]}, {"x": STRING}, f"instances[1]: {value} is neither a string")
          for value in (1, {"b64": 1}, {"b64": "!"})),
    ],
)  # fmt: skip
def test_malformed_bodies_are_refused(body: Any, types: Any, message: str) -> None:
    assert refused(body, **types).startswith(message)


def test_types_without_json_are_unimplemented() -> None:
    assert refused({"inputs": [1]}, 501, x=COMPLEX) == "inputs.x: JSON holds no complex64"


def rows(**outputs: Any) -> Any:
    return json.loads(json_codec.predictions(outputs))["predictions"]


def columns(**outputs: Any) -> Any:
    return json.loads(json_codec.columns(outputs))["outputs"]


def test_outputs_become_json() -> None:
    one = np.array([[1, 2], [3, 4]], np.int32)
    assert rows(y=one) == columns(y=one) == [[1, 2], [3, 4]]
    two = {"y": np.array([1, 2], np.uint8), "z": np.array([[True], [False]])}
    assert rows(**two) == [{"y": 1, "z": [True]}, {"y": 2, "z": [False]}]
    assert columns(**two) == {"y": [1, 2], "z": [[True], [False]]}
    assert columns(y=np.array([[2**63 - 1], [-(2**63)]])) == [[2**63 - 1], [-(2**63)]]
    assert columns(y=np.zeros((2, 0, 3))) == [[], []] and rows(y=np.zeros((0, 3))) == []
    assert columns(y=np.array(1.5, np.float32)) == 1.5


def test_strings_go_as_text_or_base64() -> None:
    binary = np.array([[b"\xff"], [b""]], object)
    assert columns(y_bytes=binary) == rows(y_bytes=binary) == [[{"b64": "/w=="}], [{"b64": ""}]]
    assert columns(y_bytes=np.zeros((0, 2), object)) == []
    assert b'["a\\"\xff"]' in json_codec.columns({"y": np.array([b'a"\xff'], object)})


def test_floats_come_back_exactly() -> None:
    """Their text is the shortest one: 0.2, not 0.20000000298023224."""
    values = np.array([0.2, 1, 1e-5, 9e6, 0.1234567, 1e-45, np.inf, -np.inf], np.float32)
    assert columns(y=values) == [0.2, 1.0, 1e-5, 9e6, 0.1234567, 1e-45, np.inf, -np.inf]
    assert b"[NaN]" in json_codec.columns({"y": np.array([np.nan], np.float32)})
    many = np.random.default_rng(0).integers(0, 2**32, 5000).astype(np.uint32).view(np.float32)
    many = many[np.isfinite(many)]
    np.testing.assert_array_equal(np.array(columns(y=many), np.float32), many)
    large = np.random.default_rng(0).normal(size=(3, 9, 1000))
    assert columns(y=large) == rows(y=large) == large.tolist()


def test_pictures_take_little_memory() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (2, 100, 200, 3)).astype(np.uint8)
    tracemalloc.start()
    try:
        body = json_codec.predictions({"image": pictures})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert json.loads(body)["predictions"] == pictures.tolist()
    assert peak < 50 * pictures.size


@pytest.mark.parametrize(
    "outputs",
    [{"y": np.zeros(())}, {"y": np.zeros(2), "z": np.zeros(3)}, {"y": np.zeros(2, np.float16)}, {}],
)
def test_outputs_without_rows_are_refused(outputs: Any) -> None:
    with pytest.raises(ServingError) as caught:
        json_codec.predictions(outputs)
    assert caught.value.http == 400
