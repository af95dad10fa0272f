"""How large a request can be, judging by what a model's signatures take."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bladerunner_ae.protocol.tensors import STRING

_BYTES_AN_ITEM = 64  # a double has 24 digits at most; the rest is for white space
_BYTES_AN_UNKNOWN_ITEM = 8
_SPARE_ITEMS = 1024
_SPARE_BYTES = 64 << 10


@dataclass(frozen=True)
class Sizes:
    """The most that a request may have.

    Attributes:
        bytes: of a body.
        values: of a tensor.
        items: values, lists and objects of a body in JSON, together.
    """

    bytes: int
    values: int
    items: int


def of_signatures(definitions: Iterable[Any], rows: int, most_bytes: int) -> Sizes:
    """Returns what the most demanding signature can want.

    Args:
        definitions: `SignatureDef`s.
        rows: of a request at most.
        most_bytes: of a body in any case. Where a signature leaves open how much it takes (strings,
            unknown dimensions), this is all that bounds it.
    """
    found = [_of_signature(definition.inputs, rows, most_bytes) for definition in definitions]
    return Sizes(
        min(max((one.bytes for one in found), default=0) + _SPARE_BYTES, most_bytes),
        min(max((one.values for one in found), default=0) + _SPARE_ITEMS, most_bytes),
        min(max((one.items for one in found), default=0) + _SPARE_ITEMS, most_bytes),
    )


def _of_signature(inputs: Mapping[str, Any], rows: int, most_bytes: int) -> Sizes:
    values, items, has_strings = 0, rows * (1 + len(inputs)), False  # rows may be objects
    for info in inputs.values():
        shape = [dim.size for dim in info.tensor_shape.dim]
        if shape and shape[0] < 0:
            shape[0] = rows
        if info.tensor_shape.unknown_rank or min(shape, default=0) < 0:
            return Sizes(most_bytes, most_bytes, most_bytes // _BYTES_AN_UNKNOWN_ITEM)
        values = max(values, math.prod(shape))
        # Its lists, the lists in these, and so on to the values themselves.
        items += sum(math.prod(shape[:depth]) for depth in range(len(shape) + 1))
        if info.dtype == STRING:
            has_strings = True
            items += math.prod(shape)  # {"b64": "..."}
    return Sizes(most_bytes if has_strings else items * _BYTES_AN_ITEM, values, items)
