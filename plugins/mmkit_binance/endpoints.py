"""Where Binance can be reached, and what its streams are called.

Addresses: Binance Spot API docs of 2026-07-21; binance-connector-python of 2026-08-21 for USD-M, whose
streams are split by route since 2026-04-23: on an address without one, ``/market`` streams are accepted
and stay silent for ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    ("binanceus", "spot"): {
        "live": ("https://api.binance.us", "wss://stream.binance.us:9443"),
    },
}
_SPEEDS = {
    "spot": {"100ms": "@100ms", "1000ms": ""},
    "usdm": {"100ms": "@100ms", "250ms": "", "500ms": "@500ms"},
}
_MARKET_ROUTE = ("aggTrade", "markPrice")  # USD-M streams of the /market route; others are /public


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
    """One connection: its address and the streams it delivers."""

    name: str
    url: str
    streams: tuple[str, ...]


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
        market: ``spot`` or ``usdm``.
        endpoint: As configured.
        services: Addresses of running services.
        url: Takes the place of the streams' root.
        rest_url: Takes the place of the REST root, up to and without ``/api`` or ``/fapi``.

    Raises:
        ConfigError: if there is no such endpoint.
    """
    path = "/fapi/v1" if market == "usdm" else "/api/v3"
    if endpoint == "sandbox":
        base = services.get("sandbox", SANDBOX).rstrip("/")
        stream = "ws" + base.removeprefix("http") + ("/fstream" if market == "usdm" else "")
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
    rest = (rest_url or base).rstrip("/") + path
    return Addresses(rest, (url or stream).rstrip("/"), advice)


def routes(
    addresses: Addresses, market: str, native: str, streams: Sequence[str], speed: Speed
) -> list[Route]:
    """Return the connections that the streams need, one for each route."""
    names: dict[str, list[str]] = {}
    for stream in streams:
        routed = "market" if stream in _MARKET_ROUTE else "public"
        suffix = stream
        if stream.startswith("depth"):
            suffix += _SPEEDS[market][speed]
        elif stream == "markPrice":
            suffix += "@1s"
        names.setdefault(routed if market == "usdm" else "", []).append(
            f"{native.lower()}@{suffix}"
        )
    return [
        Route(
            name or "stream",
            f"{addresses.stream}{'/' + name if name else ''}/stream?streams={'/'.join(found)}",
            tuple(found),
        )
        for name, found in names.items()
    ]


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
