"""What the screen of a live run says before anything else: that it is one, and what is not known."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from small_account import SmallAccount
from small_venue import SPOT, SmallVenue

from mmkit.clock import SimClock
from mmkit.commands import TimeInForce
from mmkit.engine import Engine
from mmkit.events import MAIN, Side, VenueDown
from mmkit.interfaces import (
    NO_QUOTES,
    Context,
    MarketView,
    Quotes,
    RunInfo,
    Strategy,
    StrategyConfig,
)
from mmkit.live.known import KnownOrder, Stage
from mmkit.live.memory import MemoryStore
from mmkit.live.venue import LiveVenue
from mmkit.recorder import Nothing
from mmkit.risk import RiskGate
from mmkit.run.loop import LiveRun
from mmkit.run.session import Session
from mmkit.screen import render


class Silent(Strategy):
    def quote(self, view: MarketView) -> Quotes:
        return NO_QUOTES


def run(**mode: Any) -> LiveRun:
    clock = SimClock(1_000)
    account = SmallAccount(SmallVenue(SPOT), clock)
    venue = LiveVenue(SPOT, account, MemoryStore(), clock, "mm1")
    strategy = Silent(StrategyConfig(), Context(SPOT))
    session = Session(Engine(SPOT, strategy, RiskGate(), 0), venue, Nothing())
    info = RunInfo(run_id="r", command="trade", folder="", instrument=SPOT, strategy="silent")
    return LiveRun(info, session, clock, 0, **mode)


def drawn(live: LiveRun) -> str:
    console = Console(width=120, height=30, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(render(live, 0.0))
    return console.export_text()


def test_a_live_run_says_so_in_capitals_and_where_and_a_dry_run_does_not() -> None:
    live = drawn(run(mode="live", endpoint="testnet"))
    assert live.splitlines()[0].startswith("mmkit LIVE (testnet) silent on")
    assert "dry run" not in live
    dry = drawn(run())
    assert "LIVE" not in dry
    assert "dry run" in dry


def test_orders_that_nobody_knows_of_and_a_venue_that_is_down_are_said_first() -> None:
    live = run(mode="live", endpoint="sandbox")
    venue = live.live_venues[MAIN]
    venue.handler.orders["mm1-7"] = KnownOrder(
        client_id="mm1-7",
        order_id=7,
        side=Side.BUY,
        price=1,
        quantity=1,
        time_in_force=TimeInForce.POST_ONLY,
        intended_ns=0,
        stage=Stage.LOST,
    )
    live.session.engine.on_event(VenueDown(ts_exchange=1, ts_local=1, reason="maintenance"))
    standing = drawn(live).splitlines()[1]
    assert standing.startswith("UNKNOWN: 1 orders that may be on the book (mm1-7)")
    assert "nothing is sent: maintenance" in standing
