"""The flags of `python -m bladerunner_ae.train`, generated from the options of a training."""

import dataclasses
import os
import typing
from collections.abc import Sequence
from types import UnionType
from typing import Any

from absl import flags

from bladerunner_ae.objectives import REGISTRY, weight_help
from bladerunner_ae.runs.config import ModelConfig, TrainConfig
from bladerunner_ae.runs.fields import GROUPS, options_of
from bladerunner_ae.training.training_options import TrainingOptions
from tfrecords.storage import is_remote

_FOLDERS = ("data", "model_dir", "fine_tune_from")
# Asked of a start, not of a run: read from a file, the first would delete what is to be resumed.
_NOT_THE_RUN_S = ("overwrite", "dry_run", "spool_dir")


def define_flags(values: flags.FlagValues = flags.FLAGS) -> dict[str, list[str]]:
    """Define the flags, without defaults for a preset's; return group -> names, for --help."""
    groups: dict[str, list[str]] = {group: [] for group in GROUPS}
    for kind in (TrainingOptions, ModelConfig, TrainConfig):
        types = typing.get_type_hints(kind)
        for field in dataclasses.fields(kind):
            option = field.metadata.get("option")
            if option is None or not option.group:
                continue
            default = field.default if kind is TrainingOptions else None
            help_text = option.help.replace("OBJECTIVES", ", ".join(REGISTRY))
            _define(values, field.name, types[field.name], default, help_text)
            groups[option.group].append(field.name)
    for name, help_text in weight_help().items():
        flags.DEFINE_float(name, None, help_text, flag_values=values)
        groups["objective"].append(name)
    return groups


def _define(values: flags.FlagValues, name: str, kind: Any, default: Any, help_text: str) -> None:
    required = default is dataclasses.MISSING
    default = None if required else default
    if isinstance(kind, UnionType):  # the type, or None
        kind = next(part for part in typing.get_args(kind) if part is not type(None))
    if name == "data":
        flags.DEFINE_multi_string(name, default, help_text, required=required, flag_values=values)
    elif typing.get_origin(kind) is not None:
        flags.DEFINE_list(name, list(default), help_text, flag_values=values)
    else:
        define = {bool: flags.DEFINE_bool, int: flags.DEFINE_integer, float: flags.DEFINE_float}
        define.get(kind, flags.DEFINE_string)(
            name, default, help_text, required=required, flag_values=values
        )


def training_options(values: flags.FlagValues, arguments: Sequence[str] = ()) -> TrainingOptions:
    """Return parsed flags as the options of a training; `arguments` is the command line."""
    own = options_of(TrainingOptions)
    changes = [*options_of(ModelConfig), *options_of(TrainConfig), *weight_help()]
    return TrainingOptions(
        **{name: values[name].value for name in own},
        changes={name: values[name].value for name in changes if values[name].value is not None},
        flagfile=given_flags(values),
        flagfiles=flagfiles(arguments),
    )


def given_flags(values: flags.FlagValues) -> str:
    """Return the training flags that a person gave, as the text of a flagfile, one a line.

    The contents of given flagfiles are included and folders are absolute, so that it can be used
    from anywhere. Nothing is quoted, for absl reads every line as it stands; a value that no line
    can hold, such as a line break, is named in a comment.
    """
    lines = []
    for flag in values.get_flags_for_module(__name__):
        if flag.present and flag.name not in _NOT_THE_RUN_S:
            if flag.name in _FOLDERS:
                folders = flag.value if isinstance(flag.value, list) else [flag.value]
                lines += [_line(flag.name, f"--{flag.name}={_absolute(f)}") for f in folders]
            else:
                lines.append(_line(flag.name, flag.serialize()))
    return "".join(f"{line}\n" for line in lines)


def flagfiles(arguments: Sequence[str]) -> list[str]:
    """Return the flagfiles named on a command line."""
    found = []
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        name, given, value = argument.partition("=")
        if name in ("--flagfile", "-flagfile"):
            found.append(value if given else following)
    return [os.path.expanduser(file) for file in found if file]


def _absolute(folder: str) -> str:
    """Return a folder's absolute path, ending in nothing that absl would strip off."""
    if not folder or is_remote(folder):
        return folder
    path = os.path.join(os.getcwd(), folder)
    if not _is_text(path):  # in a folder of such a name a relative one can still be used
        path = folder
    return f"{path}/" if path != path.rstrip() else path


def _line(name: str, line: str) -> str:
    if "\n" in line or "\r" in line or not _is_text(line):
        return f"# --{name} holds what a flagfile cannot; give it beside this file"
    return line


def _is_text(value: str) -> bool:
    """Return whether it can be written as UTF-8, which names of files need not be."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
