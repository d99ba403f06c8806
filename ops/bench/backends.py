"""Fake OpenAI-compatible instances that use almost no CPU, because the benchmark measures the router.

A prompt that begins "stream N events, G ms apart" is answered with that stream, any other with one short answer.
It prints its ports as a line of JSON, and serves until its standard input ends, so that it ends with its parent.
"""

import argparse
import asyncio
import json
import re
import sys
from typing import Any

import httptools
import uvloop
from scenarios import MODEL

ORDER = re.compile(rb"stream (\d+) events, (\d+) ms apart")
MAX_ORDER_BYTES = 2048  # a longer body never orders a stream


def http_answer(value: object) -> bytes:
    body = json.dumps(value).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def sse_chunk(data: str) -> bytes:
    body = f"data: {data}\n\n".encode()
    return b"%x\r\n%s\r\n" % (len(body), body)


WORDS = "word " * 60
COMPLETION = {"id": "chatcmpl-1", "created": 1, "model": MODEL}
CHOICE = {"index": 0, "message": {"role": "assistant", "content": WORDS}, "finish_reason": "stop"}
USAGE = {"prompt_tokens": 10, "completion_tokens": 60, "total_tokens": 70}
DELTA = {"index": 0, "delta": {"content": "token "}, "finish_reason": None}

ANSWER = http_answer({**COMPLETION, "object": "chat.completion", "choices": [CHOICE], "usage": USAGE})
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = sse_chunk(json.dumps({**COMPLETION, "object": "chat.completion.chunk", "choices": [DELTA]}))
END = sse_chunk("[DONE]") + b"0\r\n\r\n"
# The answer to every GET: all that any router requests of its backends before it uses them.
INFORMATION = http_answer(
    {
        "status": "healthy",
        "object": "list",
        "data": [{"id": MODEL, "object": "model", "created": 1, "owned_by": "bench"}],
        "model_id": MODEL,
        "model_path": MODEL,
        "served_model_name": MODEL,
        "tp_size": 1,
        "dp_size": 1,
        "version": "0",
    }
)


class Backend(asyncio.Protocol):
    """One connection, which serves one request at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._body = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        if self._timer:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def on_message_begin(self) -> None:
        self._body = b""

    def on_body(self, body: bytes) -> None:
        if len(self._body) < MAX_ORDER_BYTES:
            self._body += body

    def on_message_complete(self) -> None:
        order = ORDER.search(self._body) if len(self._body) < MAX_ORDER_BYTES else None
        if order:
            self._transport.write(STREAM)
            self._schedule(int(order[1]), int(order[2]) / 1000)
        else:
            self._transport.write(ANSWER if self._parser.get_method() == b"POST" else INFORMATION)

    def _schedule(self, remaining: int, gap: float) -> None:
        self._timer = self._loop.call_later(gap, self._send_event, remaining, gap)

    def _send_event(self, remaining: int, gap: float) -> None:
        if remaining:
            self._transport.write(EVENT)
            self._schedule(remaining - 1, gap)
        else:
            self._transport.write(END)


async def serve(count: int) -> None:
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(Backend, "127.0.0.1", 0, backlog=4096) for _ in range(count)]
    print(json.dumps([server.sockets[0].getsockname()[1] for server in servers]), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2, help="number of instances, each on its own port")
    uvloop.run(serve(parser.parse_args().count))
