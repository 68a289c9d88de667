"""Others who trade on the same account, and ask from the same address: their orders are theirs."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from random import Random
from typing import NamedTuple

from mmkit.events import Side
from mmkit_sandbox.accountorder import AccountOrder, Lasting, OrderKind, Placing
from mmkit_sandbox.chaosvenue import OTHERS, PATIENCE, ChaosVenue, is_ours
from mmkit_sandbox.refused import Refused

_WEIGHS = 40
"""As much as the dearest request that there is for one symbol."""


class Act(StrEnum):
    """What others do."""

    REST = "others_rest"
    """They put an order where it will hardly be filled."""
    QUOTE = "others_quote"
    """They put one where it may be filled soon."""
    TAKE = "others_take"
    """They trade at once."""
    CANCEL = "others_cancel"
    """They cancel one of theirs."""
    HURRY = "others_hurry"
    """They send so many orders that the account may send no more for now."""
    ASK = "others_ask"
    """They ask so much that the address may ask no more in this minute."""
    ASK_ON = "others_ask_on"
    """They ask so much and go on, so that the address is banned."""


class Doing(NamedTuple):
    """Something that others do.

    Attributes:
        at_ns: When, since the start.
        act: What.
        side: Of an order.
        away: How far from the best price of its side an order is, in ticks.
        lots: Of an order.
    """

    at_ns: int
    act: Act
    side: Side
    away: int
    lots: int


class Others:
    """Somebody else at the venue, with the same account.

    Args:
        venue: Where.
        seed: Decides what is left to chance.
    """

    def __init__(self, venue: ChaosVenue, seed: int) -> None:
        self._venue = venue
        self._random = Random(f"others {seed}")  # noqa: S311  # not for secrets
        self._number = 0
        self.canceled: set[str] = set()
        """Those of their orders that they have canceled themselves, by client order id."""

    @property
    def orders(self) -> list[AccountOrder]:
        """Every order of theirs there has been."""
        return [one for one in self._venue.account.all_orders() if not is_ours(one.client_id)]

    def traded(self, since_ns: int, until_ns: int) -> bool:
        """Return whether they have traded after one time and until another."""
        return any(
            since_ns < trade.ts_ns <= until_ns
            for order, trade in self._venue.account.trades
            if not is_ours(order.client_id)
        )

    def net_lots(self, since_ns: int, until_ns: int) -> int:
        """Return what they have bought in lots, less what they have sold, after one time and until another."""
        listing = self._venue.listing
        net = sum(
            (
                order.asked.side.sign * trade.quantity
                for order, trade in self._venue.account.trades
                if not is_ours(order.client_id) and since_ns < trade.ts_ns <= until_ns
            ),
            Decimal(0),
        )
        return int(net / listing.lot)

    @property
    def traded_ns(self) -> int:
        """When they traded last; 0 for never."""
        return max(
            (
                trade.ts_ns
                for order, trade in self._venue.account.trades
                if not is_ours(order.client_id)
            ),
            default=0,
        )

    def do(self, doing: Doing) -> None:
        """Do it; what the venue refuses them is their concern."""
        venue = self._venue
        venue.note(doing.act.value, f"{doing.act} {doing.side} {doing.away} {doing.lots}")
        if doing.act in (Act.ASK, Act.ASK_ON):
            self._ask(PATIENCE if doing.act is Act.ASK_ON else 0)
        elif doing.act is Act.HURRY:
            self._hurry(doing)
        elif doing.act is Act.CANCEL:
            theirs = [
                one
                for one in venue.account.open_orders(venue.listing)
                if not is_ours(one.client_id)
            ]
            if theirs:
                one = self._random.choice(theirs)
                self.canceled.add(one.client_id)
                venue.accounts.cancel(venue.account, one)
        else:
            self._place(doing)
        venue.flush()

    def _ask(self, on: int) -> None:
        """Use up the weight of this minute, and ask so often beyond it."""
        venue = self._venue
        now = venue.now_ns()
        while on >= 0:
            try:
                venue.limits.let_in(now)
                venue.limits.weigh(venue.market, _WEIGHS, now)
            except Refused as refused:
                on -= 1
                kind = "limit_1003_banned" if refused.status == 418 else "limit_1003"
                venue.limited(kind, "others", venue.limits.retry_after_s(venue.market, now))

    def _hurry(self, doing: Doing) -> None:
        """Send orders and cancel them, until no more are taken."""
        for _ in range(self._venue.order_limits[0][2]):
            order = self._place(doing)
            if order is None:
                return
            self.canceled.add(order.client_id)
            self._venue.accounts.cancel(self._venue.account, order)

    def _place(self, doing: Doing) -> AccountOrder | None:
        venue, listing = self._venue, self._venue.listing
        book = venue.accounts.exchange.market(listing).book
        at_once = doing.act is Act.TAKE
        other = Side.SELL if doing.side is Side.BUY else Side.BUY
        best = book.best(other if at_once else doing.side)
        if best is None:
            return None
        price = listing.tick * (best + doing.side.sign * (20 if at_once else -doing.away))
        self._number += 1
        now = venue.now_ns()
        asked = Placing(
            side=doing.side,
            kind=OrderKind.LIMIT,
            quantity=listing.lot * doing.lots,
            price=price,
            lasting=Lasting.IOC if at_once else Lasting.GTC,
            client_id=f"{OTHERS}{self._number}",
        )
        try:
            venue.limits.let_in(now)
            venue.limits.order(venue.market, venue.account.key, now)
            return venue.accounts.place(venue.account, listing, asked)
        except Refused as refused:
            if refused.code == -1015:
                wait_s = venue.limits.orders_after_s(venue.market, venue.account.key, now)
                venue.limited("limit_1015", "others", wait_s)
            return None
