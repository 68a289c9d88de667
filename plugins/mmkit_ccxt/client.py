"""Makes ccxt.pro's client of one venue, and sees to it that it goes nowhere else than it is told.

Written against ccxt 4.5.90. It has the real addresses in many places; one that is forgotten is one that a
request can leave by, so for the sandbox every address under ``urls['api']`` is replaced, and looked at again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Literal
from urllib.parse import urlsplit

from mmkit.errors import ConfigError, Mistake
from mmkit.instruments import InstrumentSpec

Endpoint = Literal["live", "testnet", "demo", "sandbox"]

SANDBOX = "http://127.0.0.1:8787"
"""Where ``mmkit sandbox`` listens unless told otherwise."""

_SANDBOXED = ("binance", "binanceusdm")
"""The ids whose protocol the sandbox speaks."""
_BINANCE_MARKETS = {"spot": "spot", "usdm": "linear", "coinm": "inverse"}
_TIMEOUT_MS = 10_000
_POLITE_S = 0.2  # Ctrl-C is to end a run within a second

# ccxt's debug lines hold the headers of every request.
_library_log = logging.getLogger("mmkit.ccxt.library")
_library_log.setLevel(logging.WARNING)


def make_client(
    spec: InstrumentSpec,
    endpoint: Endpoint,
    services: Mapping[str, str],
    *,
    url: str | None = None,
    options: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    kind: Callable[[type[Any]], type[Any]] = lambda found: found,
    section: str = "data",
) -> Any:
    """Return ccxt.pro's client of the venue; nothing is connected yet.

    Args:
        spec: Names the venue by ccxt's id.
        endpoint: As configured.
        services: Addresses of running services.
        url: The sandbox's root, in place of the service's.
        options: ccxt's ``options``, laid over its own and ours.
        settings: More of what ccxt's constructor takes, such as keys.
        kind: Given ccxt's class, returns the one to be made.
        section: Of the configuration, for its mistakes.

    Raises:
        ConfigError: if ccxt.pro does not know the venue, or the venue has no such endpoint.
    """
    import ccxt.pro

    if spec.venue not in ccxt.pro.exchanges:
        raise ConfigError([_unknown_venue(spec.venue, ccxt.pro.exchanges, ccxt.exchanges)])
    config: dict[str, Any] = {
        "timeout": _TIMEOUT_MS,
        "logger": _library_log,
        "aiohttp_trust_env": endpoint != "sandbox",  # no proxy stands before this machine itself
        "options": {**_lean(spec), **(options or {})},
        **(settings or {}),
    }
    make = kind(getattr(ccxt.pro, spec.venue))
    if endpoint != "sandbox":
        client = make(config)
        _leave_live(client, endpoint, spec, section)
        return client
    if spec.venue not in _SANDBOXED:
        found = f"the sandbox speaks {' and '.join(_SANDBOXED)}; found venue '{spec.venue}'"
        hint = "say live, or another venue"
        raise ConfigError([Mistake("", f"{section}.endpoint", found, hint)])
    base = (url or services.get("sandbox", SANDBOX)).rstrip("/")
    known = getattr(ccxt.pro, spec.venue)().urls["api"]
    config["urls"] = {"api": _sandbox_addresses(known, base)}
    config["timeout_on_exit"] = 0  # which is for the end of a TLS connection
    client = make(config)
    wanted = urlsplit(base).netloc
    strangers = [one for one in addresses_of(client) if urlsplit(one).netloc != wanted]
    if strangers:
        raise ConfigError(
            [
                Mistake(
                    "",
                    f"{section}.endpoint",
                    f"every address of ccxt was expected to lead to {base}; found {', '.join(strangers)}",
                    "mmkit was written for ccxt 4.5.90",
                )
            ]
        )
    return client


async def let_go(client: Any) -> None:
    """Close every connection of the client; one whose other end does not answer is cut off."""
    polite = asyncio.ensure_future(client.close_ws_clients())
    await asyncio.wait({polite}, timeout=_POLITE_S)
    if client.session is not None:
        # And with it the transports, so that nothing waits for an answer.
        await client.session.close()
    await client.close()
    await polite


def addresses_of(client: Any) -> list[str]:
    """Return every address that the client may send a request to."""
    return list(_leaves(client.urls["api"]))


def _lean(spec: InstrumentSpec) -> dict[str, Any]:
    """Ask for no more than the public data of the market needs; on Binance, for one market."""
    if not spec.venue.startswith("binance"):
        return {}
    options: dict[str, Any] = {"fetchCurrencies": False, "fetchMargins": False}
    # A snapshot that is refused is asked for again at once, three times, also after 429 and 418; the
    # waiting is ours. Elsewhere the same number says how long a snapshot that is too old is asked for.
    options["watchOrderBook"] = {"maxRetries": 1}
    if spec.venue == "binance":
        options["fetchMarkets"] = {"types": [_BINANCE_MARKETS[spec.market]]}
    if spec.market != "spot":
        # Whose time is asked for; and <symbol>@trade is not documented there.
        options |= {"defaultType": "swap", "defaultSubType": _BINANCE_MARKETS[spec.market]}
        options["watchTrades"] = {"name": "aggTrade"}
    return options


def _leave_live(client: Any, endpoint: Endpoint, spec: InstrumentSpec, section: str) -> None:
    import ccxt

    if endpoint == "live":
        return
    # Some have an empty place where the addresses would be, at which ccxt itself stumbles.
    places = {"testnet": ("test",), "demo": ("demo", "demotrading")}[endpoint]
    why_not = "" if any(client.urls.get(place) for place in places) else "it knows no address"
    if not why_not:
        try:
            (client.set_sandbox_mode if endpoint == "testnet" else client.enable_demo_trading)(True)
        except ccxt.NotSupported as error:
            why_not = str(error)
    if why_not:
        mistake = Mistake(
            "",
            f"{section}.endpoint",
            f"ccxt has no '{endpoint}' of '{spec.venue}' ({why_not})",
            "say 'endpoint: live'; market data needs no key"
            if section == "data"
            else "say 'endpoint: sandbox', or another venue",
        )
        raise ConfigError([mistake])


def _sandbox_addresses(known: Any, base: str) -> Any:
    moved = _moved(known, base)
    stream = "ws" + base.removeprefix("http")
    # ccxt tells spot from USD-M by "/stream" in the address.
    moved["ws"] |= {
        "spot": f"{stream}/stream/ws",
        "linear": f"{stream}/fstream/ws",
        "inverse": f"{stream}/dstream/ws",
    }
    return moved


def _moved(known: Any, base: str) -> Any:
    """Return a tree of addresses with the host of each replaced by that of `base`."""
    if isinstance(known, dict):
        return {key: _moved(value, base) for key, value in known.items()}
    scheme = "ws" if known.startswith("ws") else "http"
    return scheme + base.removeprefix("http") + urlsplit(known).path


def _leaves(tree: Any) -> Iterator[str]:
    if isinstance(tree, dict):
        for branch in tree.values():
            yield from _leaves(branch)
    elif isinstance(tree, str):
        yield tree


def _unknown_venue(venue: str, streaming: list[str], all_of_them: list[str]) -> Mistake:
    if venue in all_of_them:
        words = f"ccxt has '{venue}' without streams; one that ccxt.pro covers was expected"
        return Mistake("", "instrument.venue", words, f"there are {', '.join(streaming)}")
    near = get_close_matches(venue.lower(), streaming, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(streaming)}"
    return Mistake("", "instrument.venue", f"ccxt.pro knows no '{venue}'", hint)
