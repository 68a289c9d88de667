"""Where Binance can be reached, and what its streams are called.

Addresses: Binance Spot API docs of 2026-07-21; binance-connector-python of 2026-08-21 for USD-M and
COIN-M. USD-M's streams are split by route since 2026-04-23: on an address without one, ``/market``
streams are accepted and stay silent for ever. COIN-M's are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from mmkit.errors import ConfigError, Mistake

Endpoint = Literal["live", "testnet", "demo", "sandbox"]
Speed = Literal["100ms", "250ms", "500ms", "1000ms"]

SANDBOX = "http://127.0.0.1:8787"
"""Where ``mmkit sandbox`` listens unless told otherwise."""

_ADDRESSES: dict[tuple[str, str], dict[str, tuple[str, str]]] = {
    ("binance", "spot"): {
        "live": ("https://api.binance.com", "wss://stream.binance.com:9443"),
        "testnet": ("https://testnet.binance.vision", "wss://stream.testnet.binance.vision"),
        "demo": ("https://demo-api.binance.com", "wss://demo-stream.binance.com"),
    },
    ("binance", "usdm"): {
        "live": ("https://fapi.binance.com", "wss://fstream.binance.com"),
        "testnet": ("https://testnet.binancefuture.com", "wss://fstream.binancefuture.com"),
        "demo": ("https://demo-fapi.binance.com", "wss://demo-fstream.binance.com"),
    },
    ("binance", "coinm"): {
        "live": ("https://dapi.binance.com", "wss://dstream.binance.com"),
        "testnet": ("https://testnet.binancefuture.com", "wss://dstream.binancefuture.com"),
    },
    ("binanceus", "spot"): {
        "live": ("https://api.binance.us", "wss://stream.binance.us:9443"),
    },
}
_SPEEDS = {
    "spot": {"100ms": "@100ms", "1000ms": ""},
    "usdm": {"100ms": "@100ms", "250ms": "", "500ms": "@500ms"},
    "coinm": {"100ms": "@100ms", "250ms": "", "500ms": "@500ms"},
}
_PATHS = {"spot": "/api/v3", "usdm": "/fapi/v1", "coinm": "/dapi/v1"}
_SANDBOX_STREAMS = {"spot": "", "usdm": "/fstream", "coinm": "/dstream"}
_MARKET_ROUTE = frozenset(
    [
        "aggTrade",
        "markPrice",
        "kline",
        "continuousKline",
        "ticker",
        "miniTicker",
        "forceOrder",
        "compositeIndex",
        "contractInfo",
        "assetIndex",
        "tradingSession",
    ]
)
"""USD-M streams of the ``/market`` route; others are of ``/public``."""
_LONGEST_URL = 4000
"""Most servers refuse a request line beyond 8 kB; what does not fit is subscribed to afterwards."""
_SHOWN = 3


class Limits(NamedTuple):
    """What the venue lets one address do. Beyond it, it disconnects, and then bans."""

    streams: int
    """Of one connection."""
    messages: int
    """From the client, on one connection, in one second; one less than allowed, for an answer to a ping."""
    attempts: int = 300
    """To connect, in five minutes."""


LIMITS = {"spot": Limits(1024, 4), "usdm": Limits(200, 9), "coinm": Limits(200, 9)}
"""Binance Spot API, "WebSocket Limits": 1024 streams, 5 messages a second, 300 attempts in five minutes.
Futures: 10 messages a second; the documents say 1024 streams in one place and 200 in another."""
ATTEMPTS_S = 300.0


class Addresses(NamedTuple):
    """The roots of one endpoint. `rest` ends before ``/depth`` and the like."""

    rest: str
    stream: str
    advice: str
    """What to do when it cannot be reached."""

    @property
    def loopback(self) -> bool:
        """Whether it is this machine, which no proxy stands before."""
        return urlsplit(self.rest).hostname in ("127.0.0.1", "localhost", "::1")


class Route(NamedTuple):
    """One connection: its address up to the query, what the query ends with, and its streams."""

    name: str
    root: str
    streams: tuple[str, ...]
    query: str = ""

    @property
    def url(self) -> str:
        """The address with as many of the streams as it can hold."""
        return f"{self.root}?streams={'/'.join(self.streams[: self.held])}{self.query}"

    @property
    def shown(self) -> str:
        """The address as people are told it, with no more than three of the streams."""
        more = "/…" if len(self.streams) > _SHOWN else ""
        return f"{self.root}?streams={'/'.join(self.streams[:_SHOWN])}{more}{self.query}"

    @property
    def held(self) -> int:
        """How many streams the address holds, the first ones."""
        room = _LONGEST_URL
        for number, name in enumerate(self.streams):
            room -= len(name) + 1
            if room < 0:
                return number
        return len(self.streams)


def addresses(
    venue: str,
    market: str,
    endpoint: Endpoint,
    services: Mapping[str, str],
    *,
    url: str | None = None,
    rest_url: str | None = None,
) -> Addresses:
    """Return where to go.

    Args:
        venue: ccxt's id.
        market: ``spot``, ``usdm`` or ``coinm``.
        endpoint: As configured.
        services: Addresses of running services.
        url: Takes the place of the streams' root.
        rest_url: Takes the place of the REST root, up to and without ``/api``, ``/fapi`` or ``/dapi``.

    Raises:
        ConfigError: if there is no such endpoint.
    """
    if endpoint == "sandbox":
        base = services.get("sandbox", SANDBOX).rstrip("/")
        stream = "ws" + base.removeprefix("http") + _SANDBOX_STREAMS.get(market, "")
        advice = "start it with 'mmkit sandbox' or add 'services: [{plugin: sandbox}]'"
    else:
        known = _ADDRESSES.get((venue, market), {})
        if endpoint not in known:
            raise ConfigError([_nowhere(venue, market, endpoint, list(known))])
        base, stream = known[endpoint]
        advice = (
            "check the network, or give another address with 'data.url' and 'data.rest_url', or try "
            "without any with 'endpoint: sandbox'"
        )
    rest = (rest_url or base).rstrip("/") + _PATHS[market]
    return Addresses(rest, (url or stream).rstrip("/"), advice)


def stream_names(market: str, native: str, streams: Iterable[str], speed: Speed) -> list[str]:
    """Return what the venue calls the streams of one instrument, such as ``btcusdt@depth@100ms``."""
    names = []
    for stream in streams:
        suffix = stream
        if stream.startswith("depth"):
            suffix += _SPEEDS[market][speed]
        elif stream == "markPrice":
            suffix += "@1s"
        names.append(f"{native.lower()}@{suffix}")
    return names


def kind_of(name: str) -> str:
    """Return what a stream tells: ``depth`` of ``btcusdt@depth@100ms``, ``kline`` of ``btcusdt@kline_1m``."""
    symbol, _, rest = name.partition("@")
    told = symbol[1:] if symbol.startswith("!") else rest
    return told.partition("@")[0].partition("_")[0]


def route_of(market: str, name: str) -> str:
    """Return the part of the address that carries a stream: USD-M's ``public`` or ``market``, else none."""
    if market != "usdm":
        return ""
    return "market" if kind_of(name) in _MARKET_ROUTE else "public"


def routes(
    addresses: Addresses, market: str, names: Sequence[str], query: str = "", most: int = 0
) -> list[Route]:
    """Return the connections that the streams need: of one route each, of `most` streams at most.

    Args:
        addresses: Where to.
        market: ``spot``, ``usdm`` or ``coinm``.
        names: What the venue calls the streams.
        query: Added to each address, such as ``&timeUnit=MICROSECOND``.
        most: Streams on one connection; 0 for the venue's limit.
    """
    most = most or LIMITS[market].streams
    routed: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        routed.setdefault(route_of(market, name), []).append(name)
    return [
        Route(
            f"{route or 'stream'}{f'-{start // most + 1}' if start else ''}",
            root_of(addresses, route),
            tuple(found[start : start + most]),
            query,
        )
        for route, found in routed.items()
        for start in range(0, len(found), most)
    ]


def root_of(addresses: Addresses, route: str) -> str:
    """Return the address of combined streams on a route, without its query."""
    return f"{addresses.stream}{'/' + route if route else ''}/stream"


def speed_mistakes(market: str, speed: Speed) -> list[Mistake]:
    """Return what is wrong with the choice of speed."""
    there = _SPEEDS[market]
    if speed in there:
        return []
    return [
        Mistake(
            "",
            "data.speed",
            f"'{speed}' is not offered on {market}",
            f"there are {', '.join(there)}",
        )
    ]


def absent_mistakes(market: str, streams: Iterable[str]) -> list[Mistake]:
    """Return what is wrong with the choice of streams on this market."""
    elsewhere = ("markPrice", "forceOrder") if market == "spot" else ("kline_1s",)
    absent = [name for name in streams if name in elsewhere]
    if not absent:
        return []
    found = f"{market} has no stream {', '.join(map(repr, absent))}"
    return [Mistake("", "data.streams", found, "leave it out")]


def _nowhere(venue: str, market: str, endpoint: str, known: list[str]) -> Mistake:
    if not known:
        there = ", ".join(f"{name} {kind}" for name, kind in _ADDRESSES)
        return Mistake(
            "", "instrument", f"'{venue}' has no market '{market}' here", f"there are {there}"
        )
    return Mistake(
        "",
        "data.endpoint",
        f"'{venue}' has no '{endpoint}' for {market}",
        f"there are {', '.join([*known, 'sandbox'])}",
    )
