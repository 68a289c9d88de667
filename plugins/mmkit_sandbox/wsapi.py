"""One connection to a WebSocket API, and one to a private stream of contracts. No I/O.

Sources: Binance Spot API, "WebSocket API" (request and response format, session authentication, user data
stream subscriptions); USD-M and COIN-M Futures API, "WebSocket API General Info" and "User Data
Streams".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from mmkit_sandbox import rest, signing
from mmkit_sandbox.account import Account
from mmkit_sandbox.channel import Channel, StreamKind
from mmkit_sandbox.desk import Desk
from mmkit_sandbox.listing import SPOT, USDM
from mmkit_sandbox.refused import Refused
from mmkit_sandbox.routes import ENDPOINTS, SOCKET_METHODS

_PUBLIC = {
    "ping": "ping",
    "time": "time",
    "exchangeInfo": "exchangeInfo",
    "depth": "depth",
    "trades.recent": "trades",
    "trades.aggregate": "aggTrades",
    "ticker.book": "ticker/bookTicker",
}
_MAX_SUBSCRIPTION = 65_535


def _mine(market: str) -> dict[str, Channel | None]:
    return {"user": Channel(market, "", StreamKind.USER)}


class ApiSession:
    """What one client has asked of a WebSocket API.

    Args:
        market: ``spot``, ``usdm`` or ``coinm``.
        desk: Where requests are carried out.
        now_ns: The exchange's clock.
        flush: Sends what user streams have to say; called before a reply goes out, as Binance's mostly do.
    """

    messages_per_second = None
    name = "ws-api"

    def __init__(
        self, market: str, desk: Desk, now_ns: Callable[[], int], flush: Callable[[], None]
    ) -> None:
        self.market, self._desk, self._now_ns, self._flush = market, desk, now_ns, flush
        self.subscribed: dict[int, str] = {}
        """Whose events are told, by subscription."""
        self._next_subscription = 0
        self._logged_on: Account | None = None
        self._logged_on_ms = 0
        self._connected_ms = now_ns() // 1_000_000

    @property
    def subscriptions(self) -> dict[str, Channel | None]:
        """What a fault of user streams is about."""
        return _mine(self.market) if self.subscribed else {}

    def answer(self, text: str | bytes) -> bytes | None:
        """Carry out one request; return the reply, `None` if there is to be none."""
        identity: Any = None
        params: dict[str, Any] = {}
        try:
            request = _decode(text)
            identity, params = request.get("id"), _params(request)
            done = self._carry_out(request.get("method"), params)
        except Refused as refused:
            done = _Done(refused.status, None, refused.body)
        self._flush()
        if done is None:
            return None
        body: dict[str, Any] = {"id": identity, "status": done.status}
        body |= {"result": done.result} if done.error is None else {"error": done.error}
        if params.get("returnRateLimits", True) not in (False, "false"):
            key = self._logged_on.key if self._logged_on else params.get("apiKey")
            known = key if key in self._desk.accounts.by_key else None
            body["rateLimits"] = self._desk.limits.told(self.market, known, self._now_ns())
        return msgspec.json.encode(body)

    def envelope(self, name: str, data: bytes) -> bytes:
        """Return an event as it is told under a subscription, by its number."""
        return b'{"subscriptionId":' + name.encode() + b',"event":' + data + b"}"

    def told(self, key: str, market: str) -> list[str]:
        """Return the subscriptions that an account's event of a market goes to."""
        if market != self.market:
            return []
        return [str(number) for number, owner in self.subscribed.items() if owner == key]

    def shutdown(self, now_ms: int) -> bytes:
        """Return the notice that the server shuts down."""
        return msgspec.json.encode({"event": {"e": "serverShutdown", "E": now_ms}})

    def _carry_out(self, method: object, params: dict[str, Any]) -> _Done | None:
        now_ns = self._now_ns()
        if not isinstance(method, str):
            raise Refused(
                -1102, "Mandatory parameter 'method' was not sent, was empty/null, or malformed."
            )
        if method in _PUBLIC:
            words = {name: _text(value) for name, value in params.items()}
            request = rest.Request(
                self._desk.accounts.exchange, self.market, words, now_ns // 1_000_000
            )
            said = rest.answer(request, _PUBLIC[method])
            self._desk.limits.weigh(self.market, said.weight, now_ns)
            body = msgspec.json.decode(said.body)
            return (
                _Done(said.status, body) if said.status == 200 else _Done(said.status, None, body)
            )
        if method.startswith(("session.", "userDataStream.")) and self.market == SPOT:
            return _Done(200, self._session(method, params, now_ns))
        target = SOCKET_METHODS[self.market].get(method)
        if target is None:
            raise Refused(-1000, f"Unknown method '{method}'", 400)
        endpoint = ENDPOINTS[target]
        account = self._let_in(params, now_ns, signed=endpoint.signed)
        words = {name: _text(value) for name, value in params.items()}
        carried = self._desk.carry_out(endpoint, account, self.market, words, now_ns, method)
        if carried.cut:
            return None
        if carried.page:
            raise Refused(
                -1001, "Internal error; unable to process your request. Please try again.", 503
            )
        if carried.status == 200:
            return _Done(200, carried.body)
        return _Done(carried.status, None, carried.body)

    def _let_in(self, params: dict[str, Any], now_ns: int, *, signed: bool = True) -> Account:
        """Return whose request it is: the one who has logged on, or whose key has signed it."""
        if self._logged_on is not None and "apiKey" not in params:
            account = self._logged_on
        else:
            key = params.get("apiKey")
            if key is None:
                raise Refused(
                    -1102,
                    "Mandatory parameter 'apiKey' was not sent, was empty/null, or malformed.",
                )
            account = signing.account_of(self._desk.accounts, str(key), self.market)
            if signed:
                signing.check_socket(account, params)
        if signed:
            words = {name: _text(value) for name, value in params.items()}
            signing.check_time(words, now_ns // 1_000_000)
        return account

    def _session(self, method: str, params: dict[str, Any], now_ns: int) -> Any:
        limits = self._desk.limits
        limits.weigh(self.market, 2, now_ns)
        match method:
            case "session.logon":
                account = self._let_in(params, now_ns)
                if not account.config.public_key:
                    raise Refused(-4056, "HMAC_SHA256 API key is not supported.")
                self._logged_on, self._logged_on_ms = account, now_ns // 1_000_000
                return self._status(now_ns)
            case "session.status":
                return self._status(now_ns)
            case "session.logout":
                self._logged_on = None
                return self._status(now_ns)
            case "session.subscriptions":
                return [{"subscriptionId": number} for number in self.subscribed]
            case "userDataStream.subscribe":
                if self._logged_on is None:
                    raise Refused(
                        -1102, "The WebSocket session is not authenticated: 'session.logon' first."
                    )
                return self._subscribe(self._logged_on)
            case "userDataStream.subscribe.signature":
                return self._subscribe(self._let_in(params, now_ns))
            case "userDataStream.unsubscribe":
                number = params.get("subscriptionId")
                if number is None:
                    self.subscribed.clear()
                elif self.subscribed.pop(number, None) is None:
                    raise Refused(-2036, "The subscription is not active.")
                return {}
        if method.startswith("userDataStream."):
            raise Refused(
                -1000,
                f"'{method}' was retired on 2026-02-20; use 'userDataStream.subscribe.signature'",
                410,
            )
        raise Refused(-1000, f"Unknown method '{method}'")

    def _subscribe(self, account: Account) -> dict[str, int]:
        if account.key in self.subscribed.values():
            raise Refused(-2035, "The subscription is already active.")
        if self._next_subscription > _MAX_SUBSCRIPTION:
            raise Refused(-2042, "Too many subscriptions on this connection; connect again.")
        number = self._next_subscription
        self._next_subscription += 1
        self.subscribed[number] = account.key
        return {"subscriptionId": number}

    def _status(self, now_ns: int) -> dict[str, Any]:
        account = self._logged_on
        return {
            "apiKey": account.key if account else None,
            "authorizedSince": self._logged_on_ms if account else None,
            "connectedSince": self._connected_ms,
            "returnRateLimits": True,
            "serverTime": now_ns // 1_000_000,
            "userDataStream": bool(self.subscribed),
        }


class _Done(msgspec.Struct, frozen=True):
    """A reply: status, and either a result or an error."""

    status: int
    result: Any = None
    error: Any = None


class PrivateStream:
    """A connection to a private stream of USD-M or COIN-M, by listen key.

    Args:
        listen_key: What the client connected with.
        desk: Knows whose it is.
        now_ns: The exchange's clock.
        combined: Whether events come in the envelope ``{"stream": ..., "data": ...}``.
        market: Whose events are told.
    """

    name = "private"
    messages_per_second = 10

    def __init__(
        self,
        listen_key: str,
        desk: Desk,
        now_ns: Callable[[], int],
        combined: bool = False,
        market: str = USDM,
    ) -> None:
        self.market, self.listen_key, self._desk, self._now_ns = market, listen_key, desk, now_ns
        self._combined = combined

    @property
    def subscriptions(self) -> dict[str, Channel | None]:
        """What a fault of user streams is about."""
        return _mine(self.market)

    def answer(self, text: str | bytes) -> bytes | None:
        """Acknowledge whatever is asked for: the listen key has said all."""
        return msgspec.json.encode({"result": None, "id": _decode_kindly(text).get("id")})

    def envelope(self, name: str, data: bytes) -> bytes:
        """Return an event as it is told."""
        if not self._combined:
            return data
        return b'{"stream":' + msgspec.json.encode(name) + b',"data":' + data + b"}"

    def told(self, key: str, market: str) -> list[str]:
        """Return the listen key if an account's event of a market goes here."""
        if market != self.market:
            return []
        owner = self._desk.listen_keys.owner(self.listen_key, self._now_ns(), market)
        return [self.listen_key] if owner == key else []

    def shutdown(self, now_ms: int) -> bytes:
        """Return the notice that the server shuts down."""
        return msgspec.json.encode({"e": "serverShutdown", "E": now_ms})


def _decode(text: str | bytes) -> dict[str, Any]:
    try:
        request = msgspec.json.decode(text)
    except msgspec.DecodeError:
        raise Refused(-1135, "Invalid JSON Request") from None
    if not isinstance(request, dict):
        raise Refused(-1135, "Invalid JSON Request")
    return request


def _params(request: dict[str, Any]) -> dict[str, Any]:
    params = request.get("params") or {}
    if not isinstance(params, dict):
        raise Refused(-1135, "Invalid JSON Request")
    return params


def _decode_kindly(text: str | bytes) -> dict[str, Any]:
    try:
        return _decode(text)
    except Refused:
        return {}  # a client that makes no sense is told nothing either by Binance


def _text(value: object) -> str:
    return signing.word(value)
