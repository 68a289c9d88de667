"""From where the venue's books are counted."""

from __future__ import annotations

from decimal import Decimal

import msgspec


class Anchor(msgspec.Struct, frozen=True, kw_only=True):
    """What the account holds beside what our fills come to: it stays as it is unless somebody else moves something.

    Attributes:
        rest: By asset, free and locked; of a contract, of the wallet in the settlement currency.
        locked: By asset, by nobody's orders in this market: those of other markets, for example.
        position: Of a contract.
        funded_ns: Of a contract: what funding was paid before is in `rest`, whether it was known then or is told later.
    """

    rest: dict[str, Decimal]
    locked: dict[str, Decimal]
    position: Decimal = Decimal(0)
    funded_ns: int = 0
