"""What one WebSocket connection has asked for: Binance's control messages, without I/O.

Source: Binance Spot API, "WebSocket Streams", sections "Live Subscribing/Unsubscribing to streams"
and "Error Messages". The futures answer in the same way.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from mmkit_sandbox.channel import Channel, Route, parse_stream
from mmkit_sandbox.listing import SPOT
from mmkit_sandbox.payload import in_microseconds

MAX_STREAMS = 1024
"""Streams of one connection: Binance Spot API, "WebSocket Limits"."""

_METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
_TEXT_ID = re.compile(r"[A-Za-z0-9_-]{1,36}")


class _Refused(Exception):  # noqa: N818  # not an error of ours: it becomes the answer
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class Session:
    """One connection's subscriptions and properties.

    Args:
        route: Where the client has connected.
        combined: Whether payloads come in the envelope ``{"stream": ..., "data": ...}``.
        streams: Names that the address asked for already.
        micro: Whether times are told in microseconds.
    """

    def __init__(
        self, route: Route, combined: bool, streams: Sequence[str] = (), *, micro: bool = False
    ) -> None:
        self.route, self.combined, self._micro = route, combined, micro
        self.subscriptions: dict[str, Channel | None] = {}
        """By name; `None` for what will stay silent."""
        self._subscribe(streams)

    @property
    def market(self) -> str:
        """``spot``, ``usdm`` or ``coinm``."""
        return self.route.market

    @property
    def name(self) -> str:
        """What the log calls it."""
        return self.route.value

    @property
    def messages_per_second(self) -> int | None:
        """How many a client may send: "WebSocket Limits" of spot, USD-M and COIN-M."""
        return 5 if self.market == SPOT else 10

    def answer(self, text: str | bytes) -> bytes:
        """Carry out one control message; return the reply."""
        identity: Any = None
        try:
            request = _decode(text)
            identity = request.get("id")
            if not _valid_id(identity):
                identity = None
            result = self._carry_out(request)
        except _Refused as refused:
            reply: dict[str, Any] = {"code": refused.code, "msg": refused.message}
            if identity is not None:
                reply["id"] = identity
            return msgspec.json.encode(reply)
        return msgspec.json.encode({"result": result, "id": identity})

    def envelope(self, name: str, data: bytes) -> bytes:
        """Return a payload as this connection wants it."""
        if self._micro:
            data = in_microseconds(data)
        if not self.combined:
            return data
        return b'{"stream":' + msgspec.json.encode(name) + b',"data":' + data + b"}"

    def shutdown(self, now_ms: int) -> bytes:
        """Return the notice that the server shuts down."""
        data = msgspec.json.encode({"e": "serverShutdown", "E": now_ms})
        return self.envelope("!serverShutdown", data)

    def _carry_out(self, request: dict[str, Any]) -> Any:
        if "method" not in request:
            raise _Refused(2, "Invalid request: missing field `method` at line 1 column 1")
        method = request["method"]
        if method not in _METHODS:
            expected = ", ".join(f"`{name}`" for name in _METHODS)
            raise _Refused(
                2,
                f"Invalid request: unknown variant `{method}`, expected one of {expected} "
                "at line 1 column 1",
            )
        if "id" not in request or not _valid_id(request["id"]):
            raise _Refused(2, "Invalid request: request ID must be an unsigned integer")
        parameters = request.get("params", [])
        if not isinstance(parameters, list):
            raise _Refused(2, "Invalid request: params must be an array")
        if method == "LIST_SUBSCRIPTIONS":
            if parameters:
                raise _Refused(2, "Invalid request: too many parameters")
            return list(self.subscriptions)
        if method in {"SET_PROPERTY", "GET_PROPERTY"}:
            return self._property(method, parameters)
        if not all(isinstance(name, str) for name in parameters):
            raise _Refused(2, "Invalid request: stream names must be strings")
        if method == "SUBSCRIBE":
            self._subscribe(parameters)
        else:
            for name in parameters:
                self.subscriptions.pop(name, None)
        return None

    def _subscribe(self, names: Sequence[str]) -> None:
        new = [name for name in dict.fromkeys(names) if name not in self.subscriptions]
        if len(self.subscriptions) + len(new) > MAX_STREAMS:
            raise _Refused(2, f"Invalid request: more than {MAX_STREAMS} streams")
        for name in new:
            channel = parse_stream(self.route.market, name)
            carried = channel is not None and self.route.carries(channel)
            self.subscriptions[name] = channel if carried else None

    def _property(self, method: str, parameters: list[Any]) -> Any:
        setting = method == "SET_PROPERTY"
        if not parameters or not isinstance(parameters[0], str):
            raise _Refused(2, "Invalid request: property name must be a string")
        if len(parameters) > (2 if setting else 1):
            raise _Refused(2, "Invalid request: too many parameters")
        if parameters[0] != "combined":
            raise _Refused(0, "Unknown property")
        if not setting:
            return self.combined
        if len(parameters) < 2 or not isinstance(parameters[1], bool):
            raise _Refused(1, "Invalid value type: expected Boolean")
        self.combined = parameters[1]
        return None


def _decode(text: str | bytes) -> dict[str, Any]:
    try:
        request = msgspec.json.decode(text)
    except msgspec.DecodeError:
        raise _Refused(3, "Invalid JSON: expected value at line 1 column 1") from None
    if not isinstance(request, dict):
        raise _Refused(2, "Invalid request: expected an object")
    return request


def _valid_id(identity: object) -> bool:
    """Whether it is what Binance takes for one: a 64-bit integer, a short name, or null."""
    if identity is None:
        return True
    if isinstance(identity, bool):
        return False
    if isinstance(identity, int):
        return -(2**63) <= identity < 2**63
    return isinstance(identity, str) and _TEXT_ID.fullmatch(identity) is not None
