"""The process of a trader: ``mmkit trade`` with real orders, as a user starts, kills and ends it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from mmkit.accounts import FundingRecord
from mmkit.instruments import Instrument
from mmkit.live.known import KnownFill, KnownOrder
from mmkit.live.store import Store
from mmkit_sandbox.chaosprocessschedule import Ending, ProcessSchedule
from mmkit_sandbox.chaosprocessvenue import KEY, SECRET
from mmkit_sandbox.listing import SPOT

_COMMAND = (sys.executable, "-c", "import sys; from mmkit.cli import main; sys.exit(main())")
_LONGEST = "10m"
"""After so long a process ends by itself, should whoever has started it be gone."""
_KNOWN = frozenset({"OrderAccepted", "OrderRejected", "OrderCanceled", "OrderFilled"})
"""Events of an order of which it is known what became of it."""
_ANSWERED_NS = 2_000_000_000
"""An order without an answer for so long may be lost; the journal is written every second."""


class Kept:
    """What the journal of orders holds once nobody writes to it."""

    def __init__(self, path: Path) -> None:
        store = Store(path)
        try:
            self.orders: dict[str, KnownOrder] = {one.client_id: one for one in store.orders()}
            self._fills = store.fills()
            self._fundings = store.money().fundings
        finally:
            store.close()

    def fills(self) -> list[KnownFill]:
        """Return every fill, in order of time."""
        return self._fills

    def fundings(self) -> Sequence[FundingRecord]:
        """Return every payment of funding, in order of time."""
        return self._fundings


class Userdir:
    """A folder of a user's, which outlives every process: configuration, journal of orders, results.

    Args:
        folder: Where; made here.
        plan: Says what is traded, by which strategy and through which account.
        instrument: What is traded.
        port: Of the line to the sandbox, on 127.0.0.1.
        plugin: Source of a plugin to be put there; none if empty.
    """

    def __init__(
        self,
        folder: Path,
        plan: ProcessSchedule,
        instrument: Instrument,
        port: int,
        plugin: str = "",
    ) -> None:
        self.path = folder / "user_data"
        self.config = self.path / "config.yml"
        self.path.mkdir(parents=True)
        # JSON is YAML.
        self.config.write_bytes(
            msgspec.json.format(msgspec.json.encode(_config(plan, instrument, port)))
        )
        if plugin:
            (self.path / "plugins").mkdir()
            (self.path / "plugins" / "put_there.py").write_text(plugin)

    @property
    def runs(self) -> list[Path]:
        """The folders of runs that have begun, the oldest first."""
        return [path.parent for path in sorted(self.path.glob("results/*/journal.jsonl"))]

    @property
    def journal(self) -> Path | None:
        """The journal of orders, if there is one."""
        return next(iter(self.path.glob("orders/*.sqlite")), None)

    def report(self) -> dict[str, Any] | None:
        """Return the report of the last run, if it has written one."""
        runs = self.runs
        path = runs[-1] / "report.json" if runs else None
        if path is None or not path.exists():
            return None
        return json.loads(path.read_bytes(), parse_float=Decimal)  # type: ignore[no-any-return]

    def unsettled(self, now_ns: int) -> set[int]:
        """Return the orders of the last run of which it does not know what became of them, by its journal until now.

        One that was sent just before does not count: its answer is on the way.
        """
        runs, unsettled = self.runs, dict[int, int]()
        for line in runs[-1].joinpath("journal.jsonl").read_bytes().splitlines() if runs else ():
            with contextlib.suppress(msgspec.DecodeError):  # half a line: it is being written
                entry = msgspec.json.decode(line)
                kind = entry.get("type")
                if kind in {"SubmitOrder", "OrderLost"}:
                    unsettled.setdefault(entry["order_id"], entry["ts_local"])
                elif kind in _KNOWN:
                    unsettled.pop(entry["order_id"], None)
        return {order for order, since_ns in unsettled.items() if now_ns - since_ns > _ANSWERED_NS}


def _config(plan: ProcessSchedule, instrument: Instrument, port: int) -> dict[str, Any]:
    url = f"http://127.0.0.1:{port}"
    stream = f"ws://127.0.0.1:{port}" + ("" if plan.market == SPOT else "/fstream")
    return {
        "mode": "live",
        "instrument": {"venue": "binance", "market": plan.market, "symbol": instrument.symbol},
        "data": {"plugin": "binance", "endpoint": "sandbox", "url": stream, "rest_url": url},
        "venue": {
            "plugin": plan.plugin,
            "endpoint": "sandbox",
            "url": url,
            "key": "${CHAOS_KEY}",
            "secret": "${CHAOS_SECRET}",
        },
        "strategy": plan.strategy,
        "risk": {
            "max_position": "0.1",
            "max_order": "0.02",
            "stale_after": "5s",
            "max_drawdown": "100000",
        },
    }


class TraderProcess:
    """One life.

    Args:
        userdir: Of it.
        number: Of the life, from 1.
    """

    def __init__(self, userdir: Userdir, number: int) -> None:
        self._userdir = userdir
        self._folder = userdir.path.parent
        self.output = self._folder / f"life-{number}.txt"
        """What it has printed."""
        self._process: asyncio.subprocess.Process | None = None
        self.killed = False

    async def start(self) -> None:
        """Start it."""
        self._process = await self._run(
            "trade", "-c", str(self._userdir.config), "--yes", "-v", "--duration", _LONGEST
        )

    async def _run(self, *words: str) -> asyncio.subprocess.Process:
        with self.output.open("ab") as output:
            return await asyncio.create_subprocess_exec(
                *_COMMAND,
                *words,
                "--userdir",
                str(self._userdir.path),
                cwd=self._folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Ctrl-C is for whoever has started it, who then ends it.
                start_new_session=True,
                env=os.environ
                | {
                    "CHAOS_KEY": KEY,
                    "CHAOS_SECRET": SECRET,
                    "PYTHONUNBUFFERED": "1",
                    # Several run at once, each with little to compute.
                    "OMP_NUM_THREADS": "1",
                    "OPENBLAS_NUM_THREADS": "1",
                },
            )

    async def wait(self) -> int:
        """Wait for its end; return its status, negative for a signal."""
        assert self._process is not None  # it has been started
        return await self._process.wait()

    def kill(self) -> None:
        """Kill it, as nothing can mind."""
        if self._process is not None and self._process.returncode is None:
            self.killed = True
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def end(self, how: Ending) -> None:
        """Ask it to end."""
        assert self._process is not None  # it has been started
        if how == "stop":
            stopping = await self._run("stop")
            try:
                await stopping.wait()
            finally:
                if stopping.returncode is None:
                    stopping.kill()
        else:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(getattr(signal, how))

    def last_words(self) -> str:
        """Return the last line that it has printed."""
        lines = self.output.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "nothing was printed"
