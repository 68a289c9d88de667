"""A sandbox in a thread of the test, whose own books the test can look into, and runs that trade there."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from mmkit.clock import SystemClock
from mmkit.instruments import InstrumentSpec
from mmkit.interfaces import ServiceContext
from mmkit_sandbox.account import Account
from mmkit_sandbox.ledger import EntryKind
from mmkit_sandbox.service import Config, Sandbox

T = TypeVar("T")
KEY, SECRET = "MARKEDKEY0123456789abcdef", "MARKEDSECRET0123456789abcdef"
SYMBOLS = {"usdm": "BTC/USDT:USDT", "spot": "BTC/USDT", "coinm": "BTC/USD:BTC"}


class Exchange:
    """The running sandbox."""

    def __init__(self, service: dict[str, Any] | None = None, **account: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        money = {"USDT": "1000000", "BTC": "20"}
        who = {"key": KEY, "secret": SECRET, "balances": money, **account}
        config = Config.model_validate(
            {"symbols": list(SYMBOLS.values()), "accounts": [who], **(service or {})}
        )
        spec = InstrumentSpec(venue="binance", market="usdm", symbol="BTC/USDT:USDT")
        self._sandbox = Sandbox(config, ServiceContext(spec, SystemClock(), Path("user_data")))
        self.url = self._call(self._sandbox.start)

    def _call(self, work: Callable[[], Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work(), self._loop).result(20)

    def look(self, at: Callable[[Account], T]) -> T:
        """Return what the exchange's own books say of the account."""

        async def looked() -> T:
            assert self._sandbox.accounts is not None
            return at(self._sandbox.accounts.by_key[KEY])

        return self._call(looked)  # type: ignore[no-any-return]

    def open_orders(self) -> list[str]:
        """Client order ids of what is on the book."""
        return self.look(
            lambda account: [
                order.client_id
                for one in self._sandbox.accounts.listings()  # type: ignore[union-attr]
                for order in account.open_orders(one)
            ]
        )

    def position(self) -> Decimal:
        """Of the contract."""
        return self.look(
            lambda account: next((one.quantity for one in account.positions.values()), Decimal(0))
        )

    def moved(self) -> dict[tuple[str, str], Decimal]:
        """What has come in since the start, by market and asset, as the exchange has booked it."""
        sums: dict[tuple[str, str], Decimal] = {}
        for entry in self.look(lambda account: list(account.entries)):
            if entry.kind is not EntryKind.DEPOSIT:
                key = (entry.market, entry.asset)
                sums[key] = sums.get(key, Decimal(0)) + entry.amount
        return sums

    def stop(self) -> None:
        self._call(self._sandbox.stop)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)


@contextlib.contextmanager
def exchange(service: dict[str, Any] | None = None, **account: Any) -> Iterator[Exchange]:
    """Start one; close it in the end.

    Args:
        service: What is written beside ``plugin: sandbox``.
        account: What is written under ``accounts``.
    """
    running = Exchange(service, **account)
    try:
        yield running
    finally:
        running.stop()


def live_config(
    exchange: Exchange, market: str = "usdm", plugin: str = "ccxt", **sections: str
) -> str:
    """Return a configuration that trades there."""
    stream = (
        exchange.url.replace("http", "ws")
        + {"usdm": "/fstream", "spot": "", "coinm": "/dstream"}[market]
    )
    whole = {
        "mode": "live",
        "instrument": f'{{venue: binance, market: {market}, symbol: "{SYMBOLS[market]}"}}',
        "data": f"{{plugin: binance, endpoint: sandbox, url: '{stream}', "
        f"rest_url: '{exchange.url}'}}",
        "venue": f"{{plugin: {plugin}, endpoint: sandbox, "
        'key: "${LIVE_KEY}", secret: "${LIVE_SECRET}", '
        f"url: '{exchange.url}'}}",
        "strategy": '{plugin: join_best, every: 100ms, size: "0.01", max_position: "0.05"}',
        "risk": '{max_position: "0.05", max_order: "0.02", stale_after: 5s, max_drawdown: "100000"}',
    } | sections
    return "\n".join(f"{name}: {value}" for name, value in whole.items()) + "\n"
