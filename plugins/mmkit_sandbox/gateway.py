"""The sandbox's gateway to its advisor, which is a rule: ``/v1/models`` and ``/v1/chat/completions``."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from operator import itemgetter
from typing import Annotated, Any

import msgspec
from aiohttp import web
from pydantic import AfterValidator, Field

from mmkit.interfaces import PluginConfig
from mmkit.units import Duration
from mmkit_sandbox import asked, rule
from mmkit_sandbox.chat import (
    ChatRefused,
    ChatRequest,
    completion,
    error_body,
    models,
    read_request,
)
from mmkit_sandbox.chatfaults import ChatTrouble, parse_chat_fault
from mmkit_sandbox.exchange import Exchange
from mmkit_sandbox.listing import SPOT, Listing
from mmkit_sandbox.pace import Pace
from mmkit_sandbox.spoiled import ChatReply, replied, spoiled

_log = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.05  # how often a request that hangs looks whether its client is still there
_TRADES = 1000  # that the rule looks back on where a prompt says nothing


def _readable(text: str) -> str:
    parse_chat_fault(text)
    return text


class GatewayConfig(PluginConfig):
    """What may be written below ``gateway``."""

    models: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (rule.MODEL,),
        min_length=1,
        description="Names under which the rule may be asked, to rehearse with those of a real gateway.",
    )
    faults: tuple[Annotated[str, AfterValidator(_readable)], ...] = Field(
        (),
        description="What goes wrong with which requests: 'WHICH WHAT [HOW LONG]', such as '3 hang', "
        "'2-5 http_429 1s', '20% cut' or '* delay 2s'.",
    )
    seed: int = Field(1, description="Decides what happens by chance.")
    took: Duration = Field(0, ge=0, description="How long every answer takes.")


class Gateway:
    """Answers as a gateway to language models does; behind it is a rule.

    Args:
        exchange: Whose market the rule looks at where a prompt says nothing of one.
        pace: The exchange's clock.
        config: What may be asked, and what goes wrong.
    """

    def __init__(self, exchange: Exchange, pace: Pace, config: GatewayConfig) -> None:
        self._exchange, self._pace, self._config = exchange, pace, config
        self._requests = 0
        self.trouble = ChatTrouble([*map(parse_chat_fault, config.faults)], config.seed)
        """What goes wrong."""
        self._refuses: Callable[[web.Request], bool] = lambda request: False

    def add_to(self, router: web.UrlDispatcher, refuses: Callable[[web.Request], bool]) -> None:
        """Add the addresses.

        Args:
            router: Where to.
            refuses: Whether nobody is to be answered now; the connection is gone then.
        """
        self._refuses = refuses
        router.add_get("/v1/models", self._list)
        router.add_post("/v1/chat/completions", self._complete)
        router.add_get("/sandbox/gateway", self._tell)
        router.add_post("/sandbox/gateway/faults", self._begin)

    def reply(self, body: bytes) -> ChatReply:
        """Return what a client gets for the body of a request for a chat completion."""
        self._requests += 1
        number = self._requests
        try:
            request = read_request(body)
            answered = self._completion(request, number)
        except (
            ChatRefused
        ) as refused:  # one that is wrong itself is not counted among those that go wrong
            return replied(error_body(refused), refused.status)
        late, fault = self.trouble.next(request, number)
        if fault is None:
            reply = replied(answered)
        else:
            _log.warning("gateway_fault fault='%s' request=%d", fault, number)
            reply = spoiled(fault, answered)
        return reply._replace(after_ns=reply.after_ns + late + self._config.took)

    def _completion(self, request: ChatRequest, number: int) -> dict[str, Any]:
        if request.model not in self._config.models:
            there = ", ".join(map(repr, self._config.models))
            raise ChatRefused(
                404,
                f"The model {request.model!r} does not exist here; the sandbox has {there}, a rule and no "
                "language model; other names for it can be given as 'gateway.models' of the sandbox.",
                code="model_not_found",
                param="model",
            )
        return completion(
            request,
            self._content(request),
            model=rule.MODEL,
            number=number,
            created_s=self._pace.now_ns() // 1_000_000_000,
        )

    def _content(self, request: ChatRequest) -> str:
        """Return what the rule says."""
        text, schema = request.text, request.schema
        question = asked.question_of(text, schema)
        if question is None:
            words = (
                "sandbox rule: I am a rule and no language model; I answer mmkit's questions about a market, "
                "and this is none of them"
            )
            if schema is not None:
                raise ChatRefused(400, words, param="response_format")
            return json.dumps({"message": words}) if request.form == "json_object" else words
        seen = rule.seen_in(asked.numbers_of(text)) or self._own(text)
        said = rule.answer(question, seen, request.messages[-1].text, asked.language_of(text))
        fields = msgspec.to_builtins(said)
        if not asked.wants_tag(schema):
            del fields["question"]
        return json.dumps(fields, ensure_ascii=False)

    def _own(self, text: str) -> rule.Seen:
        """Return what the sandbox's own market looks like: the one that is named, or the first."""
        listings = self._exchange.listings
        # The longest name that is there: BTC/USDT is also the beginning of BTC/USDT:USDT.
        named = [(len(name), one) for one in listings for name in _names(one) if name in text]
        listing = max(named, key=itemgetter(0))[1] if named else listings[0]
        depth = self._exchange.depth(listing, 10)
        return rule.seen_at(depth, self._exchange.trades(listing, _TRADES))

    # --- the addresses ---------------------------------------------------------------------------

    async def _list(self, request: web.Request) -> web.Response:
        if self._refuses(request):
            return web.Response()
        return web.json_response(models(self._config.models, self._pace.now_ns() // 1_000_000_000))

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge as error:
            refused = ChatRefused(413, f"The request is too large: {error.text}")
            return web.json_response(error_body(refused), status=413)
        if self._refuses(request):
            return web.Response()  # to nobody
        reply = self.reply(body)
        if not await _client_waits(request, reply.after_ns / 1e9):
            return web.Response()  # to nobody
        if reply.broken is not None:
            return await _cut(request, reply)
        headers = {} if reply.retry_after_s is None else {"Retry-After": str(reply.retry_after_s)}
        return web.Response(
            body=reply.body,
            status=reply.status,
            content_type=reply.content_type,
            charset="utf-8",
            headers=headers,
        )

    async def _tell(self, request: web.Request) -> web.Response:
        """Answer with what was asked and what went wrong so far."""
        trouble = self.trouble
        return web.json_response(
            {
                "models": self._config.models,
                "requests": self._requests,
                "faults": dict(trouble.counts),
                "happened": [
                    {"request": one.request, "fault": str(one.fault), "what": one.what}
                    for one in trouble.happened
                ],
            }
        )

    async def _begin(self, request: web.Request) -> web.Response:
        """Replace what goes wrong from the next request on: a JSON list of faults."""
        expected = 'a JSON list such as ["1 hang", "20% cut"] was expected'
        try:
            texts = msgspec.json.decode(await request.read(), type=list[str])
            self.trouble.begin([*map(parse_chat_fault, texts)])
        except (msgspec.DecodeError, ValueError) as error:
            return web.json_response({"code": -1100, "msg": f"{expected}: {error}"}, status=400)
        return web.json_response({"faults": texts})


def _names(listing: Listing) -> tuple[str, str]:
    """Return Binance's name and ccxt's unified one."""
    pair = f"{listing.base}/{listing.quote}"
    return listing.symbol, pair if listing.market == SPOT else f"{pair}:{listing.settle}"


async def _client_waits(request: web.Request, seconds: float) -> bool:
    """Wait, and return whether the client has, too."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while True:
        if request.transport is None or request.transport.is_closing():
            return False
        left = until - loop.time()
        if left <= 0:
            return True
        await asyncio.sleep(min(left, _LOOK_EVERY_S))


async def _cut(request: web.Request, reply: ChatReply) -> web.StreamResponse:
    """Send half of an answer, or nothing of it, and end the connection."""
    transport = request.transport
    response = web.StreamResponse(status=reply.status)
    if reply.broken == "middle":
        response.content_type = reply.content_type
        response.content_length = len(reply.body)
        await response.prepare(request)
        await response.write(reply.body[: len(reply.body) // 2])
    if transport is not None:
        # Half an answer shall arrive before the end, so this one is closed and not torn down.
        transport.close() if reply.broken == "middle" else transport.abort()
    return response
