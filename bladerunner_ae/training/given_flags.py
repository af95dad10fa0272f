"""RUN/flags.txt: what a run was asked for, as a flagfile that asks for the same again."""

import os
from collections.abc import Sequence

from absl import flags

from bladerunner_ae.training import flags as train_flags
from tfrecords.storage import is_remote

_FOLDERS = ("data", "model_dir", "fine_tune_from")
# What a start was asked for, not a run: read from a file, the first would delete what it is to
# go on with.
_NOT_THE_RUN_S = ("overwrite", "dry_run")


def given_flags(values: flags.FlagValues) -> str:
    """Returns the training flags that a person gave, as the text of a flagfile.

    Flagfiles among them are gone through, so that the text needs none of them. Folders are named
    from the root on, so that it can be used from anywhere.

    Args:
        values: parsed, with the flags of `train_flags`.

    Returns:
        A flag a line. Nothing is quoted, for absl reads every line as it stands. What no line can
        hold, such as a line break, is named in a comment.
    """
    lines = []
    for flag in values.get_flags_for_module(train_flags):
        if flag.present and flag.name not in _NOT_THE_RUN_S:
            if flag.name in _FOLDERS:
                folders = flag.value if isinstance(flag.value, list) else [flag.value]
                lines += [_line(flag.name, f"--{flag.name}={_rooted(f)}") for f in folders]
            else:
                lines.append(_line(flag.name, flag.serialize()))
    return "".join(f"{line}\n" for line in lines)


def flagfiles(arguments: Sequence[str]) -> list[str]:
    """Returns the flagfiles named on a command line."""
    found = []
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        name, given, value = argument.partition("=")
        if name in ("--flagfile", "-flagfile"):
            found.append(value if given else following)
    return [os.path.expanduser(file) for file in found if file]


def _rooted(folder: str) -> str:
    """Returns a folder's path from the root on, ending in nothing that absl would strip off."""
    if not folder or is_remote(folder):
        return folder
    rooted = os.path.join(os.getcwd(), folder)
    if not _is_text(rooted):  # whoever stands in a folder of such a name can still go on from there
        rooted = folder
    return f"{rooted}/" if rooted != rooted.rstrip() else rooted


def _line(name: str, line: str) -> str:
    if "\n" in line or "\r" in line or not _is_text(line):
        return f"# --{name} holds what a flagfile cannot; give it beside this file"
    return line


def _is_text(value: str) -> bool:
    """Whether it can be written as UTF-8, which names of files need not be."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
