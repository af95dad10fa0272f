"""Large bodies are parsed in a process of their own, so that nobody else has to wait for them.

Python parses JSON in one go and lets no other thread run meanwhile: for some megabytes that is a
good part of a second. `python -m bladerunner_ae.server.json_process` is the process: it reads
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
from functools import partial
from typing import Any

from bladerunner_ae.server.bodies import unpacked
from bladerunner_ae.server.errors import Code, ServingError, from_exception
from bladerunner_ae.server.json_requests import PredictBody, inputs_of, parse_predict
from bladerunner_ae.server.sizes import Sizes

Types = Mapping[str, Mapping[str, int]]
"""The inputs of each signature, name to DataType."""

_LENGTH = struct.Struct("<Q")
_MEDIUM = 4 << 20  # behind larger bodies these would have to wait for long
_FORGET = 16 << 20  # a process that has parsed more gives its memory back by ending
_STRING = re.compile(rb'"(?:[^"\\]+|\\.)*"', re.DOTALL)


def parse(body: bytes, is_packed: bool, types: Types, sizes: Sizes) -> PredictBody:
    """Reads the body of a `:predict` request.

    Raises:
        ServingError: it is not as it should be, or has more than the signatures take.
    """
    if is_packed:
        body = unpacked(body, sizes.bytes)
    refuse_too_many_items(body, sizes.items)
    return parse_predict(body, partial(inputs_of, types))


def refuse_too_many_items(body: bytes, most: int) -> None:
    """Counts values, lists and objects before any of them is made.

    Raises:
        ServingError: there are more than `most`.
    """
    if body.count(b",") + body.count(b"[") + body.count(b"{") <= most:
        return
    body = _STRING.sub(b"", body)  # in strings they mean nothing
    if body.count(b",") + body.count(b"[") + body.count(b"{") > most:
        raise ServingError(
            Code.RESOURCE_EXHAUSTED,
            "The request has more values than the model's signatures take in --max_batch_size rows",
            http=413,
        )


class JsonProcess:
    """Parses bodies elsewhere; use it in the event loop's thread."""

    def __init__(self) -> None:
        self._lanes = _Lane(), _Lane()

    async def parse(
        self, body: bytes, is_packed: bool, types: Types, sizes: Sizes, seconds: float
    ) -> PredictBody:
        """Does what `parse` does.

        Args:
            body: the bytes.
            is_packed: whether they are gzip.
            types: what the signatures take.
            sizes: the most that the body may have.
            seconds: that it may take, waiting for others included.

        Raises:
            ServingError: the body is not as it should be.
            TimeoutError: it took longer.
        """
        lane = self._lanes[is_packed or len(body) > _MEDIUM]
        async with asyncio.timeout(seconds):
            return await lane.parse((body, is_packed, types, sizes))

    async def close(self) -> None:
        """Ends the processes."""
        for lane in self._lanes:
            if (process := lane.end()) is not None:
                await process.wait()


class _Lane:
    """One process, and who waits for it."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._lock = asyncio.Lock()

    async def parse(self, question: tuple[bytes, bool, Types, Sizes]) -> PredictBody:
        async with self._lock:
            whole = False
            try:
                answer = await self._ask(pickle.dumps(question))
                whole = len(question[0]) <= _FORGET and not question[1]
            except (OSError, asyncio.IncompleteReadError):
                raise ServingError(
                    Code.RESOURCE_EXHAUSTED, "The process that parses large requests was killed"
                ) from None
            finally:
                if not whole:  # nobody wants its answer any more, or it holds much memory
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
        """Kills the process; returns it."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        return process


def main() -> None:
    """Answers questions until there are no more."""
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
