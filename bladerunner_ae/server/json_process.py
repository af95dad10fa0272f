"""Processes that parse large bodies, so that no other request waits for them.

Python parses JSON in one go and lets no other thread run meanwhile: for some megabytes that is a
good part of a second. `python -m bladerunner_ae.server.json_process` is such a process: it reads
questions from stdin and writes answers to stdout, and ends when stdin does, so it does not outlive
the server. It imports no TensorFlow.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import re
import signal
import struct
import sys
from collections.abc import Mapping
from typing import Any

from bladerunner_ae.server import json_codec
from bladerunner_ae.server.bodies import decompress
from bladerunner_ae.server.json_codec import PredictBody, Types
from bladerunner_ae.server.limits import Sizes
from bladerunner_ae.server.serving_errors import Code, ServingError, from_exception

_LENGTH = struct.Struct("<Q")
_MEDIUM = 4 << 20  # these do not queue after larger bodies
_RESTART = 16 << 20  # a process that has parsed more gives its memory back by ending
_STRING = re.compile(rb'"(?:[^"\\]+|\\.)*"', re.DOTALL)


def parse(
    body: bytes, is_compressed: bool, signatures: Mapping[str, Types], sizes: Sizes
) -> PredictBody:
    """Read the body of a `:predict` request, within `sizes`; ServingError if it is malformed."""
    if is_compressed:
        body = decompress(body, sizes.bytes)
    refuse_too_many_items(body, sizes.items)
    return json_codec.read_predict(json_codec.parse(body), signatures)


def refuse_too_many_items(body: bytes, most: int) -> None:
    """Raise ServingError for more than `most` values, lists and objects, before any is made."""

    def count(text: bytes) -> int:
        return sum(text.count(mark) for mark in (b",", b"[", b"{"))

    # In strings they mean nothing.
    if count(body) > most and count(_STRING.sub(b"", body)) > most:
        raise ServingError(
            Code.RESOURCE_EXHAUSTED,
            "The request has more values than the model's signatures take in --max_batch_size rows",
            http=413,
        )


class JsonProcess:
    """Parser of bodies in other processes; for the thread of the event loop."""

    def __init__(self) -> None:
        self._lanes = _Lane(), _Lane()

    async def parse(
        self,
        body: bytes,
        is_compressed: bool,
        signatures: Mapping[str, Types],
        sizes: Sizes,
        seconds: float,
    ) -> PredictBody:
        """Parse like `parse`; TimeoutError after so many seconds, waiting for others included."""
        lane = self._lanes[is_compressed or len(body) > _MEDIUM]
        async with asyncio.timeout(seconds):
            return await lane.parse((body, is_compressed, signatures, sizes))

    async def close(self) -> None:
        for lane in self._lanes:
            if (process := lane.end()) is not None:
                await process.wait()


class _Lane:
    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._lock = asyncio.Lock()

    async def parse(self, question: tuple[bytes, bool, Any, Sizes]) -> PredictBody:
        async with self._lock:
            keep = False
            try:
                answer = await self._ask(pickle.dumps(question))
                keep = len(question[0]) <= _RESTART and not question[1]
            except (OSError, asyncio.IncompleteReadError):
                raise ServingError(
                    Code.RESOURCE_EXHAUSTED, "The process that parses large requests was killed"
                ) from None
            finally:
                if not keep:  # its answer is not wanted any more, or it holds much memory
                    self.end()
        if isinstance(answer, ServingError):
            raise answer
        return answer

    async def _ask(self, question: bytes) -> Any:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "bladerunner_ae.server.json_process",
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                start_new_session=True, limit=1 << 20,
            )  # fmt: skip
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        stdin.write(_LENGTH.pack(len(question)))
        stdin.write(question)
        await stdin.drain()
        (length,) = _LENGTH.unpack(await stdout.readexactly(_LENGTH.size))
        return pickle.loads(await stdout.readexactly(length))

    def end(self) -> asyncio.subprocess.Process | None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        return process


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    questions, answers = sys.stdin.buffer, sys.stdout.buffer
    while head := questions.read(_LENGTH.size):
        question = pickle.loads(questions.read(_LENGTH.unpack(head)[0]))
        try:
            answer: PredictBody | ServingError = parse(*question)
        except MemoryError:
            answer = ServingError(Code.RESOURCE_EXHAUSTED, "There is no memory for this request")
        except Exception as error:
            answer = from_exception(error)
        del question
        data = pickle.dumps(answer)
        answers.write(_LENGTH.pack(len(data)))
        answers.write(data)
        answers.flush()


if __name__ == "__main__":
    main()
