"""Failures of the operating system, each with its fix.

TensorFlow makes one error of many: a full disk, a used-up quota, too many open files and too little
memory are all RESOURCE_EXHAUSTED. The quoted words of the operating system tell them apart.
"""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass, replace

_AGAIN = "and run the same command again"


@dataclass(frozen=True)
class SystemFailure:
    """A refusal of the operating system.

    Attributes:
        number: such as `errno.ENOSPC`.
        reason: for the middle of a sentence.
        cure: the fix, for the end of a sentence.
        exit_code: 2 if the path cannot be used, 3 if the work broke off.
        path: of the file, if the error names one, else "".
    """

    number: int
    reason: str
    cure: str
    exit_code: int = 3
    path: str = ""

    def line(self, where: object = "") -> str:
        """Return one line: file (`where` in place of `path`), reason and fix."""
        named = str(where) or self.path
        return f"{named}: {self.reason}; {self.cure}" if named else f"{self.reason}; {self.cure}"


_KNOWN = {
    failure.number: failure
    for failure in (
        SystemFailure(errno.ENOSPC, "the disk is full", f"free some space {_AGAIN}"),
        SystemFailure(
            errno.EDQUOT,
            "disk quota exceeded",
            f"delete some of your own files or ask for a larger quota, {_AGAIN}",
        ),
        SystemFailure(
            errno.EFBIG,
            "file too large for this file system, or for ulimit -f",
            f"choose another folder or raise the limit, {_AGAIN}",
        ),
        SystemFailure(
            errno.EMFILE,
            "too many open files in this process",
            f"raise the limit, as with ulimit -n 4096, {_AGAIN}",
        ),
        SystemFailure(
            errno.ENFILE,
            "too many open files on this machine",
            f"close other programs {_AGAIN}",
        ),
        SystemFailure(errno.EIO, "input/output error of the drive", f"check the drive {_AGAIN}"),
        SystemFailure(
            errno.ESTALE,
            "stale file handle: the network drive has lost the file",
            f"mount it again {_AGAIN}",
        ),
        SystemFailure(
            errno.EROFS,
            "read-only file system",
            "choose another folder, or mount it for writing",
            2,
        ),
        SystemFailure(
            errno.EACCES, "permission denied", "fix the permissions or choose another path", 2
        ),
        SystemFailure(
            errno.EPERM, "operation not permitted", "fix the permissions or choose another path", 2
        ),
        SystemFailure(errno.ENAMETOOLONG, "file name too long", "choose a shorter one", 2),
        SystemFailure(
            errno.ELOOP, "too many levels of symbolic links", "fix the links of that path", 2
        ),
    )
}
# The longest first: one of them may be the beginning of another.
_WORDS = sorted(((os.strerror(number), number) for number in _KNOWN), key=lambda w: -len(w[0]))
_ALLOCATION = re.compile(
    r"OOM when allocating|(?:failed|unable|could not|cannot) (?:to )?allocat\w+|out of memory"
    r"|bad_alloc|insufficient memory",
    re.IGNORECASE,
)
_SOME_MEMORY = 64 << 20
_NODE = re.compile(r"\{\{.*?\}\}")


def system_failure(error: BaseException) -> SystemFailure | None:
    """Return the failure of the operating system that `error` is or quotes, else None."""
    if isinstance(error, OSError) and error.errno is not None:
        found = _KNOWN.get(error.errno)
        path = error.filename2 or error.filename or ""
        return found and replace(found, path=os.fsdecode(path) if path != "" else "")
    return system_failure_in(str(error))


def system_failure_in(text: str) -> SystemFailure | None:
    """Return the failure of the operating system that a text quotes; none for a remote store's."""
    if "://" in text:
        return None
    for words, number in _WORDS:
        before, found, _ = text.partition(words)
        if found:
            path = _NODE.sub("", before).rstrip("; :").rpartition(": ")[2].strip()
            return replace(_KNOWN[number], path=path if os.sep in path else "")
    return None


def is_no_fault_of_the_file(error: BaseException) -> bool:
    """Return whether reading failed for lack of memory or open files, not because of the file.

    A damaged file may promise a packet of gigabytes, and libav then says that memory is short. It
    is not if this process can still allocate some.
    """
    if is_out_of_memory(error):
        return not _can_allocate(_SOME_MEMORY)
    failure = system_failure(error)
    return failure is not None and failure.number in (errno.EMFILE, errno.ENFILE)


def _can_allocate(size: int) -> bool:
    try:
        bytearray(size)
    except MemoryError:
        return False
    return True


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory could not be allocated, here or on a device."""
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return _ALLOCATION.search(str(error)) is not None and system_failure(error) is None
