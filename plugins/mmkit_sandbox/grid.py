"""The grid of a recorded symbol, inferred from its prices and quantities."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from decimal import Decimal

from mmkit_sandbox.capture import read_lines
from mmkit_sandbox.channel import StreamKind, parse_stream
from mmkit_sandbox.exchange import PriceLevel
from mmkit_sandbox.listing import SPOT, Listing
from mmkit_sandbox.replaybook import Snapshot
from mmkit_sandbox.scan import Scan, diff_of, envelope, trade_of

_GRID_SAMPLE = 20_000  # levels that the grid is inferred from: a snapshot or two, and what follows
_PLACES = 8  # Binance writes no more

# The currencies Binance quotes in, longest first, so that BTCFDUSD is BTC in FDUSD.
_QUOTES = ("FDUSD", "USDT", "USDC", "BUSD", "TUSD", "USD", "BTC", "ETH", "BNB", "EUR", "TRY", "BRL")


def infer_listing(
    market: str,
    symbol: str,
    snapshots: Sequence[Snapshot],
    scans: Sequence[Scan],
    *,
    tick: Decimal | None,
    lot: Decimal | None,
) -> Listing:
    """List a recorded symbol: its grid is the greatest step that all its prices are multiples of."""
    prices, quantities = _Step(), _Step()
    for level in _levels(market, symbol, snapshots, scans):
        prices.take(level[0])
        quantities.take(level[1])
    base, quote = _split(symbol)
    return Listing(
        market,
        base,
        quote,
        tick=tick or prices.decimal(market),
        lot=lot or quantities.decimal(market),
        price=Decimal(prices.last or "1"),
        symbol=symbol,
    )


def _levels(
    market: str, symbol: str, snapshots: Sequence[Snapshot], scans: Sequence[Scan]
) -> Iterator[PriceLevel]:
    """Yield book levels of a symbol, the snapshots' first, until there are enough to infer from."""
    count = 0
    for snapshot in snapshots[:2]:
        yield from snapshot.bids
        yield from snapshot.asks
        count += len(snapshot.bids) + len(snapshot.asks)
    for scan in scans:
        if scan.market != market or count > _GRID_SAMPLE:
            continue
        for line in read_lines(scan.path):
            if count > _GRID_SAMPLE:
                break
            if line.url:
                continue
            message = envelope(line.json)
            channel = parse_stream(market, message.stream)
            if channel is None or channel.symbol != symbol:
                continue
            if channel.kind is StreamKind.DIFF:
                diff = diff_of(message.data)
                yield from diff.b
                yield from diff.a
                count += len(diff.b) + len(diff.a)
            elif channel.kind is StreamKind.TRADE:
                trade = trade_of(message.data)
                yield trade.p, trade.q
                count += 1


class _Step:
    """The greatest common divisor of decimal texts."""

    def __init__(self) -> None:
        self._units = self._places = 0
        self.last = ""

    def take(self, text: str) -> None:
        """Take one number into account."""
        whole, _, fraction = text.partition(".")
        self._places = max(self._places, len(fraction))
        self._units = math.gcd(self._units, int(whole + fraction.ljust(_PLACES, "0")))
        self.last = text

    def decimal(self, market: str) -> Decimal:
        """Return it; on futures with as many places as the numbers were written with."""
        step = Decimal(self._units or 1).scaleb(-_PLACES)
        if market == SPOT:
            return step.normalize()
        return step.quantize(Decimal(1).scaleb(-self._places))


def _split(symbol: str) -> tuple[str, str]:
    """Return base and quote currency of one of Binance's names; ``_PERP`` or a day may follow them."""
    pair = symbol.partition("_")[0]
    for quote in _QUOTES:
        if pair.endswith(quote) and pair != quote:
            return pair.removesuffix(quote), quote
    return symbol, ""
