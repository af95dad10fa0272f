"""The body of a REST request: JSON to tensors, by TensorFlow Serving's rules and in its words.

The rules are those of its `json_tensor.cc`. A body has either `instances`, a list of rows, or
`inputs`, columns; strings may be `{"b64": "..."}`. Lists of numbers as they should be go straight
to numpy; anything else is walked through value by value, to say which one is wrong.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from bladerunner_ae.server.errors import ServingError, invalid
from bladerunner_ae.server.json_values import (
    is_named,
    quick,
    shape_of,
    shown,
    to_array,
    walk,
)

Array = NDArray[Any]
DEFAULT_SIGNATURE = "serving_default"
FindInputs = Callable[[str], Mapping[str, int]]
"""Gives a signature's inputs, name to DataType, of a signature's name, "" for the default one."""

# Python's words for what is wrong with JSON, and those of RapidJSON, which are the server's.
_PARSE_ERRORS = {
    "Expecting value": "Invalid value.",
    "Expecting property name enclosed in double quotes": "Missing a name for object member.",
    "Illegal trailing comma before end of object": "Missing a name for object member.",
    "Illegal trailing comma before end of array": "Invalid value.",
    "Expecting ':' delimiter": "Missing a colon after a name of object member.",
    "Expecting ',' delimiter in [": "Missing a comma or ] after an array element.",
    "Expecting ',' delimiter in {": "Missing a comma or } after an object member.",
    "Extra data": "The document root must not be followed by other values.",
    "Unterminated string starting at": "Missing a closing quotation mark in string.",
    "Invalid control character at": "Invalid encoding in string.",
    "Invalid \\escape": "Invalid escape character in string.",
    "Invalid \\uXXXX escape": "Incorrect hex digit after \\u escape in string.",
}
# Every escape of JSON, pairs of surrogates as one; a surrogate by itself is named.
_ESCAPES = re.compile(
    r"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(?P<lone>u[dD][89a-fA-F])|.)", re.DOTALL
)
_SHORT = 10_000  # further into a body nobody looks for what is open, which can take long


@dataclass(frozen=True)
class PredictBody:
    """What a body asks for.

    Attributes:
        signature: its name; "" means the default one.
        in_rows: whether it came as `instances`, and the answer goes as `predictions`.
        inputs: an array for each input.
    """

    signature: str
    in_rows: bool
    inputs: dict[str, Array]


def parse_object(body: bytes) -> dict[str, Any]:
    """Returns the JSON object of a body.

    Raises:
        ServingError: it is none.
    """
    # As RapidJSON: no check of UTF-8, since strings may be any bytes; a byte order mark is skipped.
    text = body.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    if not text.strip():
        raise invalid("JSON Parse error: The document is empty")
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise invalid(f"JSON Parse error: {_words(error)} at offset: {error.pos}") from None
    except (RecursionError, ValueError) as error:  # nested too deep, a number of a million digits
        raise invalid(f"JSON Parse error: {error}") from None
    _refuse_lone_surrogates(text)
    if not isinstance(found, dict):
        raise invalid(f"JSON Value: {shown(found)} Is not object")
    return found


def _refuse_lone_surrogates(text: str) -> None:
    """Half a character is no text: no answer could repeat it."""
    if "\\ud" not in text and "\\uD" not in text:
        return
    for escape in _ESCAPES.finditer(text):
        if escape["lone"]:
            raise invalid(
                "JSON Parse error: The surrogate pair in string is invalid. at offset: "
                f"{escape.start()}"
            )


def _words(error: json.JSONDecodeError) -> str:
    """What is wrong, in RapidJSON's words."""
    said = error.msg
    if said == "Expecting ',' delimiter":  # of what? of the innermost that is open
        before = error.doc[: error.pos] if error.pos < _SHORT else "["
        structure = re.sub(r'"(?:[^"\\]|\\.)*"|[^][{}]', "", before)
        shorter = None
        while shorter != structure:
            shorter, structure = structure, structure.replace("[]", "").replace("{}", "")
        said += f" in {structure[-1:]}"
    return next((ours for theirs, ours in _PARSE_ERRORS.items() if said.startswith(theirs)), said)


def signature_name(document: dict[str, Any]) -> str:
    """The signature that a body names; "" if it names none."""
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(
            f"JSON Value: {shown(document)} not formatted correctly. 'signature_name' key must be "
            "a string value."
        )
    return name


def parse_predict(body: bytes, find_inputs: FindInputs) -> PredictBody:
    """Reads the body of a `:predict` request.

    Args:
        body: the bytes.
        find_inputs: tells what the named signature takes; raises `ServingError` if there is none.

    Raises:
        ServingError: the body is not as it should be.
    """
    document = parse_object(body)
    signature = signature_name(document)
    types = find_inputs(signature)
    if not types:
        raise invalid(f"Failed to get input map for signature: {signature or 'DEFAULT'}")
    try:
        if "instances" in document:
            return PredictBody(signature, True, _rows(document, types))
        if "inputs" in document:
            return PredictBody(signature, False, _columns(document["inputs"], types))
    except RecursionError:
        raise invalid("JSON Parse error: lists are nested too deep") from None
    raise invalid("Missing 'inputs' or 'instances' key")


def inputs_of(types: Mapping[str, Mapping[str, int]], name: str) -> Mapping[str, int]:
    """Returns what a signature takes.

    Args:
        types: the inputs of each signature, name to DataType.
        name: of the signature; "" means the default one.

    Raises:
        ServingError: there is no such signature.
    """
    name = name or DEFAULT_SIGNATURE
    if name not in types:
        raise invalid(f'Serving signature name: "{name}" not found in signature def')
    return types[name]


def _rows(document: dict[str, Any], types: Mapping[str, int]) -> dict[str, Array]:
    instances = document["instances"]
    if "inputs" in document:
        raise invalid(
            f"JSON Value: {shown(document)} Not formatted correctly expecting only one of 'inputs' "
            "or 'instances' keys to exist "
        )
    if not isinstance(instances, list):
        raise invalid(f"JSON Value: {shown(document)} Excepting 'instances' to be an list/array")
    if not instances:
        raise invalid(f"JSON Value: {shown(document)} No values in 'instances' array")
    if not isinstance(instances[0], dict) and len(types) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    named = is_named(instances[0])
    if (found := _quick_rows(instances, types, named)) is not None:
        return found
    parts: dict[str, _Column] = {}
    for number, element in enumerate(instances):
        _add_row(element, number, named, types, parts)
    return {
        name: to_array(part.values, (len(instances), *part.shape), types[name])
        for name, part in parts.items()
    }


@dataclass
class _Column:
    """What the rows hold for one input so far."""

    values: list[Any]
    shape: tuple[int, ...]


def _quick_rows(
    instances: list[Any], types: Mapping[str, int], named: bool
) -> dict[str, Array] | None:
    """All rows at once; None where anything is not as it should be."""
    if not named:
        ((name, number),) = types.items()
        found = quick(instances, number)
        return None if found is None else {name: found}
    columns = {}
    for name, number in types.items():
        try:
            values = [element[name] for element in instances]
        except (KeyError, TypeError, IndexError):
            return None
        if (found := quick(values, number)) is None:
            return None
        columns[name] = found
    return columns if all(len(element) == len(types) for element in instances) else None


def _add_row(
    element: Any, number: int, named: bool, types: Mapping[str, int], parts: dict[str, _Column]
) -> None:
    if is_named(element) != named:
        found = "object but got list" if named else "value/list but got object"
        raise invalid(f"Expecting {found} at item {number} of input list")
    items = element.items() if named else [(next(iter(types)), element)]
    for name, value in items:
        try:
            _add_item(value, name, types, parts)
        except ServingError as error:
            key = f" key: {name}" if named else ""
            raise invalid(
                f"Failed to process element: {number}{key} of 'instances' list. Error: {error}"
            ) from None
    if named and set(element) != set(types):
        raise invalid(
            f"Failed to process element: {number} of 'instances' list. JSON object: "
            f"{shown(element)} keys must be equal to: {','.join(sorted(types))}"
        )


def _add_item(value: Any, name: str, types: Mapping[str, int], parts: dict[str, _Column]) -> None:
    if name not in types:
        raise invalid(f"JSON object: does not have named input: {name}")
    shape = shape_of(value)
    values: list[Any] = []
    walk(value, 0, shape, types[name], values)
    part = parts.setdefault(name, _Column([], shape))
    if math.prod(part.shape) != len(values):
        raise invalid(f"Expecting tensor size: {math.prod(part.shape)} but got: {len(values)}")
    if part.shape != shape:
        raise invalid(f"Expecting shape {_written(part.shape)} but got: {_written(shape)}")
    part.values.extend(values)


def _columns(inputs: Any, types: Mapping[str, int]) -> dict[str, Array]:
    if not is_named(inputs):
        if len(types) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        inputs = {next(iter(types)): inputs}
    found = {}
    for name, number in types.items():
        if name not in inputs:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
        array = quick(inputs[name], number)
        found[name] = _column(inputs[name], number) if array is None else array
    return found


def _column(value: Any, number: int) -> Array:
    shape = shape_of(value)
    values: list[Any] = []
    walk(value, 0, shape, number, values)
    return to_array(values, shape, number)


def _written(shape: tuple[int, ...]) -> str:
    return f"[{','.join(map(str, shape))}]"
