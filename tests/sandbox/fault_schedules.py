"""A client's book against the exchange's, under seeded schedules of faults, in virtual time.

The client is the Binance plugin's wire format and synchronisation, driven as `mmkit_binance.feed` drives
them; the exchange, its faults and the answers to GET depth are the sandbox's own. Only the sockets are left
out, so that a thousand schedules take seconds. After every message the book, if it is taken for known, must
be exactly the exchange's at the same update id; and it must be known, and up to date, a bounded time after
the last fault.

    python tests/sandbox/fault_schedules.py --seeds 100000         # or: make faults SEEDS=100000
    python tests/sandbox/fault_schedules.py --first 4711 --seeds 1 --verbose
"""

from __future__ import annotations

import functools
import sys
import time
from collections import Counter
from collections.abc import Container
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

import click

from mmkit.book import Book
from mmkit.errors import FeedError, OffGrid
from mmkit.events import Side
from mmkit.instruments import ContractKind, Instrument
from mmkit.interfaces import WireFormatContext
from mmkit.tape import KIND, FeedStats, GapReason, Kind, Row
from mmkit_binance.order import stream_of
from mmkit_binance.watch import Finding, Watch
from mmkit_binance.wire import BinanceConfig, BinanceWire
from mmkit_sandbox import rest
from mmkit_sandbox.channel import Channel, StreamKind
from mmkit_sandbox.exchange import Depth, Exchange, Mark, Message, PublicTrade
from mmkit_sandbox.faults import CLOSES, Fault, FaultKind, FaultsConfig, planned
from mmkit_sandbox.listing import SPOT, USDM, Listing
from mmkit_sandbox.simulation import SimulatedExchange
from mmkit_sandbox.trouble import Happened, Reply, Trouble
from mmkit_sandbox.truth import TrueBook

MS = 1_000_000
S = 1000 * MS
SLICE = 20 * MS
COURSE = 30 * S
START = 1_700_000_000 * S

LONGEST = 5 * S
"""A schedule: faults in the first three seconds, most of their ends, and time to recover."""
LATEST = 18 * S
"""When the last of them must be over."""
WITHIN = 4 * S
"""How long after the end of the last fault the book must be known again."""
BEHIND = 3000 * MS
"""How old a book may be that is taken for known, in a market as busy as this one."""

SILENCE = S
PASSED_BY = 2 * S
RETRY = (250 * MS, 500 * MS, 1000 * MS)


class Course:
    """What an exchange says in a stretch of time, and its book at each moment of it."""

    def __init__(self, market: str, seed: int) -> None:
        symbol = "BTC/USDT" if market == SPOT else "BTC/USDT:USDT"
        self.listing = listing = Listing.of(symbol)
        # The same numbers are written over and over in a thousand schedules.
        listing.price_text = functools.cache(listing.price_text)  # type: ignore[assignment]
        listing.quantity_text = functools.cache(listing.quantity_text)  # type: ignore[assignment]
        exchange = SimulatedExchange([self.listing], seed, START, remember=True)
        kinds = (StreamKind.DIFF, StreamKind.BOOK_TICKER, StreamKind.TRADE, StreamKind.AGG_TRADE)
        wanted = {
            Channel(market, self.listing.symbol, kind, 0, 100 if kind is StreamKind.DIFF else 0)
            for kind in kinds
            if (market == SPOT) == (kind is not StreamKind.AGG_TRADE) or kind in kinds[:2]
        }
        self.slices: list[list[Message]] = []
        tickers = 0
        for number in range(COURSE // SLICE):
            said = []
            for message in exchange.advance(START + (number + 1) * SLICE, wanted):
                if message.channel.kind is StreamKind.BOOK_TICKER:
                    tickers += 1
                    if tickers % 16:  # the cross-check needs some of them, and they are most of all
                        continue
                name = f"{self.listing.symbol.lower()}@{message.channel.kind.value}"
                data = b'{"stream":"%s","data":%s}' % (name.encode(), message.data)
                said.append(message._replace(data=data))
            self.slices.append(said)
        self._market = exchange.market(self.listing)
        truth = self._market.truth
        assert truth is not None
        self._truth = truth

    @functools.lru_cache(maxsize=500)  # noqa: B019 - there are a few courses, for the whole process
    def at(self, update_id: int) -> TrueBook | None:
        return self._truth.at(update_id)

    def update_id(self, now_ns: int) -> int:
        return self._truth.update_id(now_ns // MS)

    @functools.lru_cache(maxsize=200)  # noqa: B019
    def told(self, now_ns: int) -> Depth:
        return self._market.told(self._truth.before(now_ns // MS))


@functools.cache
def course(market: str, number: int) -> Course:
    return Course(market, number)


class Played(Exchange):
    """A course at one moment: what REST is answered from."""

    def __init__(self, played: Course, now_ns: int) -> None:
        self._course, self._now_ns = played, now_ns
        self.listings = [played.listing]

    def advance(self, now_ns: int, wanted: Container[Channel]) -> list[Message]:
        raise AssertionError

    def depth(self, listing: Listing, limit: int) -> Depth:
        return self.depth_before(listing, self._now_ns, limit)

    def depth_before(self, listing: Listing, ts_ns: int, limit: int) -> Depth:
        found = self._course.told(ts_ns - ts_ns % SLICE)
        return found._replace(bids=found.bids[:limit], asks=found.asks[:limit])

    def trades(self, listing: Listing, limit: int) -> list[PublicTrade]:
        return []

    def mark(self, listing: Listing) -> Mark | None:
        return None


class Lane(NamedTuple):
    """One connection: its route, and the how manyeth it is."""

    route: str
    number: int


@dataclass
class Outcome:
    """What came of one schedule."""

    seed: int
    market: str
    happened: list[Happened] = field(default_factory=list)
    gaps: Counter[str] = field(default_factory=Counter)
    compared: int = 0
    recovered_ns: int = 0
    stats: FeedStats = field(default_factory=FeedStats)
    problem: str = ""


class Client:
    """Takes in what arrives, asks for snapshots, connects anew: as a feed does, without sockets."""

    def __init__(self, market: str, outcome: Outcome, random: Random, confirm: bool) -> None:
        usdm = market == USDM
        listing = course(market, 0).listing
        instrument = Instrument(
            venue="binance",
            market=market,
            symbol="BTC/USDT:USDT" if usdm else "BTC/USDT",
            native="BTCUSDT",
            base="BTC",
            quote="USDT",
            kind=ContractKind.LINEAR if usdm else ContractKind.SPOT,
            tick=listing.tick,
            lot=listing.lot,
        )
        streams = ("depth", "aggTrade" if usdm else "trade")
        context = WireFormatContext(instrument=instrument, streams=streams)
        self.wire = BinanceWire(BinanceConfig(confirm=confirm), context)
        # Its own silence, below, is of whole connections and comes sooner.
        self._watch = Watch(silence_s=1000, within_s=1000, behind_s=PASSED_BY / S)
        kinds = [stream.value for stream in (StreamKind.DIFF, StreamKind.TRADE)]
        if usdm:
            kinds[1] = StreamKind.AGG_TRADE.value
        self._streams = {kind: f"btcusdt@{kind}" for kind in kinds}
        self._carried = dict(zip(kinds, ("public", "market"), strict=True)) if usdm else {}
        self._watch.ask(self._streams.values(), START / S)
        self.outcome, self._random = outcome, random
        outcome.stats = self.wire.stats
        self.book = Book()
        self.routes = ("public", "market") if usdm else ("stream",)
        self.lanes: dict[str, Lane] = {}
        self.heard: dict[str, int] = {}
        self.connect_at: dict[str, int] = dict.fromkeys(self.routes, 0)
        self._connections = self._failures = 0
        self.asked: int | None = None  # when the request that is under way reaches the server
        self.answer: tuple[int, Reply] | None = None  # when it arrives
        self._tries = 0
        self._ask_at = 0

    def connect(self, now: int, refused: bool) -> None:
        for route in self.routes:
            if route in self.lanes or now < self.connect_at[route]:
                continue
            if refused:
                self._failures += 1
                self.connect_at[route] = now + RETRY[min(self._failures, len(RETRY)) - 1]
                continue
            self._failures = 0
            self._connections += 1
            self.lanes[route] = Lane(route, self._connections)
            self.heard[route] = now
            self._watch.opened(self._of(route), now / S)

    def _of(self, route: str) -> list[str]:
        """Return the streams that a route carries."""
        return [
            name for kind, name in self._streams.items() if self._carried.get(kind, route) == route
        ]

    def message(self, lane: Lane, raw: bytes, now: int) -> None:
        if self.lanes.get(lane.route) != lane:
            return
        self.heard[lane.route] = now
        if b'"serverShutdown"' in raw:
            self.closed(lane, now)
            return
        self._watch.hear(stream_of(raw), now / S)
        self._take(self.wire.message(raw, now), now)

    def closed(self, lane: Lane, now: int) -> None:
        if self.lanes.get(lane.route) == lane:
            del self.lanes[lane.route]
            self.connect_at[lane.route] = now + self._random.randrange(0, 400 * MS)
            self._watch.closed(self._of(lane.route), now / S)
            self._lose(GapReason.CONNECTION, now)

    def tick(self, now: int) -> None:
        # A connection that is half open says nothing, whatever another one does.
        silent = [route for route in self.lanes if now - self.heard[route] > SILENCE]
        if silent:
            self._lose(GapReason.SILENCE, now)
            for route in silent:
                self._hang_up(route, now)
        for found in self._watch.look(now / S):
            (route,) = [one for one in self.routes if found.name in self._of(one)]
            if found.finding is Finding.STALLED and route in self.lanes:
                self._lose(GapReason.SILENCE, now)
                self._hang_up(route, now)
        if self.answer is not None and now >= self.answer[0]:
            reply, self.answer, self.asked = self.answer[1], None, None
            self._answered(reply, now)
        waiting = self.wire.wants_snapshot and self.wire.buffering
        whole = len(self.lanes) == len(self.routes)
        if waiting and whole and self.asked is None and now >= self._ask_at:
            self.asked = now + self._random.randrange(5, 150) * MS

    def _hang_up(self, route: str, now: int) -> None:
        del self.lanes[route]
        self.connect_at[route] = now
        self._watch.closed(self._of(route), now / S)

    def _answered(self, reply: Reply, now: int) -> None:
        self._ask_at = now + RETRY[min(self._tries, len(RETRY) - 1)]
        self._tries += 1
        if reply.retry_after_s is not None:
            self._ask_at = max(self._ask_at, now + reply.retry_after_s * S)
            return
        if reply.body.lstrip()[:1] != b"{":
            return
        try:
            rows = self.wire.snapshot(reply.body, now)
        except (FeedError, OffGrid):
            return
        self._take(rows, now)
        if not self.wire.wants_snapshot:
            self._tries = 0

    def _lose(self, reason: GapReason, now: int) -> None:
        self.asked = self.answer = None
        self._tries, self._ask_at = 0, now
        self._take(self.wire.lost(reason, now), now)

    def _take(self, rows: list[Row], now: int) -> None:
        if self.wire.doubt:
            self._lose(GapReason.CHECK, now)
            return
        changed = False
        for row in rows:
            self.book.apply(row)
            what = row[2] & KIND
            changed |= what in (Kind.LEVEL, Kind.SNAPSHOT)
            if what == Kind.GAP:
                self.outcome.gaps[GapReason(row[3]).name.lower()] += 1
        if changed and self.book.known:
            self.changed = True

    changed = False


class World:
    """One schedule: an exchange, what goes wrong, and a client."""

    def __init__(self, seed: int, confirm: bool = True) -> None:
        self.random = random = Random(f"schedule {seed}")
        market = (SPOT, USDM)[seed % 2]
        self.outcome = Outcome(seed, market)
        self.market = market
        self.epoch = random.randrange(2)
        self.start = START + random.randrange(6 * S, COURSE - LATEST, SLICE)
        config = FaultsConfig.model_validate(
            {
                "seed": seed,
                "every": f"{random.choice((300, 700, 1500))}ms",
                "after": "300ms",
                "until": f"{random.choice((1, 2, 3))}s",
            }
        )
        self.trouble = Trouble(planned(config), self.start, seed)
        self.client = Client(market, self.outcome, random, confirm)
        self.frozen: set[Lane] = set()
        self.restarted = 0
        self.ending: list[tuple[int, Lane]] = []

    @property
    def course(self) -> Course:
        return course(self.market, self.epoch % 3)

    def run(self) -> Outcome:
        outcome, client = self.outcome, self.client
        settled = self.start
        for now in range(self.start, self.start + LATEST, SLICE):
            self._step(now)
            if client.changed:
                client.changed = False
                self._compare()
                if outcome.problem:
                    break
            if client.book.known and self._behind(now, BEHIND):
                outcome.problem = f"trusted though it is more than {BEHIND // MS} ms old"
                break
            # Until nothing is at work any more.
            if self._at_work(now) or not client.book.known:
                settled = now if self._at_work(now) else settled
                if now - settled > WITHIN:
                    outcome.problem = f"not known again within {WITHIN // MS} ms"
                    break
                outcome.recovered_ns = now - settled
            elif now - self.start > LONGEST and now - settled > S:
                break
        else:
            if not client.book.known:
                outcome.problem = "faults went on to the end"
        outcome.happened = list(self.trouble.happened)
        if not outcome.problem and self._behind(now, 500 * MS):
            outcome.problem = "the book stands still"
        return outcome

    def _step(self, now: int) -> None:
        trouble, client = self.trouble, self.client
        before = list(client.lanes.values())
        for fault in trouble.advance(now):
            self._carry_out(fault, now)
        for at, lane in list(self.ending):
            if now >= at:
                self.ending.remove((at, lane))
                client.closed(lane, now)
        client.connect(now, refused=now < trouble.down_until)
        for lane in list(client.lanes.values()):
            for data in trouble.release(lane, now):
                self._deliver(lane, data, now)
        for channel, data in self.course.slices[(now - START) // SLICE]:
            route = "stream" if self.market == SPOT else "public"
            if channel.kind is StreamKind.AGG_TRADE:
                route = "market"
            if lane := client.lanes.get(route):
                for one in trouble.pass_on(lane, channel.kind, data, now):
                    self._deliver(lane, one, now)
        self._rest(now)
        client.tick(now)
        for lane in before:
            if client.lanes.get(lane.route) != lane:
                trouble.forget(lane)

    def _deliver(self, lane: Lane, data: bytes, now: int) -> None:
        if lane not in self.frozen:
            self.client.message(lane, data, now)

    def _rest(self, now: int) -> None:
        client = self.client
        if client.asked is None or client.answer is not None or now < client.asked:
            return
        arrives = now + self.random.randrange(5, 250) * MS
        if now < self.trouble.down_until:
            client.answer = (arrives, Reply(503, b""))
            return
        there = self.trouble.book(Played(self.course, now), now, "depth")
        query = {"symbol": "BTCUSDT", "limit": "1000"}
        answer = rest.answer(rest.Request(there, self.market, query, now // MS), "depth")
        reply = self.trouble.answer(Reply(answer.status, answer.body), now, "depth")
        client.answer = (arrives, reply)

    def _carry_out(self, fault: Fault, now: int) -> None:
        lanes = list(self.client.lanes.values())
        if fault.kind is FaultKind.HALF_OPEN:
            self.frozen.update(lanes)
        elif fault.kind in CLOSES:
            self.ending += [(now, self.random.choice(lanes))] if lanes else []
        elif fault.kind is FaultKind.SHUTDOWN:
            for lane in lanes:
                self._deliver(
                    lane, b'{"stream":"!serverShutdown","data":{"e":"serverShutdown"}}', now
                )
                self.ending.append((now + S, lane))
        elif fault.kind is FaultKind.RESTART:
            self.epoch += 1
            self.restarted = now
            for lane in lanes:
                self.client.closed(lane, now)

    def _at_work(self, now: int) -> bool:
        """Whether something goes wrong now, or will, or did in this moment."""
        trouble = self.trouble
        happened = trouble.happened[-1].at_ns if trouble.happened else 0
        frozen = any(lane in self.frozen for lane in self.client.lanes.values())
        return (
            not trouble.idle
            or happened == now
            or now < trouble.down_until
            or bool(self.ending)
            or frozen
        )

    def _compare(self) -> None:
        client, outcome = self.client, self.outcome
        if not client.book.known:
            return
        update_id = client.wire.sync.book
        assert update_id is not None
        truth = self.course.at(update_id)
        outcome.compared += 1
        if truth is None:
            outcome.problem = f"the book is at {update_id}, where the exchange never was"
            return
        for side, levels, true in (
            (Side.BUY, client.book.bids.levels, truth.bids),
            (Side.SELL, client.book.asks.levels, truth.asks),
        ):
            if levels != true:
                wrong = {
                    price: (levels.get(price), true.get(price))
                    for price in levels.keys() | true.keys()
                    if levels.get(price) != true.get(price)
                }
                shown = dict(sorted(wrong.items())[:5])
                outcome.problem = (
                    f"wrong while trusted at {update_id}: {len(wrong)} levels of {side}, as "
                    f"{{ticks: (ours, theirs)}} {shown}"
                )
                return

    def _behind(self, now: int, by: int) -> bool:
        """Whether the book is older than the exchange's of `by` ns ago."""
        update_id = self.client.wire.sync.book
        assert update_id is not None
        if self.restarted and now - self.restarted < by:
            return False  # the ids of then are others
        return update_id < self.course.update_id(now - by)


def run(seed: int, confirm: bool = True) -> Outcome:
    """Run one schedule."""
    return World(seed, confirm).run()


def told(outcome: Outcome) -> str:
    """Return what happened, a line each."""
    began = outcome.happened[0].at_ns if outcome.happened else 0
    lines = [
        f"  +{(one.at_ns - began) / 1e9:.2f}s {one.fault} what={one.what}"
        for one in outcome.happened
    ]
    gaps = ", ".join(f"{count} {name}" for name, count in outcome.gaps.items())
    head = f"seed {outcome.seed} ({outcome.market}): {outcome.problem or 'right'}; gaps: {gaps}"
    return "\n".join([head, *lines])


@click.command()
@click.option("--seeds", type=int, default=10_000, show_default=True, help="How many schedules.")
@click.option("--first", type=int, default=0, show_default=True, help="The first seed.")
@click.option("--verbose", is_flag=True, help="Tell what happened in each.")
def main(seeds: int, first: int, verbose: bool) -> None:
    """Hold a client's book against the exchange's under seeded schedules of faults."""
    began = time.monotonic()
    kinds: Counter[str] = Counter()
    gaps: Counter[str] = Counter()
    compared = slowest = failed = 0
    for seed in range(first, first + seeds):
        outcome = run(seed)
        kinds.update({one.fault.kind.value for one in outcome.happened})
        gaps.update(outcome.gaps)
        compared += outcome.compared
        slowest = max(slowest, outcome.recovered_ns)
        failed += bool(outcome.problem)
        if verbose or outcome.problem:
            click.echo(told(outcome))
        if sys.stderr.isatty() and seed % 100 == 0:
            click.echo(f"\r{seed - first:,} of {seeds:,}", nl=False, err=True)
    seconds = time.monotonic() - began
    click.echo(
        f"{seeds:,} schedules in {seconds:.1f} s, {compared:,} books compared, {failed} failed; slowest "
        f"recovery {slowest / 1e9:.2f} s"
    )
    click.echo("schedules with: " + ", ".join(f"{kind} {n:,}" for kind, n in sorted(kinds.items())))
    click.echo("gaps: " + ", ".join(f"{name} {n:,}" for name, n in sorted(gaps.items())))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
