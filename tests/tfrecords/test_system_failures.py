"""Failures of the operating system, as Python and TensorFlow report them."""

from __future__ import annotations

import errno
import os
import sys

import pytest

from bladerunner_ae.errors import InputError, OutputError, system_error
from tfrecords.system_failures import (
    is_no_fault_of_the_file,
    is_out_of_memory,
    system_failure,
    system_failure_in,
)

# Number, exit code, reason, a word of the cure.
KINDS = [
    (errno.ENOSPC, 3, "the disk is full", "free some space"),
    (errno.EDQUOT, 3, "disk quota exceeded", "ask for a larger quota"),
    (errno.EMFILE, 3, "too many open files in this process", "ulimit -n"),
    (errno.ENFILE, 3, "too many open files on this machine", "close other programs"),
    (errno.EIO, 3, "input/output error of the drive", "check the drive"),
    (errno.EFBIG, 3, "file too large for this file system", "ulimit -f"),
    (errno.ESTALE, 3, "stale file handle", "mount it again"),
    (errno.EROFS, 2, "read-only file system", "choose another folder"),
    (errno.EACCES, 2, "permission denied", "fix the permissions"),
    (errno.ENAMETOOLONG, 2, "file name too long", "choose a shorter one"),
]
# What TensorFlow 2.21 says of a checkpoint that cannot be written, and Keras of the step it broke.
QUOTED = (
    "{{{{function_node __wrapped__SaveV2_dtypes_9_device_/job:localhost/replica:0/task:0/device:"
    "CPU:0}}}} runs/my run/checkpoints/step-3_temp/part-00000-of-00001; {} [Op:SaveV2]",
    "Graph execution error:\n\nDetected at node IteratorGetNext\nOP_REQUIRES failed: "
    "RESOURCE_EXHAUSTED: /data/film/frames-00001-of-00016.tfrecord; {}\n\t [[IteratorGetNext]]",
)


@pytest.mark.parametrize(("number", "code", "reason", "cure"), KINDS)
def test_each_is_told_as_what_it_is(number: int, code: int, reason: str, cure: str) -> None:
    words = os.strerror(number)
    for error, path in (
        (OSError(number, words, "a/b"), "a/b"),
        (OSError(number, words, "a/.b.partial", None, "a/b"), "a/b"),
        (RuntimeError(QUOTED[0].format(words)), "runs/my run/checkpoints/step-3_temp/part-00000-of"
         "-00001"),
        (RuntimeError(QUOTED[1].format(words)), "/data/film/frames-00001-of-00016.tfrecord"),
    ):  # fmt: skip
        found = system_failure(error)
        assert found is not None and (found.number, found.exit_code) == (number, code)
        assert found.path == path
        assert found.line().startswith(f"{path}: {reason}") and cure in found.line()
        assert "memory" not in found.line() and "--overwrite" not in found.line()
        assert not is_out_of_memory(error)
        told = system_error(error, "out.mp4")
        assert type(told) is (OutputError if code == 3 else InputError)
        assert str(told).startswith(f"out.mp4: {reason}")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
        RuntimeError("OOM when allocating tensor with shape[100000,64,128,3] and type float"),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 8589934592 bytes"),
        RuntimeError("std::bad_alloc"),
        ValueError("Insufficient memory (case 10)"),
    ],
)
def test_memory_that_could_not_be_allocated(error: Exception) -> None:
    assert is_out_of_memory(error) and system_failure(error) is None
    assert system_error(error) is None


def test_too_much_to_ask_for_is_the_file_s_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """A damaged film promises a packet of gigabytes, and libav says that memory is short."""
    error = MemoryError(errno.ENOMEM, os.strerror(errno.ENOMEM), "film.avi")
    assert not is_no_fault_of_the_file(error)
    monkeypatch.setattr("tfrecords.system_failures._SOME_MEMORY", sys.maxsize)
    assert is_no_fault_of_the_file(error)
    assert is_no_fault_of_the_file(OSError(errno.EMFILE, os.strerror(errno.EMFILE)))
    assert not is_no_fault_of_the_file(OSError(errno.EIO, os.strerror(errno.EIO)))


@pytest.mark.parametrize(
    "error",
    [
        ValueError("something else"),
        FileNotFoundError(errno.ENOENT, "No such file or directory", "a"),
        RuntimeError("RESOURCE_EXHAUSTED: Received message larger than max (100 vs. 10)"),
        RuntimeError("gs://bucket/film: Permission denied"),  # a store's answer, not this system's
        OSError("no number"),
    ],
)
def test_what_is_neither(error: Exception) -> None:
    assert not is_out_of_memory(error) and system_failure(error) is None


def test_the_words_of_another_program() -> None:
    found = system_failure_in("[out#0/mp4 @ 0x55] Error writing trailer: Disk quota exceeded\n")
    assert found is not None and found.number == errno.EDQUOT
    assert found.line("dream.mp4").startswith("dream.mp4: disk quota exceeded; ")
    assert system_failure_in("Invalid data found when processing input") is None
