"""Where Binance's private side can be reached.

Addresses: Binance Spot API docs of 2026-07-21, and "demo-mode" there; binance-connector-python of 2026-08-21 for USD-M and
COIN-M. USD-M's private streams have a route of their own since 2026-04-23.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from mmkit.errors import ConfigError, Mistake
from mmkit_binance.endpoints import SANDBOX, Endpoint


class Places(NamedTuple):
    """The addresses of one endpoint.

    Attributes:
        host: Of REST, up to and without ``/api``, ``/fapi`` or ``/dapi``.
        api: The WebSocket API.
        user: Private streams, up to the listen key; empty on spot, whose come over the WebSocket API.
        advice: What to do when it cannot be reached.
    """

    host: str
    api: str
    user: str
    advice: str = "check the network, or try 'endpoint: sandbox'"

    @property
    def loopback(self) -> bool:
        """Whether it is this machine, which no proxy stands before."""
        return urlsplit(self.host).hostname in ("127.0.0.1", "localhost", "::1")


_FUTURES_TEST = "wss://testnet.binancefuture.com"
_PLACES: dict[str, dict[str, Places]] = {
    "spot": {
        "live": Places("https://api.binance.com", "wss://ws-api.binance.com:443/ws-api/v3", ""),
        "testnet": Places(
            "https://testnet.binance.vision", "wss://ws-api.testnet.binance.vision/ws-api/v3", ""
        ),
        "demo": Places(
            "https://demo-api.binance.com", "wss://demo-ws-api.binance.com/ws-api/v3", ""
        ),
    },
    "usdm": {
        "live": Places(
            "https://fapi.binance.com",
            "wss://ws-fapi.binance.com/ws-fapi/v1",
            "wss://fstream.binance.com/private/ws?listenKey=",
        ),
        "testnet": Places(
            "https://testnet.binancefuture.com",
            f"{_FUTURES_TEST}/ws-fapi/v1",
            "wss://fstream.binancefuture.com/private/ws?listenKey=",
        ),
        "demo": Places(
            "https://demo-fapi.binance.com",
            f"{_FUTURES_TEST}/ws-fapi/v1",
            "wss://fstream.binancefuture.com/private/ws?listenKey=",
        ),
    },
}


def places(market: str, endpoint: Endpoint, services: Mapping[str, str], url: str | None) -> Places:
    """Return where to go.

    Args:
        market: ``spot`` or ``usdm``.
        endpoint: As configured.
        services: Addresses of running services.
        url: Root of the sandbox, in place of the service's.

    Raises:
        ConfigError: if there is no such place.
    """
    mistake: Mistake | None = None
    if market not in _PLACES:
        words = f"spot or usdm was expected; found {market}, whose orders the venue 'ccxt' sends"
        mistake = Mistake("", "venue.plugin", words, "say 'plugin: ccxt'")
    elif endpoint != "sandbox" and endpoint not in _PLACES[market]:
        there = ", ".join([*_PLACES[market], "sandbox"])
        mistake = Mistake("", "venue.endpoint", f"found '{endpoint}'", f"there are {there}")
    elif url is not None and endpoint != "sandbox":
        words = f"an address is for 'endpoint: sandbox'; found endpoint '{endpoint}'"
        mistake = Mistake("", "venue.url", words, "leave it out, or say sandbox")
    if mistake is not None:
        raise ConfigError([mistake])
    if endpoint != "sandbox":
        return _PLACES[market][endpoint]
    base = (url or services.get("sandbox", SANDBOX)).rstrip("/")
    stream = "ws" + base.removeprefix("http")
    advice = "start it with 'mmkit sandbox' or add 'services: [{plugin: sandbox}]'"
    if market == "spot":
        return Places(base, f"{stream}/ws-api/v3", "", advice)
    user = f"{stream}/fstream/private/ws?listenKey="
    return Places(base, f"{stream}/ws-fapi/v1", user, advice)
