"""What has to be so after everything that can go wrong has: our journal beside the exchange's books, to the last digit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Protocol

from mmkit.accounts import FundingRecord
from mmkit.events import Side
from mmkit.instruments import ContractKind, Instrument
from mmkit.live.known import KnownFill, KnownOrder, Stage
from mmkit_sandbox.account import Account
from mmkit_sandbox.accountorder import AccountOrder, Status
from mmkit_sandbox.chaosvenue import is_ours
from mmkit_sandbox.ledger import ZERO, Entry, EntryKind
from mmkit_sandbox.listing import USDM, Listing

if TYPE_CHECKING:
    from mmkit_sandbox.chaos import Chaos


class Venue(Protocol):
    """The exchange's side, once nothing happens any more."""

    @property
    def account(self) -> Account:
        """The only one there is."""

    @property
    def listing(self) -> Listing:
        """What was traded."""

    @property
    def sent(self) -> Mapping[str, int]:
        """How often an order was sent, by client order id."""


class Kept(Protocol):
    """Our side: the journal of orders."""

    @property
    def orders(self) -> Mapping[str, KnownOrder]:
        """Every order as it was last written, by client order id."""

    def fills(self) -> list[KnownFill]:
        """Return every fill, in order of time."""

    def fundings(self) -> Sequence[FundingRecord]:
        """Return every payment of funding, in order of time."""


class Traded(Protocol):
    """Both sides of what has been traded, in virtual time or by a real process."""

    @property
    def instrument(self) -> Instrument:
        """What was traded."""

    @property
    def venue(self) -> Venue:
        """The exchange's side."""

    @property
    def kept(self) -> Kept:
        """Ours."""

    @property
    def ended_ns(self) -> int:
        """When the last run was asked to end; 0 if none had begun."""


def wrong(chaos: Chaos) -> list[str]:
    """Return what is not as it has to be once a schedule has ended, in words; nothing if all is well."""
    books = wrong_books(chaos, lambda client_id: _cannot_be_proven(chaos, client_id))
    return [*books, *_others(chaos), *_run(chaos)]


def wrong_books(
    chaos: Traded, unproven: Callable[[str], bool] = lambda client_id: False
) -> list[str]:
    """Return what our journal and the exchange's books do not agree on, in words.

    Args:
        chaos: Both.
        unproven: Whether an order, by its client order id, may be of unknown fate for ever.
    """
    return [*_orders(chaos, unproven), *_fills(chaos), *_fundings(chaos), *_money(chaos)]


def _orders(chaos: Traded, unproven: Callable[[str], bool]) -> list[str]:
    venue, journal = chaos.venue, chaos.kept.orders
    theirs: dict[str, AccountOrder] = {}
    found = []
    for one in venue.account.all_orders():
        if not is_ours(one.client_id):
            continue
        if one.client_id in theirs:
            found.append(f"the venue has order {one.client_id} twice")
        theirs[one.client_id] = one
    found += [
        f"order {one} was sent {count} times" for one, count in venue.sent.items() if count > 1
    ]
    found += [
        f"the venue has an order that we do not know of: {one}"
        for one in theirs.keys() - journal.keys()
    ]
    found += [f"order {one.client_id} is left on the book" for one in theirs.values() if one.open]
    for client_id, ours in sorted(journal.items()):
        if ours.stage is not Stage.DONE and not unproven(client_id):
            found.append(f"order {client_id} is not over for us: {ours.stage}")
        there = theirs.get(client_id)
        lots = chaos.instrument.lots(there.executed) if there is not None else 0
        if ours.filled != lots:
            found.append(
                f"of order {client_id} {lots} lots were traded, and {ours.filled} by our journal"
            )
        if there is not None and ours.amended_ns and there.remaining:
            # Of one that was traded whole no record need have told at which price it stood.
            instrument = chaos.instrument
            terms = instrument.price(ours.price), instrument.quantity(ours.quantity)
            if terms != (there.price, there.quantity):
                found.append(
                    f"order {client_id} was {there.quantity} at {there.price}, by our journal {terms[1]} at {terms[0]}"
                )
        if there is None and ours.venue_id:
            found.append(f"order {client_id} is one that the venue does not have")
        if (
            there is not None
            and ours.end is not None
            and str(ours.end) != _END[there.status]
            and not _refused(ours.end, there)
        ):
            found.append(f"order {client_id} ended as {there.status}, by our journal as {ours.end}")
    return found


_KNOWN_AFTER_NS = 45_000_000_000
"""What is on the book is asked for when a run starts, every 30 s, and again if there was no answer."""
_END = {
    Status.NEW: "open",
    Status.PARTIALLY_FILLED: "open",
    Status.FILLED: "filled",
    Status.CANCELED: "canceled",
    Status.EXPIRED: "expired",
}


def _refused(end: object, there: AccountOrder) -> bool:
    """Whether an order is taken for one that came to nothing, and did."""
    return str(end) == "rejected" and not there.executed and not there.open


def _fills(chaos: Traded) -> list[str]:
    # Of a trade with oneself there are two halves of one number.
    ours = {(one.trade_id, one.client_id): one for one in chaos.kept.fills()}
    theirs = {
        (str(one.trade.trade_id), one.order.client_id): one
        for one in chaos.venue.account.trades
        if is_ours(one.order.client_id)
    }
    missing, more = sorted(theirs.keys() - ours.keys()), sorted(ours.keys() - theirs.keys())
    found = [f"trade {number} of {order} is not in our journal" for number, order in missing]
    found += [f"trade {number} of {order} is only in our journal" for number, order in more]
    for key in sorted(ours.keys() & theirs.keys()):
        one, (order, trade) = ours[key], theirs[key]
        booked = (
            order.client_id,
            order.asked.side,
            trade.price,
            trade.quantity,
            trade.fee,
            trade.fee_asset,
        )
        instrument = chaos.instrument
        known = (
            one.client_id,
            one.side,
            instrument.price(one.price),
            instrument.quantity(one.quantity),
            one.fee,
            one.fee_asset,
        )
        if booked != known:
            found.append(f"trade {one.trade_id} is {booked}, by our journal {known}")
    return found


def _fundings(chaos: Traded) -> list[str]:
    """Look at every payment: there is one of a time at most, and what was paid after the last question is not known yet."""
    paid = {one.ts_ns: one.amount for one in _paid(chaos)}
    known = [(one.ts_ns, one.amount) for one in chaos.kept.fundings()]
    found = [
        f"funding of {amount} at {ts_ns} is in our journal, the exchange has {paid.get(ts_ns, ZERO)}"
        for ts_ns, amount in known
        if paid.get(ts_ns) != amount
    ]
    if len(known) > len(dict(known)):
        found.append("funding of one time is twice in our journal")
    missing = [one for one in paid if one not in dict(known) and one < chaos.ended_ns]
    return found + [f"funding of {paid[one]} at {one} is not in our journal" for one in missing]


def _paid(chaos: Traded) -> list[Entry]:
    return [one for one in chaos.venue.account.entries if one.kind is EntryKind.FUNDING]


def _money(chaos: Traded) -> list[str]:
    """Compare with the balances themselves, not with what the exchange has noted of each trade."""
    venue, fills = chaos.venue, chaos.kept.fills()
    account, listing = venue.account, venue.listing
    ours = came_to(chaos, fills)
    for asset, amount in _of_others(chaos).items():
        ours[asset] = ours.get(asset, ZERO) + amount
    if chaos.instrument.kind is ContractKind.SPOT:
        theirs = {
            asset: balance.free + balance.locked - account.config.balances.get(asset, ZERO)
            for asset, balance in account.spot.balances.items()
        }
        locks = _locked_by_others(chaos)
        wrong_locks = [
            f"{one.locked} {asset} are locked, and orders that are open lock {locks.get(asset, ZERO)}"
            for asset, one in account.spot.balances.items()
            if one.locked != locks.get(asset, ZERO)
        ]
    else:
        position = account.position(listing)
        config = account.config
        start = (config.futures if listing.market == USDM else config.coin_futures) or {}
        theirs = {
            asset: amount - start.get(asset, ZERO)
            for asset, amount in account.wallets[listing.market].items()
        }
        theirs["position"] = position.quantity
        # What the position was entered for is not in the wallet yet.
        cost = position.cost * listing.contract.sign
        # Payments have been compared one by one.
        funding = sum((one.amount for one in _paid(chaos)), ZERO)
        ours[listing.settle] = ours.get(listing.settle, ZERO) + cost + funding
        wrong_locks = []
    booked = {
        asset: sum(
            (
                one.amount
                for one in account.entries
                if _counts(one.market, one.kind, one.asset, asset, listing.market)
            ),
            ZERO,
        )
        for asset in theirs
        if asset != "position"
    }
    found = [
        f"{asset}: the account has {theirs.get(asset, ZERO)} more than at the start, our fills come to {ours.get(asset, ZERO)}"
        for asset in sorted(theirs.keys() | ours.keys())
        if theirs.get(asset, ZERO) != ours.get(asset, ZERO)
    ]
    found += [
        f"{asset}: the account has {theirs[asset]} more than at the start, its ledger says {amount}"
        for asset, amount in booked.items()
        if theirs[asset] != amount
    ]
    return found + wrong_locks


def _counts(market: str, kind: EntryKind, of: str, asset: str, here: str) -> bool:
    return kind is not EntryKind.DEPOSIT and of == asset and market == here


def came_to(chaos: Traded, fills: list[KnownFill]) -> dict[str, Decimal]:
    """Return what fills come to by asset, by another way than the order handling's own ledger: in whole units."""
    return _in_units(
        chaos,
        [(one.side.sign, one.price, one.quantity, one.fee, one.fee_asset) for one in fills],
    )


def _of_others(chaos: Traded) -> dict[str, Decimal]:
    """Return the same of the trades of others on the account."""
    instrument = chaos.instrument
    return _in_units(
        chaos,
        [
            (
                order.asked.side.sign,
                instrument.ticks(trade.price),
                instrument.lots(trade.quantity),
                trade.fee,
                trade.fee_asset,
            )
            for order, trade in chaos.venue.account.trades
            if not is_ours(order.client_id)
        ],
    )


def _locked_by_others(chaos: Traded) -> dict[str, Decimal]:
    """Return what the open orders of others hold back on spot."""
    listing, locks = chaos.venue.listing, dict[str, Decimal]()
    for one in chaos.venue.account.open_orders(listing):
        if not is_ours(one.client_id):
            buys = one.asked.side is Side.BUY
            asset = listing.quote if buys else listing.base
            amount = one.remaining * (one.price if buys else 1)
            locks[asset] = locks.get(asset, ZERO) + amount
    return locks


def _in_units(
    chaos: Traded, trades: list[tuple[int, int, int, Decimal, str]]
) -> dict[str, Decimal]:
    """Return what trades come to, each a sign, ticks, lots, a fee and its asset."""
    instrument = chaos.instrument
    places = 10**16  # eight of a price times eight of a quantity
    units: dict[str, int] = {}

    def move(asset: str, amount: int) -> None:
        units[asset] = units.get(asset, 0) + amount

    tick, lot = (int(one * 10**8) for one in (instrument.tick, instrument.lot))
    spot = instrument.kind is ContractKind.SPOT
    inverse = instrument.kind is ContractKind.INVERSE
    for sign, ticks, lots, fee, fee_asset in trades:
        move(instrument.base if spot else "position", sign * lots * lot * 10**8)
        if inverse:
            # What is bought is owed in base currency; each trade counts to the eighth place.
            worth = _nearest(int(instrument.contract_size) * lots * lot * 10**8, ticks * tick)
            move(instrument.base, sign * worth * 10**8)
        else:
            move(instrument.quote, -sign * lots * lot * ticks * tick)
        move(fee_asset, -int(fee * places))
    return {asset: Decimal(amount) / places for asset, amount in units.items()}


def _nearest(above: int, below: int) -> int:
    """Return the nearest whole number to a fraction; of two, the even one."""
    whole, rest = divmod(above, below)
    return whole + (2 * rest > below or (2 * rest == below and whole % 2 == 1))


def _cannot_be_proven(chaos: Chaos, client_id: str) -> bool:
    """Whether an order that never arrived has to stay of unknown fate.

    That it came to nothing is proven by books that agree, and they do not once others have traded.
    """
    order = chaos.kept.orders[client_id]
    arrived = chaos.venue.account.named(chaos.venue.listing, client_id)
    lost = order.stage in (Stage.LOST, Stage.UNSURE)
    return bool(chaos.others.traded_ns) and lost and arrived is None


def _others(chaos: Chaos) -> list[str]:
    """Look at the orders of others: they are as they were left, and known."""
    found, trader = [], chaos.trader
    expected = chaos.others.canceled | chaos.venue.accounts.counted_down
    for one in chaos.others.orders:
        if one.status is Status.CANCELED and one.client_id not in expected:
            found.append(f"order {one.client_id} is not ours, and was canceled")
    if trader is not None and trader.session is not None and trader.venue.down is None:
        open_now = {
            one.client_id
            for one in chaos.others.orders
            if one.open
            and one.created_ns < max(chaos.started_ns, chaos.clock.now_ns() - _KNOWN_AFTER_NS)
        }
        found += [
            f"order {one} of others is open, and the run does not know of it"
            for one in sorted(open_now - trader.venue.handler.foreign.keys())
        ]
    return found


def _run(chaos: Chaos) -> list[str]:
    """Look at the last process: what its engine believes."""
    trader = chaos.trader
    others = bool(chaos.others.traded_ns)
    if trader is None or trader.session is None:
        # What others have traded, and an order that may have been, cannot be told apart.
        unproven = any(_cannot_be_proven(chaos, one) for one in chaos.kept.orders)
        return [] if unproven else ["the run has not started"]
    engine, venue = trader.session.engine, trader.venue
    found = []
    if trader.failure is not None and not chaos.violations:
        found.append(f"the run failed: {type(trader.failure).__name__}: {trader.failure}")
    if engine.orders:
        found.append(f"open for the engine: {[one.order_id for one in engine.orders]}")
    held, dust = venue.books.ledger.held
    if (engine.position, engine.portfolio.dust) != (held, dust):
        found.append(
            f"the engine's position is {engine.position} lots less {engine.portfolio.dust}, by the journal {held} less {dust}"
        )
    unsettled = [one for one in venue.handler.orders if not _cannot_be_proven(chaos, one)]
    if unsettled:
        found.append(f"not settled: {sorted(unsettled)}")
    if venue.books.differs and not others:
        found.append(f"still said to differ: {venue.books.differs}")
    return found
