"""Runs the sandbox in the foreground and says how to reach it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path
from typing import Any

import click
import msgspec
from pydantic import ValidationError

from mmkit.clock import SystemClock
from mmkit.errors import UsageError
from mmkit.instruments import InstrumentSpec
from mmkit.interfaces import ServiceContext
from mmkit.units import parse_duration
from mmkit_sandbox.accountconfig import DEMO_KEY, DEMO_SECRET
from mmkit_sandbox.exchange import Exchange
from mmkit_sandbox.faults import FaultsConfig
from mmkit_sandbox.gateway import GatewayConfig
from mmkit_sandbox.listing import COINM, FUTURES, SPOT, USDM
from mmkit_sandbox.replay import ReplayedExchange
from mmkit_sandbox.service import Config, Sandbox

MMKIT_LOOKS_AT = 8787
"""The port where ``endpoint: sandbox`` looks for an exchange that no service has started."""


def seconds(duration: str | None) -> float | None:
    """Return a duration such as ``30s`` in seconds; `None` is for ever.

    Raises:
        UsageError: if it is none.
    """
    if duration is None:
        return None
    try:
        return parse_duration(duration) / 1e9
    except ValueError as error:
        raise UsageError(f"--duration: {error}") from None


def faults_of(
    at: tuple[str, ...], every: str | None, kinds: tuple[str, ...], seed: int
) -> FaultsConfig:
    """Return what the options say goes wrong.

    Raises:
        UsageError: if they make no sense.
    """
    try:
        return FaultsConfig.model_validate(
            {"at": at, "every": every, "kinds": kinds, "seed": seed}, strict=False
        )
    except ValidationError as error:
        raise UsageError(f"--fault: {_plainly(error)}") from None


def gateway_of(faults: tuple[str, ...], seed: int) -> GatewayConfig:
    """Return what the options say of the language model.

    Raises:
        UsageError: if they make no sense.
    """
    try:
        return GatewayConfig(faults=faults, seed=seed)
    except ValidationError as error:
        raise UsageError(f"--gateway-fault: {_plainly(error)}") from None


def config_of(**options: Any) -> Config:
    """Return the sandbox's configuration.

    Raises:
        UsageError: if the options do not go together.
    """
    try:
        return Config(**options)
    except ValidationError as error:
        raise UsageError(_plainly(error)) from None


def _plainly(error: ValidationError) -> str:
    return "; ".join(one["msg"].removeprefix("Value error, ") for one in error.errors())


async def serve(config: Config, lasts: float | None, as_json: bool) -> None:
    """Serve until `lasts` seconds are over or the process is told to end.

    Raises:
        VenueError: if the port is in use.
        CaptureError: if a capture cannot be read.
    """
    # A symbol without a grid of its own, so that BTCUSDT's is scaled to each one that is listed.
    spec = InstrumentSpec(venue="binance", market=SPOT, symbol="")
    service = Sandbox(config, ServiceContext(spec, SystemClock(), Path("user_data")))
    url = await service.start()
    try:
        assert service.exchange is not None  # it has just started
        addresses = _addresses(url, service.exchange, config)
        click.echo(
            msgspec.json.encode(addresses).decode()
            if as_json
            else _words(addresses, service.exchange, config)
        )
        ended = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), lasts)
    finally:
        await service.stop()


def _addresses(url: str, exchange: Exchange, config: Config) -> dict[str, object]:
    ws = "ws" + url.removeprefix("http")
    private: dict[str, object] = {}
    if not config.replay:
        private = {
            "ws_api": {
                SPOT: f"{ws}/ws-api/v3",
                USDM: f"{ws}/ws-fapi/v1",
                COINM: f"{ws}/ws-dapi/v1",
            },
            "private": {
                USDM: f"{ws}/fstream/private/ws?listenKey=",
                COINM: f"{ws}/dstream/ws/",
            },
        }
        if not config.accounts:
            private["account"] = {"key": DEMO_KEY, "secret": DEMO_SECRET}
    return private | {
        "url": url,
        "rest": {SPOT: f"{url}/api/v3", USDM: f"{url}/fapi/v1", COINM: f"{url}/dapi/v1"},
        "ws": {
            SPOT: [f"{ws}/ws", f"{ws}/stream"],
            USDM: [f"{ws}/fstream/public", f"{ws}/fstream/market"],
            COINM: [f"{ws}/dstream/ws", f"{ws}/dstream/stream"],
        },
        "gateway": f"{url}/v1",
        "symbols": {
            market: [one.symbol for one in exchange.listings if one.market == market]
            for market in (SPOT, *FUTURES)
        },
    }


def _words(addresses: dict[str, object], exchange: Exchange, config: Config) -> str:
    url = str(addresses["url"])
    ws = "ws" + url.removeprefix("http")
    listed = ", ".join(f"{one.symbol} ({one.market})" for one in exchange.listings)
    first = exchange.listings[0]
    spot = first.market == SPOT
    root, rest, streams = {
        SPOT: ("", f"{url}/api/v3", ws),
        USDM: ("/fstream", f"{url}/fapi/v1", f"{ws}/fstream/public"),
        COINM: ("/dstream", f"{url}/dapi/v1", f"{ws}/dstream"),
    }[first.market]
    if isinstance(exchange, ReplayedExchange):
        what = (
            f"Playing {exchange.messages:,} recorded messages at {config.speed:g} times their own "
            "pace, once somebody\nsubscribes or asks for the time."
        )
    else:
        what = f"The markets trade by themselves, from seed {config.seed}."
    if config.faults.on:
        what += f"\nThings go wrong on purpose; {url}/sandbox/faults tells what has."
    if config.gateway.faults:
        what += (
            f"\nThe advisor's answers go wrong on purpose; {url}/sandbox/gateway tells which have."
        )
    source = "plugin: binance, endpoint: sandbox"
    recorded = exchange.streams if isinstance(exchange, ReplayedExchange) else ()
    if recorded and not spot and not any("@aggTrade" in name for name in recorded):
        # mmkit asks the futures for aggTrade, the documented stream, unless it is told what there is.
        source += ", streams: [depth, trade]"
    if config.port != MMKIT_LOOKS_AT:
        source += f', url: "{ws}{root}", rest_url: "{url}"'
    trading = ""
    if "ws_api" in addresses:
        trading = f"""
  orders      signed REST, and {ws}/ws-api/v3 (spot), {ws}/ws-fapi/v1 (USD-M)
              key    {DEMO_KEY}
              secret {DEMO_SECRET}
              known to everybody, and worth nothing; {url}/sandbox/ledger tells what it has"""
    return f"""\
Sandbox exchange at {url}, listing {listed}.
{what} Ctrl-C ends it.

  REST        spot   {url}/api/v3
              USD-M  {url}/fapi/v1
              COIN-M {url}/dapi/v1
  WebSocket   spot   {ws}/ws  {ws}/stream
              USD-M  {ws}/fstream/public  {ws}/fstream/market
              COIN-M {ws}/dstream/ws  {ws}/dstream/stream{trading}
  advisor     {url}/v1, as OpenAI's; a rule, and no language model
  try         curl '{rest}/depth?symbol={first.symbol}&limit=5'
              {streams}/stream?streams={first.symbol.lower()}@depth@100ms
  mmkit       data: {{{source}}}
              and no 'services: [{{plugin: sandbox}}]', which would start another one
  ccxt        override every key of urls['api']; docs/sandbox.md has them to copy"""
