"""A gateway on 127.0.0.1 that answers what a test tells it to, and keeps what it was asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

Action = Callable[[web.Request], Awaitable[web.StreamResponse]]

ANSWER = {
    "signal": "BUY",
    "confidence": 0.7,
    "direction": "UP",
    "risk": "LOW",
    "reason": "the bid is larger",
}
USAGE = {"prompt_tokens": 500, "completion_tokens": 200, "total_tokens": 700}


def completion(
    content: Any = None, *, finish: str | None = "stop", model: str = "answerer", **more: Any
) -> dict[str, Any]:
    """The body of an answer; its content is `ANSWER` unless given."""
    text = json.dumps(ANSWER) if content is None else content
    message = {"role": "assistant", "content": text}
    return {
        "id": "c1",
        "object": "chat.completion",
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": USAGE,
    } | more


def says(content: Any = None, **more: Any) -> Action:
    return body(json.dumps(completion(content, **more)))


def body(text: str | bytes, status: int = 200, headers: dict[str, str] | None = None) -> Action:
    async def act(_: web.Request) -> web.StreamResponse:
        raw = text.encode() if isinstance(text, str) else text
        return web.Response(
            body=raw, status=status, headers=headers, content_type="application/json"
        )

    return act


def status(code: int, message: str = "no", param: str = "", **headers: str) -> Action:
    error = {"error": {"message": message, "type": "x", "param": param or None, "code": None}}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return body(json.dumps(error), code, named)


async def hang(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    raise AssertionError


async def drip(request: web.Request) -> web.StreamResponse:
    """Headers at once, then a space every 50 ms, so that no single read takes long."""
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await asyncio.sleep(0.05)


async def flood(request: web.Request) -> web.StreamResponse:
    """Bytes without end."""
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" " * 65_536)


async def cut(request: web.Request) -> web.StreamResponse:
    """The connection breaks before anything has come."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def cut_in_half(request: web.Request) -> web.StreamResponse:
    """The connection breaks in the middle of the answer."""
    whole = json.dumps(completion()).encode()
    response = web.StreamResponse(headers={"Content-Length": str(len(whole))})
    await response.prepare(request)
    await response.write(whole[: len(whole) // 2])
    await asyncio.sleep(0.05)
    assert request.transport is not None
    request.transport.abort()
    return response


def after(seconds: float, then: Action) -> Action:
    async def act(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(seconds)
        return await then(request)

    return act


class Stub:
    """What runs.

    Attributes:
        script: What is done with the requests to come, in order; the last is done again and again.
        models: What ``GET /v1/models`` does.
        asked: Bodies of what was asked.
        headers: Of the same requests.
        most_at_once: Requests that were being answered at the same time.
    """

    def __init__(self) -> None:
        self.script: list[Action] = [says()]
        self.models: Action = body(json.dumps({"data": [{"id": "b-model"}, {"id": "a-model"}]}))
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.url = ""
        self.most_at_once = self._now = 0

    @property
    def forms(self) -> list[str]:
        """How each answer was asked for."""
        return [asked.get("response_format", {}).get("type", "text") for asked in self.asked]

    async def chat(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(await request.json())
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        act = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            return await act(request)
        except ConnectionError:  # whom it was for has gone
            return web.Response()
        finally:
            self._now -= 1

    async def list(self, request: web.Request) -> web.StreamResponse:
        return await self.models(request)


@asynccontextmanager
async def gateway() -> AsyncIterator[Stub]:
    """Listen until the block ends."""
    stub = Stub()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", stub.chat)
    app.router.add_get("/v1/models", stub.list)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    stub.url = f"http://{host}:{port}/v1"
    try:
        yield stub
    finally:
        await runner.cleanup()
