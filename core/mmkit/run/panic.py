"""The stop that needs nothing of the run: ends processes, and cancels at the venue."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from mmkit.accounts import AccountClient, AccountContext, Refused
from mmkit.book import Book
from mmkit.clock import Clock, SystemClock
from mmkit.commands import SubmitOrder, TimeInForce
from mmkit.config.real import is_account
from mmkit.errors import ConfigError, Mistake, RunError, VenueError
from mmkit.events import MAIN, Side
from mmkit.instruments import ContractKind, Instrument
from mmkit.interfaces import DataSource
from mmkit.journal import new_run_folder
from mmkit.live.opening import explained, place_of
from mmkit.run.accounts import Account, accounts, endpoint_of
from mmkit.run.assembly import instruments_of, open_sources, section_of, services
from mmkit.run.control import Running, running

if TYPE_CHECKING:
    from mmkit.config import Config, MarketConfig

_ENDS_WITHIN_S = 15.0
"""A live run waits 10 s for its orders to be gone."""
_GONE_WITHIN_S = 20.0
_BOOK_WITHIN_S = 20.0
_TRIES = 5


def end_runs(userdir: Path, run_id: str | None) -> list[str]:
    """End the run of that name, or every one that goes on; return what was done, in words.

    One that does not answer, or does not end, is killed.

    Raises:
        RunError: if one cannot be ended.
    """
    return [_end(one) for one in running(userdir, run_id)]


def _end(run: Running) -> str:
    name = run.folder.name
    answered = run.ask("stop") is not None
    if answered and run.ended(_ENDS_WITHIN_S):
        return f"{name}: ended"
    if run.process is None:
        raise RunError(
            f"{name}: the run {'goes on' if answered else 'does not answer'}, and the system does not tell which "
            "process it is; kill it, and call 'mmkit panic' again"
        )
    # The socket says which process it is: no other can have taken its number while the connection stands.
    os.kill(run.process, signal.SIGKILL)
    if not run.ended(5.0):
        raise RunError(f"{name}: process {run.process} was killed and has not ended")
    why = "did not end" if answered else "did not answer"
    return f"{name}: {why}; process {run.process} killed"


async def cancel_everything(config: Config, *, flatten: bool) -> list[str]:
    """Cancel every order of every account of the configuration; return what was done, in words.

    Raises:
        VenueError: if the venue says that orders are left, or cannot be asked.
        ConfigError: if a market has no account.
    """
    for name, market in config.markets.items():
        if not is_account(market.venue):
            path = f"{section_of(name)}venue.plugin"
            found = f"an account at a venue was expected; '{market.venue.name}' is simulated"
            raise ConfigError([Mistake("", path, found, "name the venue that the run traded at")])
    if flatten and config.keeps_from_live:
        # Canceling is always let through; taking is trading.
        raise ConfigError(config.keeps_from_live)
    clock = SystemClock()
    lines: list[str] = []
    async with (
        services(config, clock) as endpoints,
        open_sources(config, clock, endpoints) as sources,
    ):
        instruments = await instruments_of(sources)
        for name, market in config.markets.items():
            await _cancel(market, instruments[name], endpoints, config.userdir, clock)
            lines.append(f"{_of(name)}{instruments[name].symbol}: no order is left")
        if flatten:
            folder = new_run_folder(config.userdir, "panic", clock.now_ns())
            async with accounts(
                config, instruments, clock, endpoints, folder, quoting=False
            ) as opened:
                for name, account in opened.items():
                    lines.append(f"{_of(name)}{await _flatten(account, sources[name], clock)}")
    return lines


async def _cancel(
    market: MarketConfig,
    instrument: Instrument,
    endpoints: Mapping[str, str],
    userdir: Path,
    clock: Clock,
) -> None:
    """Cancel until the venue shows no order any more."""
    client = cast(
        AccountClient, market.venue.build(AccountContext(instrument, clock, endpoints, userdir))
    )
    where = place_of(instrument, endpoint_of(market.venue))
    try:
        try:
            await client.open()
        except Refused as refused:
            raise explained(refused, where) from refused
        trouble = ""
        for wait_s in (0.2, 0.5, 1.0, 2.0, 4.0, 8.0):
            with contextlib.suppress(VenueError):
                await client.cancel_all()
            try:
                left = await client.open_orders()
            except VenueError as error:
                trouble = f"the venue cannot be asked: {error}"
            else:
                if not left:
                    return
                trouble = f"{len(left)} orders are left: {', '.join(one.client_id for one in left)}"
            await asyncio.sleep(wait_s)
    finally:
        await client.close()
    raise VenueError(
        f"{instrument.symbol}: {trouble}; call 'mmkit panic' again, and look at the venue"
    )


async def _flatten(account: Account, source: DataSource, clock: Clock) -> str:
    """Bring the position to nothing by taking; return what came of it."""
    instrument, venue = account.instrument, account.venue
    position, number = account.position, 0
    book = Book()
    rows = source.stream()
    try:
        while position and number < _TRIES:
            async with asyncio.timeout(_BOOK_WITHIN_S):
                async for message in rows:
                    for row in message:
                        book.apply(row)
                    if book.known and book.best_bid is not None and book.best_ask is not None:
                        break
            number += 1
            # A hundredth beyond the best price: it is to trade, and not at any price.
            best_bid, best_ask = book.best_bid or 1, book.best_ask or 1
            side = Side.SELL if position > 0 else Side.BUY
            price = best_bid - best_bid // 100 if side is Side.SELL else best_ask + best_ask // 100
            before = len(account.fills)
            venue.send(
                SubmitOrder(
                    ts_local=clock.now_ns(),
                    order_id=number,
                    side=side,
                    price=max(price, 1),
                    quantity=abs(position),
                    time_in_force=TimeInForce.IOC,
                    # It can then not turn round what others bring down meanwhile, and may be worth next to nothing.
                    reduce_only=instrument.kind is not ContractKind.SPOT,
                )
            )
            await _settled(account)
            for fill in account.fills[before:]:
                position += fill.side.sign * fill.quantity
    except TimeoutError:
        raise VenueError(
            f"{instrument.symbol}: a book to flatten in, or the answer to an order, was expected within "
            f"{_BOOK_WITHIN_S:.0f} s; the position is {instrument.quantity(position)}; see to it at the venue"
        ) from None
    left = await venue.stop(_GONE_WITHIN_S)
    if left or position:
        raise VenueError(
            f"{instrument.symbol}: the position is {instrument.quantity(position)} after {number} orders, {len(left)} of "
            "unknown fate; see to it at the venue"
        )
    return f"{instrument.symbol}: position 0 after {number} orders"


async def _settled(account: Account) -> None:
    """Wait until no order is open."""
    async with asyncio.timeout(_GONE_WITHIN_S):
        await asyncio.sleep(0.01)
        while account.venue.handler.orders:
            await asyncio.sleep(0.02)


def _of(market: str) -> str:
    return "" if market == MAIN else f"{market}: "
