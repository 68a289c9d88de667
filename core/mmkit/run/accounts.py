"""The accounts of a live run: opened before it quotes, compared with the venue after."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from mmkit.accounts import AccountClient, AccountContext, AccountInfo, Balance
from mmkit.clock import Clock
from mmkit.config.real import is_real_money
from mmkit.errors import VenueError
from mmkit.events import MAIN
from mmkit.instruments import ContractKind, Instrument
from mmkit.interfaces import AccountConfig
from mmkit.live.asking import ANSWER_WITHIN_S
from mmkit.live.known import KnownFill, KnownOrder
from mmkit.live.opening import place_of
from mmkit.live.store import Store, totals
from mmkit.live.venue import LiveVenue
from mmkit.report import LiveFigures
from mmkit.run.account_setup import set_up
from mmkit.run.assembly import told_of
from mmkit.run.payable import refuse_unpayable

if TYPE_CHECKING:
    from mmkit.config import Chosen, Config, MarketConfig

_log = logging.getLogger("mmkit.live")

ORDERS = "orders"
"""Folder of the journals of orders, in the user's."""
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_ZERO = Decimal(0)
_DIGIT = Decimal("1e-8")


@dataclass
class Account:
    """One market's account, opened.

    Attributes:
        client: The account.
        store: The journal of orders.
        venue: Around both.
        info: What the venue says of key and account.
        endpoint: Where it is.
        tag: Begins the client order ids of this run.
        position: At the start, in lots; on spot rounded up.
        dust: By so much less was held, as fees were taken from it: less than a lot.
        moved: What fills and funding had come to at the start, in the settlement currency.
        balances: At the start, by asset, of everything.
        funds: What orders can be paid with, by asset, less what the position at the start holds.
        path: The journal of orders.
    """

    client: AccountClient
    store: Store
    venue: LiveVenue
    info: AccountInfo
    instrument: Instrument
    endpoint: str
    tag: str
    path: Path
    position: int = 0
    dust: Decimal = _ZERO
    moved: Decimal = _ZERO
    balances: Mapping[str, Balance] = field(default_factory=dict)
    funds: dict[str, Decimal] = field(default_factory=dict)

    @property
    def opening(self) -> Decimal:
        """Position at the start, to the last digit."""
        return self.instrument.quantity(self.position) - self.dust

    @property
    def fills(self) -> list[KnownFill]:
        """Those of this run."""
        return self.store.fills_of(self.tag)


@contextlib.asynccontextmanager
async def accounts(
    config: Config,
    instruments: Mapping[str, Instrument],
    clock: Clock,
    endpoints: Mapping[str, str],
    folder: Path,
    *,
    quoting: bool = True,
) -> AsyncIterator[dict[str, Account]]:
    """Open the account of every market: what earlier runs left is canceled and known; close all at the end.

    Args:
        config: Names the venues.
        instruments: What is traded, by market.
        clock: The run's.
        endpoints: Addresses of running services.
        folder: Of the run.
        quoting: Whether the strategy is going to quote: then they are set up as configured, and have to be able to pay.

    Raises:
        ConfigError: if leverage or size cannot be.
        VenueError: if the account cannot be traded.
        RunError: if the journal of orders cannot be used.
    """
    async with contextlib.AsyncExitStack() as stack:
        opened: dict[str, Account] = {}
        for number, (name, market) in enumerate(config.markets.items()):
            with told_of(name):
                # A name that no other run has: microseconds, and the market.
                tag = f"mm{_short(clock.now_ns() // 1000)}{_DIGITS[number]}"
                context = AccountContext(instruments[name], clock, endpoints, config.userdir)
                client = cast(AccountClient, market.venue.build(context))
                try:
                    path = journal_of(config, market, instruments[name], folder)
                    store = Store(path)
                except BaseException:
                    await client.close()
                    raise
                where = place_of(instruments[name], endpoint_of(market.venue))
                venue = LiveVenue(instruments[name], client, store, clock, tag, where=where)
                # Which closes client and journal.
                stack.push_async_callback(venue.close)
                info = await venue.start()
                if quoting:
                    info = await set_up(client, info, market.venue.config, where)
                account = Account(
                    client,
                    store,
                    venue,
                    info,
                    instruments[name],
                    endpoint_of(market.venue),
                    tag,
                    path,
                )
                await _take_stock(account)
                if quoting:
                    strategy = config.strategy.config if name == MAIN else None
                    refuse_unpayable(account, strategy, where)
                opened[name] = account
        yield opened


def endpoint_of(chosen: Chosen) -> str:
    """Return where a real venue's orders go; empty for a simulated one."""
    return chosen.config.endpoint if isinstance(chosen.config, AccountConfig) else ""


def journal_of(config: Config, market: MarketConfig, instrument: Instrument, folder: Path) -> Path:
    """Return where the journal of orders of one market is kept.

    A venue that the run itself starts, such as the sandbox, knows nothing of earlier runs: its journal is in the folder
    of the run.
    """
    endpoint = endpoint_of(market.venue)
    parts = (instrument.venue, endpoint, instrument.market, instrument.symbol)
    name = "-".join(re.sub(r"[^A-Za-z0-9]+", "_", part) for part in parts) + ".sqlite"
    own = any(service.name == endpoint for service in config.services)
    return (folder if own else config.userdir) / ORDERS / name


async def _take_stock(account: Account) -> None:
    """See what there is: of a contract by the venue, on spot what our own trades have come to."""
    instrument, books = account.instrument, account.venue.books
    spot = instrument.kind is ContractKind.SPOT
    account.position, account.dust = books.ledger.held
    if not spot and books.anchor is not None:
        account.position += instrument.lots(books.anchor.position)
    account.moved = books.ledger.moved.get(instrument.settle, _ZERO)
    account.balances = await account.client.balances()
    account.funds = {
        asset: one.free if spot else _whole(one) for asset, one in account.balances.items()
    }
    if spot:
        for asset in (instrument.base, instrument.quote):
            account.funds.setdefault(asset, _ZERO)
        account.funds[instrument.base] -= account.opening


def _whole(balance: Balance | None) -> Decimal:
    return _ZERO if balance is None else balance.free + balance.locked


def _short(number: int) -> str:
    digits = ""
    while number:
        number, rest = divmod(number, 36)
        digits = _DIGITS[rest] + digits
    return digits


# --- after the run --------------------------------------------------------------------------------


async def figures(
    opened: Mapping[str, Account], left: Mapping[str, list[KnownOrder]]
) -> dict[str, LiveFigures]:
    """Return what became of each account, compared with what the venue says now."""
    told: dict[str, LiveFigures] = {}
    for name, account in opened.items():
        fills = account.fills
        position, fees = totals(fills)
        held = account.opening + account.instrument.quantity(position)
        if account.instrument.kind is ContractKind.SPOT:
            held -= fees.get(account.instrument.base, _ZERO)
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                differences = await _differences(account, opened)
        except (VenueError, TimeoutError) as error:
            differences = [f"the venue could not be asked: {error or 'no answer'}"]
        told[name] = LiveFigures(
            endpoint=account.endpoint,
            journal=str(account.path),
            opening=account.opening,
            position=held,
            fees=fees,
            left=[f"{one.client_id}: {one.stage}" for one in left.get(name, ())],
            foreign=sorted(account.venue.handler.foreign),
            differences=differences,
        )
        for words in differences:
            _log.error("difference market=%s %s", name, words)
    return told


async def _differences(account: Account, opened: Mapping[str, Account]) -> list[str]:
    instrument = account.instrument
    told = await account.client.position()
    if told is not None:
        fills = account.fills
        held = instrument.quantity(account.position + totals(fills)[0])
        shared = any(
            other is not account
            and (other.endpoint, other.instrument.market, other.instrument.settle)
            == (account.endpoint, instrument.market, instrument.settle)
            for other in opened.values()
        )
        wallet = [] if shared else await _wallet_differs(account, len(fills))
        if told == held:
            return wallet
        return [f"position {held} was expected, the venue says {told}", *wallet]
    # Markets of one account change the same balances.
    changes: dict[str, Decimal] = {}
    for other in opened.values():
        if other.endpoint == account.endpoint and other.instrument.market == instrument.market:
            for asset, amount in balance_changes(other.instrument, other.fills).items():
                changes[asset] = changes.get(asset, _ZERO) + amount
    now = await account.client.balances()
    found = []
    for asset in sorted(changes):
        expected = _whole(account.balances.get(asset)) + changes.get(asset, _ZERO)
        there = _whole(now.get(asset))
        if there != expected:
            found.append(f"{expected.normalize():f} {asset} expected, the venue says {there:f}")
    return found


async def _wallet_differs(account: Account, fills: int) -> list[str]:
    """Return what a contract's wallet has otherwise than fills and funding come to, if that can be counted."""
    books, settle = account.venue.books, account.instrument.settle
    anchor = books.anchor
    if anchor is None or anchor.position or not books.ledger.in_order:
        return []
    came = books.ledger.moved.get(settle, _ZERO) - account.moved
    expected = _whole(account.balances.get(settle)) + came
    there = _whole((await account.client.balances()).get(settle))
    # Venues round the profit of each fill to so many digits.
    if abs(there - expected) <= _DIGIT * (1 + fills):
        return []
    return [
        f"a wallet of {expected.normalize():f} {settle} was expected by fills and funding, the venue says {there:f}; "
        "transfers and other markets move it, too"
    ]


def balance_changes(instrument: Instrument, fills: list[KnownFill]) -> dict[str, Decimal]:
    """Return by how much spot fills change what an account has, by asset, fees included."""
    changes = {instrument.base: _ZERO, instrument.quote: _ZERO}
    for one in fills:
        quantity = instrument.quantity(one.quantity) * one.side.sign
        changes[instrument.base] += quantity
        changes[instrument.quote] -= quantity * instrument.price(one.price)
        if one.fee_asset:
            changes[one.fee_asset] = changes.get(one.fee_asset, _ZERO) - one.fee
    return changes


def words_before(config: Config) -> list[str]:
    """Return what a person is shown before real orders are sent."""
    lines = []
    for name, market in config.markets.items():
        spec = market.spec
        where = "" if name == MAIN else f"{name}: "
        lines.append(
            f"{where}{spec.symbol} at {spec.venue} {spec.market}, orders by '{market.venue.name}', endpoint "
            f"{endpoint_of(market.venue)}{': REAL MONEY' if is_real_money(market.venue) else ''}"
        )
        risk = config.resolved if name == MAIN else config.resolved["markets"][name]
        limits = dict(config.resolved["risk"]) | dict(risk.get("risk", {}))
        said = ", ".join(
            f"{key} {_in_words(value)}" for key, value in limits.items() if value is not None
        )
        lines.append(f"  limits: {said}")
    lines.append(f"  strategy: {config.strategy.name}")
    return lines


def _in_words(value: Any) -> str:
    """Return the value of a limit, which may have several parts."""
    if not isinstance(value, Mapping):
        return str(value)
    parts = [f"{key} {part}" for key, part in value.items() if part is not None]
    return f"({', '.join(parts)})" if parts else "on"
