"""JSON to tensors and back, as TensorFlow Serving has it (its json_tensor_test.cc)."""

from __future__ import annotations

import base64
import json
import tracemalloc
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from bladerunner_ae.server import json_answers
from bladerunner_ae.server.errors import Code, ServingError
from bladerunner_ae.server.json_requests import PredictBody, parse_predict

FLOAT, INT32, UINT8, STRING, INT64, BOOL, COMPLEX = 1, 3, 4, 7, 9, 10, 8


def parse(body: Any, **types: int) -> PredictBody:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parse_predict(text, lambda name: types or {"x": FLOAT})


def refused(body: Any, **types: int) -> str:
    with pytest.raises(ServingError) as caught:
        parse(body, **types)
    assert caught.value.code == Code.INVALID_ARGUMENT and caught.value.http == 400
    return caught.value.message


def check(found: Mapping[str, Any], **wanted: Any) -> None:
    assert set(found) == set(wanted)
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape
        np.testing.assert_array_equal(found[name], array)


def test_rows_without_names() -> None:
    found = parse({"instances": [[1, 2.5], [3, 4]]})
    assert found.in_rows and found.signature == ""
    check(found.inputs, x=np.array([[1, 2.5], [3, 4]], np.float32))
    check(parse({"instances": [7]}).inputs, x=np.array([7], np.float32))


def test_rows_with_names() -> None:
    body = {"signature_name": "s", "instances": [{"a": 1, "b": [0.5]}, {"b": [1], "a": 2}]}
    found = parse(body, a=INT32, b=FLOAT)
    assert found.signature == "s"
    check(found.inputs, a=np.array([1, 2], np.int32), b=np.array([[0.5], [1]], np.float32))


def test_columns() -> None:
    found = parse({"inputs": {"a": [1, 2], "b": [[0.5], [1]]}}, a=INT32, b=FLOAT)
    assert not found.in_rows
    check(found.inputs, a=np.array([1, 2], np.int32), b=np.array([[0.5], [1]], np.float32))
    check(parse({"inputs": [[1], [2]]}).inputs, x=np.array([[1], [2]], np.float32))
    check(parse({"inputs": 3}).inputs, x=np.array(3, np.float32))
    check(parse({"inputs": []}).inputs, x=np.zeros(0, np.float32))


def test_strings_and_bytes() -> None:
    binary = {"b64": base64.b64encode(b"\xff\x00").decode()}
    wanted = np.array([b"\xff\x00", "ä".encode()], object)
    check(parse({"instances": [binary, "ä"]}, x=STRING).inputs, x=wanted)
    check(parse({"inputs": {"b64": "YQ"}}, x=STRING).inputs, x=np.array(b"a", object))
    # RapidJSON lets bytes that are no UTF-8 through.
    check(parse(b'{"instances": ["\xfe"]}', x=STRING).inputs, x=np.array([b"\xfe"], object))
    assert refused({"instances": [{"b64": "!"}]}, x=STRING).endswith("Unable to base64 decode")
    assert "not formatted correctly for base64 data" in refused({"inputs": [{"b64": 1}]}, x=STRING)
    assert refused({"instances": [1]}, x=STRING).endswith(
        "JSON Value: 1 Type: Number is not of expected type: string"
    )


def test_numbers_that_are_none() -> None:
    found = parse(b'{"instances": [NaN, Infinity, -Infinity, 1]}').inputs["x"]
    assert np.isnan(found[0]) and found[1:].tolist() == [np.inf, -np.inf, 1]


def test_whole_numbers() -> None:
    check(parse({"instances": [300, -1]}, x=UINT8).inputs, x=np.array([44, 255], np.uint8))
    check(parse({"instances": [2**62]}, x=INT64).inputs, x=np.array([2**62], np.int64))
    check(parse({"instances": [True]}, x=BOOL).inputs, x=np.array([True]))
    for value in (1.5, 2**31, "1", None, True, {"y": 1}):
        assert "is not of expected type: int32" in refused({"inputs": [value]}, x=INT32)
    assert "Type: True is not of expected type: float" in refused({"instances": [0.5, True]})
    assert "Type: Number is not of expected type: bool" in refused({"instances": [1]}, x=BOOL)


FITTING = [
    (2**24 - 1, True), (2**24, False), (16777217.5, True), (3e38, True), (4e38, False),
    (-(2**24), False),
]  # fmt: skip


@pytest.mark.parametrize(("value", "fits"), FITTING)
def test_floats_that_would_lose_digits(value: float, fits: bool) -> None:
    if fits:
        assert parse({"inputs": [value]}).inputs["x"][0] == np.float32(value)
    else:
        assert "to float without loss of precision." in refused({"inputs": [value]})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "JSON Parse error: The document is empty"),
        (b"nope", "JSON Parse error: Invalid value. at offset: 0"),
        (b'{"a" 1}', "JSON Parse error: Missing a colon after a name of object member. at "
         "offset: 5"),
        (b"{} x", "JSON Parse error: The document root must not be followed by other values. at "
         "offset: 3"),
        (b'{"a": "', "JSON Parse error: Missing a closing quotation mark in string. at offset: 6"),
        (b'{"a": [1 2]}', "JSON Parse error: Missing a comma or ] after an array element. at "
         "offset: 9"),
        (b'{"a{": [[]] "b": 1}', "JSON Parse error: Missing a comma or } after an object member. "
         "at offset: 12"),
        (b"[" * 100_000, "JSON Parse error: "),
        (b'{"instances": ' + b"[" * 100 + b"1" + b"]" * 100 + b"}", "tensor parsing error: "),
        (b'{"in\\ud800": [1]}', "JSON Parse error: The surrogate pair in string is invalid. at "
         "offset: 4"),
        (b'{"a\\\\ud800\\ud83d\\ude00": "\\ude00"}', "JSON Parse error: The surrogate pair in "
         "string is invalid. at offset: 26"),
        (b'{"a\\\\ud800\\uD83D\\uDE00\xff": 1}', "Missing 'inputs' or 'instances' key"),
        (b'{"inputs": ' + b"9" * 5000 + b"}", "JSON Parse error: "),
        ([1], "JSON Value: [\n    1\n] Is not object"),
        ({}, "Missing 'inputs' or 'instances' key"),
        ({"inputs": [1], "instances": [1]}, "JSON Value: {"),
        ({"instances": 1}, "JSON Value: {\n    \"instances\": 1\n} Excepting 'instances' to be an "
         "list/array"),
        ({"instances": []}, "JSON Value: {\n    \"instances\": []\n} No values in 'instances' "
         "array"),
        ({"signature_name": 1}, "JSON Value: {"),
        ({"instances": [[1, 2], [3]]}, "Failed to process element: 1 of 'instances' list. Error: "
         "INVALID_ARGUMENT: Expecting tensor size: 2 but got: 1"),
        ({"instances": [[[1], [2]], [[1, 2]]]}, "Failed to process element: 1 of 'instances' list. "
         "Error: INVALID_ARGUMENT: Expecting shape [2,1] but got: [1,2]"),
        ({"instances": [[1, [2]]]}, "Failed to process element: 0 of 'instances' list. Error: "
         "INVALID_ARGUMENT: Encountered list at unexpected level: 1 expected < 1"),
        ({"instances": [[[1], 2]]}, "Failed to process element: 0 of 'instances' list. Error: "
         "INVALID_ARGUMENT: JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at "
         "level: 2"),
        ({"inputs": [[1, 2], [3]]}, "Encountered list at unexpected size: 1 at level: 1 expected "
         "size: 2"),
        ({"instances": [{"y": 1}]}, "Failed to process element: 0 key: y of 'instances' list. "
         "Error: INVALID_ARGUMENT: JSON object: does not have named input: y"),
        ({"instances": [{"x": 1}, 2]}, "Expecting object but got list at item 1 of input list"),
        ({"instances": [1, {"x": 1}]}, "Expecting value/list but got object at item 1 of input "
         "list"),
        ({"instances": [{}]}, "Failed to process element: 0 of 'instances' list. JSON object: {} "
         "keys must be equal to: x"),
        ({"inputs": {"y": 1}}, "Missing named input: x in 'inputs' object."),
    ],
)  # fmt: skip
def test_bodies_that_are_wrong(body: Any, message: str) -> None:
    assert refused(body).startswith(message)


def test_several_inputs_need_names() -> None:
    assert refused({"instances": [1]}, a=FLOAT, b=FLOAT).startswith("instances is a plain list")
    assert refused({"inputs": [1]}, a=FLOAT, b=FLOAT).startswith("inputs is a plain value/list")


def test_a_type_without_json() -> None:
    with pytest.raises(ServingError, match="Conversion of JSON Value: 1 to type: complex64") as e:
        parse({"inputs": [1]}, x=COMPLEX)
    assert e.value.http == 501


def test_long_values_are_cut_off_in_messages() -> None:
    assert len(refused({"instances": "x" * 10_000_000})) < 1000


def test_quick_and_slow_ways_agree() -> None:
    """A `true` anywhere in the body makes every value be walked through by itself."""
    rows = np.random.default_rng(0).normal(size=(3, 4, 2)).round(3).tolist()
    for body in ({"instances": rows}, {"inputs": rows}, {"instances": [{"x": r} for r in rows]}):
        quick = parse(body).inputs
        check(parse({**body, "other": True}).inputs, **quick)


def answer(body: bytes) -> Any:
    return json.loads(body)


def test_one_output_goes_without_its_name() -> None:
    one = {"y": np.array([[1, 2], [3, 4]], np.int32)}
    assert answer(json_answers.predictions(one)) == {"predictions": [[1, 2], [3, 4]]}
    assert answer(json_answers.columns(one)) == {"outputs": [[1, 2], [3, 4]]}


def test_several_outputs_have_names() -> None:
    two = {"y": np.array([1, 2], np.uint8), "z": np.array([[True], [False]])}
    assert answer(json_answers.predictions(two)) == {
        "predictions": [{"y": 1, "z": [True]}, {"y": 2, "z": [False]}]
    }
    assert answer(json_answers.columns(two)) == {"outputs": {"y": [1, 2], "z": [[True], [False]]}}


def test_bytes_by_their_names_end() -> None:
    strings = np.array([b"\xff"], object)
    assert answer(json_answers.columns({"y_bytes": strings})) == {"outputs": [{"b64": "/w=="}]}
    assert json_answers.columns({"y": np.array([b'a"\xff'], object)}) == (
        b'{\n    "outputs": ["a\\"\xff"]\n}'
    )


def test_floats_have_the_digits_that_they_need() -> None:
    """0.2 and not 0.20000000298023224; whole numbers keep a point."""
    values = np.array([0.2, 1, 1e-5, 9e6, 0.1234567, np.nan, np.inf, -np.inf], np.float32)
    assert b"[0.2, 1.0, 1e-05, 9e+06, 0.123456702, NaN, Infinity, -Infinity]" in (
        json_answers.columns({"y": values})
    )
    many = np.random.default_rng(0).normal(size=500).astype(np.float32)
    found = answer(json_answers.columns({"y": many}))["outputs"]
    np.testing.assert_array_equal(np.array(found, np.float32), many)
    double = np.array([1 / 3])
    assert answer(json_answers.columns({"y": double}))["outputs"] == double.tolist()


def test_pictures_take_little_memory() -> None:
    """A text for each of the 256 values, not for each value of each picture."""
    pictures = np.random.default_rng(0).integers(0, 256, (2, 100, 300, 3)).astype(np.uint8)
    tracemalloc.start()
    try:
        body = json_answers.predictions({"image": pictures})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert answer(body)["predictions"] == pictures.tolist()
    assert peak < 50 * pictures.size


def test_empty_and_scalar_outputs() -> None:
    assert answer(json_answers.columns({"y": np.zeros((2, 0, 3))})) == {"outputs": [[], []]}
    assert answer(json_answers.columns({"y": np.float32(1.5) + np.zeros(())})) == {"outputs": 1.5}
    assert answer(json_answers.predictions({"y": np.zeros((0, 3))})) == {"predictions": []}
    with pytest.raises(ServingError, match="Tensor name: y has no shape information"):
        json_answers.predictions({"y": np.zeros(())})
    with pytest.raises(ServingError, match="inconsistent batch size: 3 expecting: 2"):
        json_answers.predictions({"y": np.zeros(2), "z": np.zeros(3)})
    with pytest.raises(ServingError, match="Failed to write JSON value for tensor type"):
        json_answers.columns({"y": np.zeros(2, np.float16)})
