"""Slow clients of uvicorn, whose connections and requests `connections` inspects."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn

from bladerunner_ae.server import connections

SECONDS = 0.6
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LARGE = bytes(64 << 20)  # more than all buffers of the kernel


async def answer(scope: Any, receive: Any, send: Any) -> None:
    body = LARGE if scope["path"] == "/large" else b"hello"
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def with_server(test: Callable[[tuple[str, int]], Awaitable[None]]) -> None:
    async def main() -> None:
        listening = connections.listen("127.0.0.1", 0)
        connections.drop_stalled_clients(listening, SECONDS)
        config = uvicorn.Config(answer, http="h11", lifespan="off", log_config=None)
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve([listening]))
        hanging_up = asyncio.create_task(connections.hang_up_on_late_requests(server, SECONDS))
        while not server.started:
            await asyncio.sleep(0.01)
        await test(listening.getsockname())
        hanging_up.cancel()
        server.should_exit = True
        await serving

    asyncio.run(asyncio.wait_for(main(), 60))


async def seconds_to_end(reader: asyncio.StreamReader) -> float:
    start = time.monotonic()
    assert await reader.read() == b""
    return time.monotonic() - start


@pytest.mark.parametrize("sent", [b"", GET[:20], GET + GET[:20]])
def test_connections_without_a_complete_head_are_closed(sent: bytes) -> None:
    async def test(address: tuple[str, int]) -> None:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(sent)
        if sent.startswith(GET):
            await reader.readuntil(b"hello")
            assert not reader.at_eof()
        assert SECONDS / 2 < await seconds_to_end(reader) < 20
        writer.close()

    with_server(test)


def test_connections_idle_after_an_answer_are_kept() -> None:
    async def test(address: tuple[str, int]) -> None:
        reader, writer = await asyncio.open_connection(*address)
        for _ in range(2):
            writer.write(GET)
            await reader.readuntil(b"hello")
            await asyncio.sleep(2 * SECONDS)
        assert not reader.at_eof()
        writer.close()

    with_server(test)


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux has it")
def test_clients_that_read_nothing_are_dropped() -> None:
    async def test(address: tuple[str, int]) -> None:
        with socket.create_connection(address) as client:
            client.sendall(GET.replace(b"/ ", b"/large "))
            client.settimeout(20)
            await asyncio.sleep(10 * SECONDS)
            taken = 0
            with pytest.raises(ConnectionResetError):
                while part := await asyncio.to_thread(client.recv, 1 << 20):
                    taken += len(part)
            assert taken < len(LARGE) / 2

    with_server(test)
