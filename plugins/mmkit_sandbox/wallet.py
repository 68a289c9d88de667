"""What an account has: balances on spot, a wallet and positions on USD-M. Plain bookkeeping, exact."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal

from mmkit.events import Side
from mmkit_sandbox.ledger import ZERO

_UNIT = Decimal("1E-8")


class SpotBalance:
    """What an account has of one asset: `free`, and `locked` in open orders."""

    __slots__ = ("free", "locked")

    def __init__(self, free: Decimal = ZERO) -> None:
        self.free, self.locked = free, ZERO


class SpotWallet:
    """Balances by asset."""

    def __init__(self, start: Mapping[str, Decimal]) -> None:
        self.balances = {asset: SpotBalance(amount) for asset, amount in start.items()}

    def of(self, asset: str) -> SpotBalance:
        """Return what there is of an asset."""
        return self.balances.setdefault(asset, SpotBalance())

    def lock(self, asset: str, amount: Decimal) -> None:
        """Hold an amount back; a negative one lets it go again."""
        balance = self.of(asset)
        balance.free -= amount
        balance.locked += amount


class Position:
    """What an account holds of a contract.

    Attributes:
        quantity: In base currency; negative is short.
        cost: What it was entered for, in quote currency; of the sign of `quantity`.
        realised: Profit of what has been closed so far.
        leverage: Of the symbol.
        isolated: Whether the symbol says that its margin is; it is reckoned as cross all the same.
        updated_ns: When it last changed.
    """

    def __init__(self, leverage: int) -> None:
        self.quantity = self.cost = self.realised = ZERO
        self.leverage, self.isolated, self.updated_ns = leverage, False, 0

    @property
    def entry(self) -> Decimal:
        """Mean entry price, 0 without a position."""
        return self.cost / self.quantity if self.quantity else ZERO

    def trade(self, side: Side, price: Decimal, quantity: Decimal, now_ns: int) -> Decimal:
        """Take note of a fill; return the profit of what it closed.

        The cost of a part that is closed is rounded to eight places; what is left keeps the difference,
        so that the profits of a position that was opened and closed add up to what was paid for it.
        """
        signed = quantity * side.sign
        self.updated_ns = now_ns
        closed = ZERO
        if self.quantity * signed < 0:
            closed = min(abs(signed), abs(self.quantity)).copy_sign(self.quantity)
        profit = ZERO
        if closed:
            whole = closed == self.quantity
            share = self.cost * closed / self.quantity
            released = self.cost if whole else share.quantize(_UNIT, ROUND_HALF_EVEN)
            profit = price * closed - released
            self.quantity -= closed
            self.cost -= released
        opened = signed + closed
        self.quantity += opened
        self.cost += price * opened
        self.realised += profit
        return profit

    def unrealised(self, mark: Decimal) -> Decimal:
        """Return the profit if it was closed at `mark`."""
        return self.quantity * mark - self.cost
