"""What an account has: balances on spot, positions in contracts. Plain bookkeeping, exact."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal

from mmkit.events import Side
from mmkit_sandbox.contract import LINEAR, Contract
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
        quantity: In base currency, on COIN-M in contracts; negative is short.
        cost: What it was worth when it was entered, in the currency that profit is counted in; of the sign of `quantity`.
        realised: Profit of what has been closed so far, in the same currency.
        leverage: Of the symbol.
        isolated: Whether the symbol says that its margin is; it is reckoned as cross all the same.
        updated_ns: When it last changed.
    """

    def __init__(self, leverage: int, contract: Contract = LINEAR) -> None:
        self.contract = contract
        self.quantity = self.cost = self.realised = ZERO
        self.leverage, self.isolated, self.updated_ns = leverage, False, 0

    @property
    def margin(self) -> str:
        """What Binance calls how its margin is kept, in ``positionRisk``."""
        return "isolated" if self.isolated else "cross"

    @property
    def entry(self) -> Decimal:
        """Mean entry price, 0 without a position."""
        return self.contract.mean(self.cost, self.quantity)

    def trade(self, side: Side, price: Decimal, quantity: Decimal, now_ns: int) -> Decimal:
        """Take note of a fill; return the profit of what it closed.

        The cost of a part that is closed is rounded to eight places; what is left keeps the difference,
        so that the profits of a position that was opened and closed add up to what was paid for it.
        """
        signed, contract = quantity * side.sign, self.contract
        self.updated_ns = now_ns
        closed = ZERO
        if self.quantity * signed < 0:
            closed = min(abs(signed), abs(self.quantity)).copy_sign(self.quantity)
        profit = ZERO
        closing = contract.worth(price, closed)
        if closed:
            whole = closed == self.quantity
            share = self.cost * closed / self.quantity
            released = self.cost if whole else share.quantize(_UNIT, ROUND_HALF_EVEN)
            profit = contract.sign * (closing - released)
            self.quantity -= closed
            self.cost -= released
        # What was traded is worth what its parts are: nothing is lost to rounding them apart.
        self.quantity += signed + closed
        self.cost += contract.worth(price, signed) + closing
        self.realised += profit
        return profit

    def value(self, mark: Decimal | None) -> Decimal:
        """Return what it is worth at `mark`, or was when it was entered if there is none; of the sign of `quantity`."""
        return self.cost if mark is None else self.contract.worth(mark, self.quantity)

    def unrealised(self, mark: Decimal) -> Decimal:
        """Return the profit if it was closed at `mark`."""
        return self.contract.sign * (self.value(mark) - self.cost)
