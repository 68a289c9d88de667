"""An answer of Binance's: what was asked for, or an error; and what it says of limits."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from mmkit.errors import VenueError
from mmkit.venues.binance_codes import error_of

_LENGTHS_MS = {"SECOND": 1_000, "MINUTE": 60_000, "HOUR": 3_600_000, "DAY": 86_400_000}


class Limit(msgspec.Struct, rename="camel"):
    """One of ``rateLimits``; `count` is what is used."""

    rate_limit_type: str
    interval: str
    interval_num: int
    limit: int
    count: int | None = None

    @property
    def length_ms(self) -> int:
        """How long its window is."""
        return _LENGTHS_MS.get(self.interval, 0) * self.interval_num


class Wrong(msgspec.Struct):
    """Binance's error."""

    code: int | None = None
    msg: str = ""


class Answer(NamedTuple):
    """What came back.

    Attributes:
        status: HTTP's, over the WebSocket API, too.
        body: JSON.
        weight: Used in this minute; `None` if it is not told.
        orders: Used, by length of the window in ms.
        retry_after_s: When to come back; 0 if it is not told.
    """

    status: int
    body: bytes | msgspec.Raw
    weight: int | None = None
    orders: Mapping[int, int] = MappingProxyType({})
    retry_after_s: float = 0.0

    def failure(self, market: str, now_ms: int) -> VenueError | None:
        """Return what is wrong; `None` if nothing is."""
        if self.status == 200:
            return None
        try:
            wrong = _wrong.decode(self.body)
        except (msgspec.MsgspecError, ValueError):
            wrong = Wrong(None, bytes(self.body[:100]).decode(errors="replace"))
        return error_of(
            market,
            self.status,
            wrong.code,
            wrong.msg,
            retry_after_s=self.retry_after_s,
            now_ms=now_ms,
        )


_wrong = msgspec.json.Decoder(Wrong)


def used(limits: list[Limit]) -> tuple[int | None, dict[int, int]]:
    """Return weight and orders that are used, as an answer of the WebSocket API tells them."""
    weight, orders = None, {}
    for one in limits:
        if one.count is None:
            continue
        if one.rate_limit_type == "REQUEST_WEIGHT" and one.length_ms == 60_000:
            weight = one.count
        elif one.rate_limit_type == "ORDERS":
            orders[one.length_ms] = one.count
    return weight, orders
