"""Fields of configuration dataclasses: help, allowed values, JSON, differences.

A field made by `option` with a group is a flag of `bladerunner_ae.train`, listed in that group.
"""

import dataclasses
import json
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from bladerunner_ae.errors import InputError, UsageError

Config = TypeVar("Config")

GROUPS = ("data", "network", "objective", "learning", "watching", "output")
"""Groups of the flags of `bladerunner_ae.train`, in the order in which --help lists them."""

_LARGEST = 2**53


@dataclass(frozen=True)
class Option:
    """Help and allowed values of a field.

    Attributes:
        group: one of `GROUPS`; empty: the field has no flag.
        allowed: the values in words, for an error: "give ...".
        least, most: smallest and largest value.
        above, below: open ends of the range.
        choices: allowed texts; empty: any.
    """

    help: str = ""
    group: str = ""
    allowed: str = ""
    least: float = -math.inf
    most: float = math.inf
    above: float = -math.inf
    below: float = math.inf
    choices: tuple[str, ...] = ()

    def allows(self, value: Any) -> bool:
        """Return whether a field may have this value; NaN never."""
        if self.choices:
            return value in self.choices
        if not isinstance(value, int | float):
            return True
        return self.least <= value <= self.most and self.above < value < self.below

    @property
    def words(self) -> str:
        if self.choices:
            return f"{', '.join(self.choices[:-1])} or {self.choices[-1]}"
        return self.allowed or f"{self.least:g} or more"


def option(
    default: Any = dataclasses.MISSING, help: str = "", group: str = "", **allowed: Any
) -> Any:
    """Return a dataclass field; for `allowed` see `Option`."""
    made = Option(help, group, **allowed)
    return dataclasses.field(default=default, metadata={"option": made})


def options_of(kind: Any) -> dict[str, Option]:
    """Return the options of a dataclass, or of one of its values, that are flags, by field."""
    return {name: option for name, option in _options(kind).items() if option.group}


def _options(kind: Any) -> dict[str, Option]:
    fields = dataclasses.fields(kind)
    return {f.name: f.metadata["option"] for f in fields if "option" in f.metadata}


def check(config: Any) -> None:
    """Check that every field has an allowed value; the error names its flag, if it has one."""
    for name, allowed in _options(config).items():
        value = getattr(config, name)
        if not allowed.allows(value):
            text = value if isinstance(value, str) else f"{value:g}"
            verb = "choose" if allowed.choices else "give"
            flag = f"--{name}" if allowed.group else name
            raise UsageError(f"{flag}={text}: {verb} {allowed.words}")


def to_json(config: Any) -> dict[str, Any]:
    """Return a dataclass as plain JSON values (tuples become lists)."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def from_json(kind: type[Config], values: Any) -> Config:
    """Build dataclass `kind` from what `to_json` gave.

    InputError if this version does not know a field; ValueError if the values are damaged.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{kind.__name__} is {_short(values)}")
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    if unknown := values.keys() - {field.name for field in fields}:
        raise InputError(f"does not fit this version: unknown {', '.join(sorted(unknown))}")
    missing = [
        field.name
        for field in fields
        if field.name not in values and field.default is dataclasses.MISSING
    ]
    if missing:
        raise ValueError(f"{kind.__name__} has no {', '.join(missing)}")
    return kind(
        **{f.name: _decoded(f.name, values[f.name], f.type) for f in fields if f.name in values}
    )


def _decoded(name: str, value: Any, kind: Any) -> Any:
    """Return a JSON value as a field of type `kind` holds it."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return from_json(kind, value)  # type: ignore[arg-type]
    if origin is types.UnionType:  # of a type and None
        return None if value is None else _decoded(name, value, args[0])
    if origin is tuple and isinstance(value, list | tuple):
        kinds = [args[0]] * len(value) if args[1] is ... else args
        if len(kinds) == len(value):
            return tuple(_decoded(name, item, k) for item, k in zip(value, kinds, strict=True))
    if origin is dict and isinstance(value, dict):
        return {key: _decoded(key, item, args[1]) for key, item in value.items()}
    allowed = (int, float) if kind is float else (kind,)
    small = not isinstance(value, int) or abs(value) <= _LARGEST
    if kind is Any or (type(value) in allowed and small):
        return value
    raise ValueError(f"{name} is {_short(value)}")


def _short(value: Any) -> str:
    return str(value)[:40]


def differences(ours: Any, theirs: Any, ignore: tuple[str, ...] = ()) -> list[str]:
    """List the fields in which two values of one dataclass differ: "steps: 900 -> 300"."""
    return [
        f"{field.name}: {getattr(theirs, field.name)} -> {getattr(ours, field.name)}"
        for field in dataclasses.fields(ours)
        if field.name not in ignore
        if getattr(theirs, field.name) != getattr(ours, field.name)
    ]
