"""One account: what it has, its orders and its trades."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

from mmkit_sandbox.accountconfig import AccountConfig
from mmkit_sandbox.accountorder import AccountOrder, AccountTrade
from mmkit_sandbox.ledger import ZERO, Entry, EntryKind
from mmkit_sandbox.listing import COINM, SPOT, USDM, Listing
from mmkit_sandbox.wallet import Position, SpotWallet


class Traded(NamedTuple):
    """A fill and the order that it is of."""

    order: AccountOrder
    trade: AccountTrade


class Account:
    """What the exchange knows of one of its customers.

    Attributes:
        config: What it began with, and its key.
        key: Names it.
        spot: Its balances.
        wallets: What it has on USD-M and on COIN-M, by market and asset; without unrealised profit.
        positions: By symbol.
        trades: All there have been, oldest first.
        entries: Every change of what it has, oldest first.
        hedge_mode: Whether long and short are kept apart, which is told but not traded here.
        multi_assets: Whether all assets are margin, which is told but not reckoned with here.
    """

    def __init__(self, config: AccountConfig, now_ns: int) -> None:
        self.config, self.key = config, config.key
        self.spot = SpotWallet(config.balances)
        usdm = config.balances if config.futures is None else config.futures
        coinm = config.balances if config.coin_futures is None else config.coin_futures
        self.wallets: dict[str, dict[str, Decimal]] = {USDM: dict(usdm), COINM: dict(coinm)}
        self.positions: dict[str, Position] = {}
        self.trades: list[Traded] = []
        self.hedge_mode, self.multi_assets = config.hedge_mode, config.multi_assets
        self.entries = [
            Entry(now_ns, market, EntryKind.DEPOSIT, asset, amount)
            for market, start in ((SPOT, config.balances), (USDM, usdm), (COINM, coinm))
            for asset, amount in start.items()
        ]
        self._orders: dict[tuple[str, str], dict[int, AccountOrder]] = {}
        self._by_client_id: dict[tuple[str, str, str], AccountOrder] = {}
        self._open: dict[tuple[str, str], dict[int, AccountOrder]] = {}

    @property
    def margin(self) -> dict[str, Decimal]:
        """Its wallet on USD-M."""
        return self.wallets[USDM]

    def position(self, listing: Listing) -> Position:
        """Return the position in a symbol."""
        found = self.positions.get(listing.symbol)
        if found is None:
            found = self.positions[listing.symbol] = Position(
                self.config.leverage, listing.contract
            )
        return found

    def fees(self, market: str) -> tuple[Decimal, Decimal]:
        """Return the shares of the value that a maker and a taker pay."""
        config = self.config
        return {SPOT: config.spot_fees, USDM: config.usdm_fees, COINM: config.coinm_fees}[market]

    # --- orders ----------------------------------------------------------------------------------

    def add(self, order: AccountOrder) -> None:
        """Take note of an order that the exchange has taken in."""
        key = _key(order.listing)
        self._orders.setdefault(key, {})[order.order_id] = order
        self._open.setdefault(key, {})[order.order_id] = order
        self._by_client_id[(*key, order.client_id)] = order

    def rename(self, order: AccountOrder, client_id: str) -> None:
        """Give an order another name; nothing is found by the old one."""
        key = _key(order.listing)
        del self._by_client_id[(*key, order.client_id)]
        order.client_id = client_id
        self._by_client_id[(*key, client_id)] = order

    def closed(self, order: AccountOrder) -> None:
        """Take note that an order trades no more."""
        del self._open[_key(order.listing)][order.order_id]

    def order(self, listing: Listing, order_id: int) -> AccountOrder | None:
        """Return an order by the exchange's number."""
        return self._orders.get(_key(listing), {}).get(order_id)

    def named(self, listing: Listing, client_id: str) -> AccountOrder | None:
        """Return the latest order of a name that the client gave."""
        return self._by_client_id.get((*_key(listing), client_id))

    def orders(self, listing: Listing) -> list[AccountOrder]:
        """Return every order of a symbol, oldest first."""
        return list(self._orders.get(_key(listing), {}).values())

    def open_orders(self, listing: Listing) -> list[AccountOrder]:
        """Return the open orders of a symbol, oldest first."""
        return list(self._open.get(_key(listing), {}).values())

    def all_orders(self) -> Iterator[AccountOrder]:
        """Yield every order, symbol by symbol, oldest first."""
        for orders in self._orders.values():
            yield from orders.values()

    # --- money -----------------------------------------------------------------------------------

    def note(
        self, kind: EntryKind, asset: str, amount: Decimal, order: AccountOrder, trade: AccountTrade
    ) -> None:
        """Write into the ledger what a fill changed."""
        if amount != ZERO:
            listing = order.listing
            self.entries.append(
                Entry(
                    trade.ts_ns,
                    listing.market,
                    kind,
                    asset,
                    amount,
                    listing.symbol,
                    order.order_id,
                    trade.trade_id,
                )
            )

    def fund(self, listing: Listing, amount: Decimal, now_ns: int) -> None:
        """Take in funding, and write it into the ledger; negative is paid."""
        wallet, asset = self.wallets[listing.market], listing.settle
        wallet[asset] = wallet.get(asset, ZERO) + amount
        entry = Entry(now_ns, listing.market, EntryKind.FUNDING, asset, amount, listing.symbol)
        self.entries.append(entry)


def _key(listing: Listing) -> tuple[str, str]:
    return listing.market, listing.symbol
