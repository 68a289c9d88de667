"""Chaos for real: a trader's process at the sandbox's sockets, killed and started again, over a bad line.

Exchange, accounts and faults are the sandbox's, behind real sockets in this process; the trader is ``mmkit trade``, with
its journal of orders on the disk. A seed decides what goes wrong and when, but not how fast the machine is: what comes of
it is not the same twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from mmkit.instruments import ContractKind
from mmkit_sandbox import chaoschecks
from mmkit_sandbox.chaos import BACK_WITHIN_S, instrument_of
from mmkit_sandbox.chaosprocessproxy import Proxy
from mmkit_sandbox.chaosprocessschedule import ProcessSchedule, process_schedule
from mmkit_sandbox.chaosprocesstrader import Kept, TraderProcess, Userdir
from mmkit_sandbox.chaosprocessvenue import ProcessVenue
from mmkit_sandbox.listing import SPOT, Listing

_S = 1_000_000_000
_FIRST_WITHIN_S = 30.0
"""How long the first order is waited for."""
_CALM_S = 3.0
"""How long it goes on quoting, once it does."""
_SETTLED_WITHIN_S = 45.0
"""An order that was lost with the last fault is proven to have come to nothing within half a minute."""
_ENDED_WITHIN_S = 40.0
"""A run waits for at most 10 s for its last orders, and 10 s for each of its last questions."""
_LOOK_S = 0.1
_STATUS = {"SIGINT": 130, "SIGTERM": 130, "stop": 0}


class ProcessOutcome(NamedTuple):
    """What became of a schedule.

    Attributes:
        seed: Of it.
        violations: What was not as it has to be, in words.
        faults: What went wrong, by kind.
        kills: How often the process was killed.
        starts: How often it was started.
        orders: How many have got to the venue.
        fills: How many there were.
        back_ns: How long after the last fault there were quotes.
        took_ns: How long it all took.
        trace: What happened, a line each.
        folder: Where what the processes have written was kept, if something was violated.
    """

    seed: int
    violations: list[str]
    faults: Counter[str]
    kills: int
    starts: int
    orders: int
    fills: int
    back_ns: int
    took_ns: int
    trace: list[str]
    folder: Path | None


class ProcessChaos:
    """One schedule.

    Args:
        seed: Decides what goes wrong.
        folder: For all that is written; made here.
        plan: What goes wrong; that of the seed unless given.
        plugin: Source of a plugin that the trader loads, to see that what it breaks is caught.
        between: Called with the journal of orders after each kill, likewise.
    """

    def __init__(
        self,
        seed: int,
        folder: Path,
        plan: ProcessSchedule | None = None,
        plugin: str = "",
        between: Callable[[Path], None] = lambda _: None,
    ) -> None:
        self.seed, self._folder = seed, folder
        self.plan = process_schedule(seed) if plan is None else plan
        self._plugin, self._between = plugin, between
        listing = Listing.of("BTC/USDT" if self.plan.market == SPOT else "BTC/USDT:USDT")
        self.instrument = instrument_of(listing)
        self.venue = ProcessVenue(listing, seed, self._went_wrong)
        self.faults: Counter[str] = Counter()
        self.violations: list[str] = []
        self.kills = self.starts = 0
        self.back_ns = self.ended_ns = 0
        self._began_ns = time.time_ns()
        self._last_fault_ns = self._began_ns
        self._happened: list[tuple[int, str]] = []
        self._deaths = list(self.plan.deaths)
        self._trader: TraderProcess | None = None
        self._trading_ns = self._began_ns
        self._is_calm = self._ending = False

    def _trace(self, words: str) -> None:
        self._happened.append((time.time_ns(), words))

    def _went_wrong(self, kind: str, words: str) -> None:
        self.faults[str(kind)] += 1
        self._trace(f"fault {kind}: {words}")

    async def run(self) -> ProcessOutcome:
        """Trade, have things go wrong, have them stop going wrong, end the run, and look at what there is."""
        proxy: Proxy | None = None
        tasks: list[asyncio.Task[None]] = []
        try:
            proxy = Proxy(await self.venue.start(), self.seed, self._went_wrong)
            userdir = Userdir(
                self._folder, self.plan, self.instrument, await proxy.start(), self._plugin
            )
            loop = asyncio.get_running_loop()
            tasks = [
                living := loop.create_task(self._live(userdir)),
                loop.create_task(self._count()),
            ]
            await self._in_time(living, proxy, userdir)
        finally:
            self._ending = True
            if self._trader is not None:
                self._trader.kill()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._trader is not None:
                await self._trader.wait()
            if proxy is not None:
                await proxy.stop()
            await self.venue.stop()
        return self._outcome(userdir)

    async def _in_time(self, living: asyncio.Task[None], proxy: Proxy, userdir: Userdir) -> None:
        """Let the schedule pass, and after it what is to be seen."""
        await self._trade(living)
        harming = asyncio.ensure_future(self._harm(proxy))
        try:
            await self._pass(living, self.plan.lasts_ns / _S)
        finally:
            harming.cancel()
        self._calm(proxy)
        await self._pass(living, (self._last_fault_ns - time.time_ns()) / _S)
        await self._see_quotes(living)
        until = self._last_fault_ns + _SETTLED_WITHIN_S * _S
        await self._pass(living, _CALM_S)
        while userdir.unsettled(time.time_ns()) and time.time_ns() < until:
            await self._pass(living, 0.5)
        await self._end(living)

    @staticmethod
    async def _pass(living: asyncio.Task[None], seconds: float) -> None:
        """Let time pass; what fails in the other tasks fails here."""
        await asyncio.wait({living}, timeout=max(seconds, 0))
        if living.done():
            living.result()

    # --- what goes wrong ---

    async def _trade(self, living: asyncio.Task[None]) -> None:
        """Wait for the first order: how long a process takes to start is the machine's doing."""
        until = time.time_ns() + _FIRST_WITHIN_S * _S
        while not self.venue.sent and time.time_ns() < until:
            await self._pass(living, _LOOK_S)
        self._trading_ns = time.time_ns()
        self._trace("trades")

    async def _harm(self, proxy: Proxy) -> None:
        """Let go wrong what is to, when it is to."""
        begin = [(one.at_ns, partial(self.venue.begin, one)) for one in self.plan.faults]
        begin += [(one.at_ns, partial(proxy.begin, one)) for one in self.plan.line]
        for at_ns, harm in sorted(begin, key=itemgetter(0)):
            await asyncio.sleep((self._trading_ns + at_ns - time.time_ns()) / _S)
            harm()

    async def _count(self) -> None:
        """Take note of what goes wrong at the venue about when it does."""
        while True:
            self.venue.count()
            await asyncio.sleep(_LOOK_S)

    def _calm(self, proxy: Proxy) -> None:
        self._is_calm = True
        self._deaths.clear()
        self.venue.arriving = lambda: None
        proxy.calm()
        self._last_fault_ns = max(self._last_fault_ns, time.time_ns(), self.venue.calm())
        self._trace("calm")

    async def _live(self, userdir: Userdir) -> None:
        """Start the process, and start it again whenever it is gone."""
        pauses = iter(self.plan.pauses_s)
        while not self._ending:
            self.starts += 1
            sent = sum(self.venue.sent.values())
            trader = self._trader = TraderProcess(userdir, self.starts)
            await trader.start()
            self._trace(f"started process {self.starts}")
            dying = self._doomed(trader)
            status = await trader.wait()
            if dying is not None:
                dying.cancel()
            self.venue.arriving = lambda: None
            if self._ending:
                self._see_end(trader, status)
                return
            if trader.killed:
                self.kills += 1
                if userdir.journal is not None:
                    self._between(userdir.journal)
                await asyncio.sleep(next(pauses, 0.5))
            else:
                self._trace(f"ended by itself with status {status}: {trader.last_words()}")
                if sum(self.venue.sent.values()) > sent:
                    self.violations.append(
                        f"the run ended by itself with status {status}: {trader.last_words()}"
                    )
                # One that cannot begin says so and ends; whoever has started it tries again.
                await asyncio.sleep(1)
            if trader.killed:
                self._last_fault_ns = max(self._last_fault_ns, time.time_ns())

    def _doomed(self, trader: TraderProcess) -> asyncio.TimerHandle | None:
        """See to it that a process dies when it is to."""
        if not self._deaths:
            return None
        death = self._deaths.pop(0)

        def die() -> None:
            if not self._ending and not trader.killed:
                trader.kill()
                self._went_wrong("kill", f"process {self.starts}, {death}")

        if death.after_s is not None:
            return asyncio.get_running_loop().call_later(death.after_s, self._unless_calm, die)
        left = death.order

        def arriving() -> None:
            nonlocal left
            left -= 1
            if not left:
                die()

        self.venue.arriving = arriving
        return None

    def _unless_calm(self, die: Callable[[], None]) -> None:
        if not self._is_calm:
            die()

    # --- what is seen ---

    async def _see_quotes(self, living: asyncio.Task[None]) -> None:
        began = self._last_fault_ns
        while not self._quoting():
            await self._pass(living, _LOOK_S)
            # A process that was killed just before is started after what was the last fault until then.
            began = max(began, self._last_fault_ns)
            if time.time_ns() > began + BACK_WITHIN_S * _S:
                words = self._trader.last_words() if self._trader is not None else "no process"
                self.violations.append(
                    f"no quotes within {BACK_WITHIN_S:.0f} s of the last fault: {words}"
                )
                break
        self.back_ns = max(0, time.time_ns() - began)
        self._trace(f"quotes again after {self.back_ns / _S:.1f} s")

    def _quoting(self) -> bool:
        account = self.venue.account
        return any(one.created_ns > self._last_fault_ns for one in account.all_orders())

    async def _end(self, living: asyncio.Task[None]) -> None:
        """End the run as a user does."""
        self._ending = True
        self.ended_ns = time.time_ns()
        trader = self._trader
        assert trader is not None  # it has been started
        self._trace(f"asked to end: {self.plan.ending}")
        asking = asyncio.ensure_future(trader.end(self.plan.ending))
        try:
            await asyncio.wait({living}, timeout=_ENDED_WITHIN_S)
        finally:
            asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asking
        if not living.done():
            self.violations.append(f"the run did not end within {_ENDED_WITHIN_S:.0f} s")
            trader.kill()
            return
        living.result()

    def _see_end(self, trader: TraderProcess, status: int) -> None:
        self._trace(f"ended with status {status}")
        expected = _STATUS[self.plan.ending]
        if not trader.killed and status != expected:
            self.violations.append(
                f"the run ended with status {status}, {expected} was expected after {self.plan.ending}: "
                f"{trader.last_words()}"
            )

    def _outcome(self, userdir: Userdir) -> ProcessOutcome:
        path = userdir.journal
        fills = 0
        if path is None:
            self.violations.append("there is no journal of orders: no run has begun")
        else:
            self.kept = Kept(path)
            fills = len(self.kept.fills())
            self.violations += chaoschecks.wrong_books(self)
            self.violations += _wrong_report(self, userdir.report())
        trace = [f"{(at - self._began_ns) / _S:.3f} {words}" for at, words in self._happened]
        if self.violations:
            text = "\n".join([*trace, *self.violations, ""])
            (self._folder / "trace.txt").write_text(text)
        else:
            shutil.rmtree(self._folder)
        return ProcessOutcome(
            self.seed,
            self.violations,
            self.faults,
            self.kills,
            self.starts,
            sum(self.venue.sent.values()),
            fills,
            self.back_ns,
            time.time_ns() - self._began_ns,
            trace,
            self._folder if self.violations else None,
        )


def _wrong_report(chaos: ProcessChaos, report: dict[str, Any] | None) -> list[str]:
    """Return what the report of the last run says otherwise than the exchange's books, in words."""
    if report is None:
        return ["the last run has written no report"]
    live, account = report["live"]["main"], chaos.venue.account
    found = [f"the report has orders left: {one}" for one in live["left"]]
    found += [f"the report has a difference: {one}" for one in live["differences"]]
    found += [f"the report has a foreign order: {one}" for one in live["foreign"]]
    if chaos.instrument.kind is ContractKind.SPOT:
        base = chaos.instrument.base
        held = account.spot.balances[base]
        exact = held.free + held.locked - account.config.balances[base]
    else:
        exact = account.position(chaos.venue.listing).quantity
    for what, told in (
        ("position", report["position"]),
        ("position of the account", live["position"]),
    ):
        if Decimal(told) != exact:
            found.append(f"the report has the {what} {told}, the exchange {exact}")
    orders = list(account.all_orders())
    tag = orders[-1].client_id.partition("-")[0] if orders else ""
    fees: dict[str, Decimal] = {}
    for order, trade in account.trades:
        if order.client_id.startswith(f"{tag}-") and trade.fee:
            fees[trade.fee_asset] = fees.get(trade.fee_asset, Decimal(0)) + trade.fee
    told_fees = {asset: Decimal(fee) for asset, fee in live["fees"].items() if fee}
    if told_fees != fees:
        found.append(f"the report has fees of {told_fees}, the exchange of {fees}")
    return found
