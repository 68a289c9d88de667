"""For the tests of plugins: markets to try a strategy on, and checks that every strategy should pass."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from mmkit.answers import AnyAnswer
from mmkit.commands import AnyCommand
from mmkit.engine import Engine
from mmkit.events import MAIN, Advice, AnyEvent, Signal
from mmkit.fusion import Fusion, FusionSettings
from mmkit.instruments import ContractKind, Instrument
from mmkit.interfaces import (
    NO_QUOTES,
    ByMarket,
    Context,
    Facts,
    Level,
    MarketView,
    Quotes,
    Strategy,
    StrategyConfig,
)
from mmkit.recorder import Recorder
from mmkit.risk import RiskGate
from mmkit.run.replay import replay
from mmkit.run.session import Session
from mmkit.settings import SimSettings
from mmkit.sim.paper import PaperConfig, PaperVenue
from mmkit.tape import LAST, SELL, GapReason, Kind, Row, Tape

BTCUSDT = Instrument(
    venue="binance",
    market="usdm",
    symbol="BTC/USDT:USDT",
    native="BTCUSDT",
    base="BTC",
    quote="USDT",
    kind=ContractKind.LINEAR,
    tick=Decimal("0.1"),
    lot=Decimal("0.001"),
)
"""A linear perpetual with tick 0.1 and lot 0.001, as on Binance USD-M."""

FACTS = Facts(
    venue="binance",
    symbol="BTC/USDT:USDT",
    time="2026-11-26T06:00:00Z",
    bids=(("60000.0", "1.5"), ("59999.9", "0.2")),
    asks=(("60000.1", "0.5"), ("60000.2", "0.7")),
    mid=60000.05,
    spread_bps=0.0167,
    bid_volume=1.7,
    ask_volume=1.2,
    imbalance=0.172413,
    records=30,
    mean_mid=60001.5,
    mean_spread_bps=0.02,
    mean_imbalance=0.1,
    deviation_bps=-0.24,
    volatility_bps=0.8,
    trades=55,
    bought_share=0.61,
)
"""A market to ask an advisor about."""


def snapshot_rows(
    bids: Iterable[Level], asks: Iterable[Level], ts_exchange: int = 0, ts_local: int = 0
) -> list[Row]:
    """Return the rows that tell a whole book, as one message."""
    rows: list[Row] = [(ts_exchange, ts_local, int(Kind.SNAPSHOT), 0, 0)]
    rows += [(ts_exchange, ts_local, int(Kind.LEVEL), price, quantity) for price, quantity in bids]
    rows += [
        (ts_exchange, ts_local, Kind.LEVEL | SELL, price, quantity) for price, quantity in asks
    ]
    return ended(rows)


def ended(rows: list[Row]) -> list[Row]:
    """Return `rows` as one message: the last of them marked as such."""
    ts_exchange, ts_local, kind, price, quantity = rows[-1]
    return [*rows[:-1], (ts_exchange, ts_local, kind | LAST, price, quantity)]


def market_view(
    instrument: Instrument | None = None,
    bids: Sequence[Level] = ((599_999, 1_000),),
    asks: Sequence[Level] = ((600_001, 1_000),),
    position: int = 0,
    now: int = 0,
    *,
    markets: Mapping[str, MarketView] | None = None,
    signals: Mapping[str, tuple[float, float, float]] | None = None,
    advice: Mapping[str, AnyAnswer] | None = None,
    fusion: FusionSettings | None = None,
) -> MarketView:
    """Return what a strategy is shown, every level of the book. Prices in ticks, quantities in lots, `now` in ns.

    `markets` are the views of the other markets, made by this function, too; `signals` are down, flat and up, by name,
    `advice` is what advisors have answered, by name, and `fusion` how the two become one.
    """
    instrument = instrument or BTCUSDT
    quiet = _Quiet(StrategyConfig(), Context(instrument))
    quiet.depth = max(1, len(bids), len(asks))
    engine = Engine(
        instrument,
        quiet,
        RiskGate(),
        now,
        fusion=Fusion(fusion) if fusion is not None else None,
    )
    for row in snapshot_rows(bids, asks, now, now):
        engine.on_row(row)
    for name, (down, flat, up) in (signals or {}).items():
        engine.on_signal(
            Signal(
                ts_exchange=now,
                ts_local=now,
                name=name,
                down=down,
                flat=flat,
                up=up,
                expires_ns=now + 1,
            )
        )
    for name, answer in (advice or {}).items():
        engine.on_advice(advice_of(answer, name, now))
    engine.portfolio.position = position
    engine.view.markets = ByMarket(markets or {})
    return engine.view


def advice_of(
    answer: AnyAnswer | None,
    name: str = "market_structure",
    known_ns: int = 0,
    *,
    asked_ns: int | None = None,
    holds_ns: int = 1,
) -> Advice:
    """Return an advice with an answer, or without one.

    Args:
        answer: What the language model says.
        name: Of the advisor.
        known_ns: When it is known.
        asked_ns: When it was asked; as it is known unless given.
        holds_ns: How long it holds from `known_ns` on.
    """
    tag = type(answer).__struct_config__.tag if answer is not None else name
    return Advice(
        ts_exchange=known_ns if asked_ns is None else asked_ns,
        ts_local=known_ns,
        name=name,
        question=str(tag),
        answer=answer,
        refused="" if answer is not None else "timeout: nothing came",
        expires_ns=known_ns + holds_ns,
        prompt_sha256="",
        text="",
        calls=(),
    )


def build_strategy(
    strategy: type[Strategy],
    instrument: Instrument | None = None,
    *,
    markets: Mapping[str, Instrument] | None = None,
    signals: Sequence[str] = (),
    advisors: Mapping[str, str] | None = None,
    fusion: FusionSettings | None = None,
    **config: Any,
) -> Strategy:
    """Return a strategy built from the keys that the YAML would have; `markets` are the other ones, `signals` and
    `advisors` the names of those that the run has, the latter with the question each is asked, and `fusion` says how the two become one.
    """
    context = Context(
        instrument or BTCUSDT,
        markets=ByMarket(markets or {}),
        signals=tuple(signals),
        advisors=dict(advisors or {}),
        fusion=fusion,
    )
    return strategy(strategy.Config.model_validate(config), context)


def random_tape(
    seed: int,
    messages: int = 2_000,
    instrument: Instrument | None = None,
    *,
    rough: bool = False,
) -> Tape:
    """Return a random but possible market: never crossed after a message, on two clocks, with a gap.

    The same seed gives the same tape.

    Args:
        seed: Of the dice.
        messages: How many.
        instrument: `BTCUSDT` unless given.
        rough: Whether trades may be received after levels that are younger by the venue's clock, as on a
            connection of their own; a gap and its snapshot may be one message; a side may be empty.
    """
    instrument = instrument or BTCUSDT
    market = _RandomMarket(random.Random(seed), rough=rough)  # noqa: S311 - a market, not a secret
    rows = [row for _ in range(messages) for row in market.message()]
    return Tape.from_rows(instrument, rows)


def run_strategy(
    strategy: Strategy,
    tape: Tape,
    sim: SimSettings | None = None,
    risk: RiskGate | None = None,
) -> tuple[Engine, list[AnyCommand | AnyEvent]]:
    """Run `strategy` over `tape`; return the engine at the end and everything that happened, in order."""
    sim = sim or SimSettings()
    entries = _Entries()
    engine = Engine(tape.instrument, strategy, risk or RiskGate(), tape.start_ns)
    venue = PaperVenue(PaperConfig(), Context(tape.instrument, sim))
    replay(Session(engine, venue, entries, sim.fill_reports), {MAIN: tape})
    return engine, entries.entries


def check_strategy(
    strategy: type[Strategy], instrument: Instrument | None = None, **config: Any
) -> None:
    """Assert what holds for every strategy, on a few random markets.

    - It quotes without raising, whatever the book looks like.
    - The same market gives the same orders: it reads no clock and rolls no dice.
    """
    for seed in range(3):
        tape = random_tape(seed, instrument=instrument)
        first = run_strategy(build_strategy(strategy, instrument, **config), tape)[1]
        second = run_strategy(build_strategy(strategy, instrument, **config), tape)[1]
        assert first == second, f"the same market gave other orders (seed {seed})"


class _Quiet(Strategy):
    def quote(self, view: MarketView) -> Quotes:
        return NO_QUOTES


class _Entries(Recorder):
    def __init__(self) -> None:
        self.entries: list[AnyCommand | AnyEvent] = []

    def note(self, entry: AnyCommand | AnyEvent) -> None:
        self.entries.append(entry)


class _RandomMarket:
    """A book that changes at random. Prices in ticks around 600,000, quantities in lots."""

    def __init__(self, dice: random.Random, *, rough: bool) -> None:
        self._dice, self._rough = dice, rough
        self._bids: dict[int, int] = {}
        self._asks: dict[int, int] = {}
        self._ts_exchange = self._ts_local = 1_700_000_000_000_000_000
        self._known = False

    def message(self) -> list[Row]:
        dice = self._dice
        self._ts_exchange += dice.choice((0, 1_000_000, 20_000_000, 100_000_000))
        # A message never overtakes the one before it, but may be late.
        self._ts_local = max(
            self._ts_local, self._ts_exchange + dice.randrange(1_000_000, 30_000_000)
        )
        if not self._known:
            self._known = True
            return self._snapshot()
        if dice.random() < 0.002:
            self._known = False
            return self._rows([(int(Kind.GAP), int(GapReason.SEQUENCE), 0)])
        if self._rough and dice.random() < 0.02:
            return self._rough_message()
        if dice.random() < 0.3:
            return self._rows(self._trade(), dice.randrange(50_000_000) if self._rough else 0)
        return self._rows(self._levels())

    def _snapshot(self) -> list[Row]:
        dice, middle = self._dice, 600_000 + self._dice.randrange(-50, 50)
        self._bids = {middle - 1 - step: dice.randrange(1, 50) for step in range(12)}
        self._asks = {middle + 1 + step: dice.randrange(1, 50) for step in range(12)}
        return snapshot_rows(
            self._bids.items(), self._asks.items(), self._ts_exchange, self._ts_local
        )

    def _rough_message(self) -> list[Row]:
        """Tell the same book anew after a gap, or empty a side for a moment."""
        side, sell = self._dice.choice(((self._bids, 0), (self._asks, int(SELL))))
        if self._dice.random() < 0.5:
            gone = [(Kind.LEVEL | sell, price, 0) for price in side]
            back = [(Kind.LEVEL | sell, price, quantity) for price, quantity in side.items()]
            return [*self._rows(gone), *self._rows(back)]
        at = self._ts_exchange, self._ts_local
        gap = (*at, int(Kind.GAP), int(GapReason.SEQUENCE), 0)
        return [gap, *snapshot_rows(self._bids.items(), self._asks.items(), *at)]

    def _trade(self) -> list[tuple[int, int, int]]:
        sold = self._dice.random() < 0.5
        side = self._bids if sold else self._asks
        price = max(side) if sold else min(side)
        quantity = self._dice.randrange(1, 60)
        return [(Kind.TRADE | (SELL if sold else 0), price, quantity)]

    def _levels(self) -> list[tuple[int, int, int]]:
        """Move the middle a little and tell every level that this changes; thin out the far ones."""
        dice = self._dice
        shift = dice.choice((-2, -1, 0, 0, 0, 1, 2))
        top = max(self._bids) + shift
        rows = []
        for side, sell in ((self._bids, 0), (self._asks, SELL)):
            limit = top if not sell else top + dice.randrange(1, 4)
            beyond = [price for price in side if (price > limit if not sell else price < limit)]
            for price in (
                *beyond,
                *(limit - step if not sell else limit + step for step in range(8)),
            ):
                if price in beyond:
                    del side[price]
                    rows.append((Kind.LEVEL | sell, price, 0))
                elif price == limit or dice.random() < 0.4:
                    side[price] = dice.randrange(1, 50)
                    rows.append((Kind.LEVEL | sell, price, side[price]))
        return rows

    def _rows(self, changes: list[tuple[int, int, int]], late: int = 0) -> list[Row]:
        return ended([(self._ts_exchange - late, self._ts_local, *change) for change in changes])
