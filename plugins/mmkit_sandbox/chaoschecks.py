"""What has to be so after everything that can go wrong has: our journal beside the exchange's books, to the last digit."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from mmkit.instruments import ContractKind
from mmkit.live.known import KnownFill, Stage
from mmkit_sandbox.accountorder import AccountOrder, Status
from mmkit_sandbox.ledger import ZERO, EntryKind

if TYPE_CHECKING:
    from mmkit_sandbox.chaos import Chaos


def wrong(chaos: Chaos) -> list[str]:
    """Return what is not as it has to be once a schedule has ended, in words; nothing if all is well."""
    return [*_orders(chaos), *_fills(chaos), *_money(chaos), *_run(chaos)]


def _orders(chaos: Chaos) -> list[str]:
    venue, journal = chaos.venue, chaos.kept.orders
    theirs: dict[str, AccountOrder] = {}
    found = []
    for one in venue.account.all_orders():
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
        if ours.stage is not Stage.DONE:
            found.append(f"order {client_id} is not over for us: {ours.stage}")
        there = theirs.get(client_id)
        lots = chaos.instrument.lots(there.executed) if there is not None else 0
        if ours.filled != lots:
            found.append(
                f"of order {client_id} {lots} lots were traded, and {ours.filled} by our journal"
            )
        if there is None and ours.venue_id:
            found.append(f"order {client_id} is one that the venue does not have")
        if (
            there is not None
            and str(ours.end) != _END[there.status]
            and not _refused(ours.end, there)
        ):
            found.append(f"order {client_id} ended as {there.status}, by our journal as {ours.end}")
    return found


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


def _fills(chaos: Chaos) -> list[str]:
    ours = {one.trade_id: one for one in chaos.kept.fills()}
    theirs = {str(one.trade.trade_id): one for one in chaos.venue.account.trades}
    found = [f"trade {one} is not in our journal" for one in sorted(theirs.keys() - ours.keys())]
    found += [f"trade {one} is only in our journal" for one in sorted(ours.keys() - theirs.keys())]
    for trade_id in sorted(ours.keys() & theirs.keys()):
        one, (order, trade) = ours[trade_id], theirs[trade_id]
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
            found.append(f"trade {trade_id} is {booked}, by our journal {known}")
    return found


def _money(chaos: Chaos) -> list[str]:
    """Compare with the balances themselves, not with what the exchange has noted of each trade."""
    venue, fills = chaos.venue, chaos.kept.fills()
    account, listing = venue.account, venue.listing
    ours = came_to(chaos, fills)
    if chaos.instrument.kind is ContractKind.SPOT:
        theirs = {
            asset: balance.free + balance.locked - account.config.balances.get(asset, ZERO)
            for asset, balance in account.spot.balances.items()
        }
        locked = {asset: one.locked for asset, one in account.spot.balances.items() if one.locked}
        wrong_locks = [
            f"{amount} {asset} are locked, and there is no order"
            for asset, amount in locked.items()
        ]
    else:
        position = account.position(listing)
        start = account.config.futures or {}
        theirs = {
            asset: amount - start.get(asset, ZERO) for asset, amount in account.margin.items()
        }
        theirs["position"] = position.quantity
        # What the position was entered for is not in the wallet yet.
        ours[listing.settle] = ours.get(listing.settle, ZERO) + position.cost
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


def came_to(chaos: Chaos, fills: list[KnownFill]) -> dict[str, Decimal]:
    """Return what fills come to by asset, by another way than the order handling's own ledger: in whole units."""
    instrument = chaos.instrument
    places = 10**16  # eight of a price times eight of a quantity
    units: dict[str, int] = {}

    def move(asset: str, amount: int) -> None:
        units[asset] = units.get(asset, 0) + amount

    tick, lot = (int(one * 10**8) for one in (instrument.tick, instrument.lot))
    spot = instrument.kind is ContractKind.SPOT
    for one in fills:
        sign = one.side.sign
        move(instrument.base if spot else "position", sign * one.quantity * lot * 10**8)
        move(instrument.quote, -sign * one.quantity * lot * one.price * tick)
        move(one.fee_asset, -int(one.fee * places))
    return {asset: Decimal(amount) / places for asset, amount in units.items()}


def _run(chaos: Chaos) -> list[str]:
    """Look at the last process: what its engine believes."""
    trader = chaos.trader
    if trader is None or trader.session is None:
        return ["the run has not started"]
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
    if venue.handler.orders:
        found.append(f"not settled: {sorted(venue.handler.orders)}")
    if venue.books.differs:
        found.append(f"still said to differ: {venue.books.differs}")
    return found
