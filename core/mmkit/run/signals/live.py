"""Signals computed while market data comes in."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from msgspec.structs import replace

from mmkit.clock import Clock
from mmkit.discovery import reason_of
from mmkit.events import Signal
from mmkit.features import Streaming
from mmkit.instruments import Instrument
from mmkit.report import SignalFigures
from mmkit.run.session import SignalFeed, Troubles
from mmkit.run.signals.loaded import WRONG, Floats, Loaded, load, measured, wrong
from mmkit.run.signals.trouble import Trouble
from mmkit.tape import KIND, LAST, NEVER, Kind, Row

if TYPE_CHECKING:
    from mmkit.config import Config

_LEVEL, _GAP = int(Kind.LEVEL), int(Kind.GAP)


class Sampler:
    """The last samples of one signal's features; which windows there are is as in `mmkit.run.signals.batch`.

    Args:
        loaded: What is sampled, and when.
        start_ns: When the run begins.
    """

    def __init__(self, loaded: Loaded, start_ns: int) -> None:
        self._loaded = loaded
        self._streaming = Streaming(loaded.features)
        self._window = loaded.model.window
        # Twice as long and more, so that a window is one piece of it and seldom has to be moved.
        self._rows = np.empty((self._window + max(self._window, 256), len(loaded.features.names)))
        self._end = self._filled = 0
        self._broken = False
        self._asked_ns = -NEVER
        self.due_ns = NEVER
        """When the next sample is to be taken."""
        if loaded.grid_ns is not None:
            self.due_ns = -(-start_ns // loaded.grid_ns) * loaded.grid_ns

    def on_message(self, message: Sequence[Row]) -> None:
        """Take in one message.

        Raises:
            DataError: as `Streaming.on_message`.
        """
        for row in message:
            if row[2] & KIND == _GAP:
                self._broken = True
        last = message[-1]
        if self._loaded.grid_ns is None and last[2] & KIND == _LEVEL and last[2] & LAST:
            self.due_ns = last[1]
        self._streaming.on_message(message)

    def break_off(self) -> None:
        """Let no window reach back beyond now."""
        self._broken = True

    def sample(self) -> tuple[int, Floats | None, bool]:
        """Take the sample that is due; return its time, the window if it is known, and whether the model is to be asked."""
        loaded = self._loaded
        ts = self.due_ns
        self.due_ns = NEVER if loaded.grid_ns is None else ts + loaded.grid_ns
        values = self._streaming.values(ts)
        if self._broken:
            self._filled, self._broken = 0, False
        if np.isnan(values).any():
            self._filled = 0
        else:
            self._keep(values)
        every = loaded.every_ns
        asked = every is None or (loaded.grid_ns is not None and ts % every == 0)
        if self._filled < self._window:
            return ts, None, asked or loaded.grid_ns is None
        if every is not None and loaded.grid_ns is None and ts - self._asked_ns >= every:
            self._asked_ns, asked = ts, True
        return ts, self._rows[self._end - self._window : self._end], asked

    def _keep(self, values: Floats) -> None:
        if self._end == len(self._rows):
            kept = self._window - 1
            self._rows[:kept] = self._rows[self._end - kept :]
            self._end = kept
        self._rows[self._end] = values
        self._end += 1
        self._filled += 1


Probabilities = tuple[float, float, float]

LONG_NS = 1_000_000
"""What the next message may have to wait for a model: a message of market data takes some tenths of that itself."""


def takes_long(loaded: Loaded) -> bool:
    """Return whether a model is to be asked beside the loop of the run."""
    window = np.zeros((loaded.model.window, len(loaded.features.names)))
    return measured(loaded.model, (window for _ in range(10))) > LONG_NS


class Beside:
    """A thread in which one model is asked, one window at a time."""

    def __init__(self, loaded: Loaded) -> None:
        self._model = loaded.model
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=f"signal-{loaded.name}")
        self.busy = False
        """Whether an answer is awaited."""

    def ask(self, window: Floats, answered: Callable[[Future[Probabilities]], None]) -> None:
        """Ask the model; `answered` is called in the event loop that this is called in."""
        loop = asyncio.get_running_loop()

        def done(future: Future[Probabilities]) -> None:
            self.busy = False
            answered(future)

        self.busy = True
        future = self._pool.submit(self._model.predict, window)
        future.add_done_callback(lambda one: loop.call_soon_threadsafe(done, one))

    def close(self) -> None:
        """Wait for what it is at; nothing is asked any more."""
        self._pool.shutdown()


class _Signal:
    """One signal that is being computed."""

    def __init__(self, loaded: Loaded, start_ns: int) -> None:
        self.loaded = loaded
        self.sampler = Sampler(loaded, start_ns)
        self.trouble = Trouble(loaded.name)
        self.beside = Beside(loaded) if takes_long(loaded) else None
        self.told = self.unknown = 0
        self.latencies: deque[int] = deque(maxlen=10_000)

    def figures(self) -> SignalFigures:
        return replace(
            self.loaded.figures,
            told=self.told,
            unknown=self.unknown,
            failed=self.trouble.failures,
            late=self.trouble.lates,
            failure=self.trouble.first,
            latency_ns=int(median(self.latencies)) if self.latencies else 0,
            latency="as it was",
        )


class Live(SignalFeed):
    """Computes signals as market data comes: in the loop of the run, where a call takes some 10 to 100 us, and beside
    it, in a thread of its own, where the model is found to take longer than `LONG_NS`.

    What it says is known when it has said it, by the run's clock, and told from then on. A replay finds both
    in the journal.

    Args:
        loaded: The signals.
        clock: The run's.
        start_ns: When it begins.
    """

    def __init__(self, loaded: Sequence[Loaded], clock: Clock, start_ns: int) -> None:
        self._clock = clock
        self._signals = {one.name: _Signal(one, start_ns) for one in loaded}
        self._ready: deque[Signal] = deque()
        self.ready: Callable[[], None] = lambda: None
        """Called when a signal has come in between, so that it is to be told soon."""

    def on_message(self, message: Sequence[Row], market: str) -> None:
        """Take in one message of a market."""
        for one in self._signals.values():
            if one.loaded.market != market:
                continue
            try:
                one.sampler.on_message(message)
            except Exception as error:  # noqa: BLE001 - the quotes go on without the signal
                one.sampler.break_off()
                one.trouble.failed(reason_of(error))

    def next_ns(self) -> int:
        """Return when a sample is due, or a signal is to be told."""
        due = min(one.sampler.due_ns for one in self._signals.values())
        return min(due, self._ready[0].ts_local) if self._ready else due

    def take(self, now_ns: int) -> list[Signal]:
        """Take the samples that are due, ask the models, and return what is known by now."""
        for one in self._signals.values():
            if one.sampler.due_ns <= now_ns:
                self._ask(one)
        told: list[Signal] = []
        while self._ready and self._ready[0].ts_local <= now_ns:
            signal = self._ready.popleft()
            self._signals[signal.name].told += 1
            told.append(signal)
        return told

    def _ask(self, one: _Signal) -> None:
        """Take a sample, and ask the model if that completes a window."""
        loaded, trouble = one.loaded, one.trouble
        try:
            ts, window, asked = one.sampler.sample()
        except Exception as error:  # noqa: BLE001 - the quotes go on without the signal
            one.sampler.break_off()
            trouble.failed(reason_of(error))
            return
        if not asked:
            return
        if window is None:
            one.unknown += 1
            return
        if one.beside is not None and one.beside.busy:
            trouble.late("the model is still at the window before")
            return
        if (behind := self._clock.now_ns() - ts) >= loaded.expires_ns:
            trouble.late(
                f"{behind} ns after its sample, when it has expired, it is not computed yet"
            )
            return
        if one.beside is not None:
            # The rows that the window is a view of are written over meanwhile.
            one.beside.ask(window.copy(), lambda answer: self._answered_beside(one, ts, answer))
            return
        try:
            said = loaded.model.predict(window)
        except Exception as error:  # noqa: BLE001 - a plugin's; the quotes go on without the signal
            trouble.failed(reason_of(error))
        else:
            self._said(one, ts, said)

    def _answered_beside(self, one: _Signal, ts: int, answer: Future[Probabilities]) -> None:
        if (error := answer.exception()) is not None:
            one.trouble.failed(reason_of(error))
        else:
            self._said(one, ts, answer.result())
            self.ready()

    def _said(self, one: _Signal, ts: int, said: Probabilities) -> None:
        """Make a signal of what a model has said just now, to be told from now on."""
        loaded, trouble = one.loaded, one.trouble
        try:
            down, flat, up = map(float, said)
        except (TypeError, ValueError):
            down = flat = up = float("nan")
        if wrong((down, flat, up)):
            trouble.failed(WRONG.format(said))
            return
        # Not before its sample, even by a clock that stands still.
        known = max(self._clock.now_ns(), ts)
        if known - ts >= loaded.expires_ns:
            trouble.late(f"known {known - ts} ns after its sample, when it has expired")
            return
        one.latencies.append(known - ts)
        self._ready.append(
            Signal(
                ts_exchange=ts,
                ts_local=known,
                name=loaded.name,
                down=down,
                flat=flat,
                up=up,
                expires_ns=ts + loaded.expires_ns,
            )
        )

    def close(self) -> None:
        """Let go of the threads, once what they are at is done."""
        for one in self._signals.values():
            if one.beside is not None:
                one.beside.close()

    @property
    def troubles(self) -> dict[str, Troubles]:
        """How often each was late and failed so far."""
        return {
            name: Troubles(one.trouble.lates, one.trouble.failures)
            for name, one in self._signals.items()
        }

    @property
    def figures(self) -> dict[str, SignalFigures]:
        """What the report says of each."""
        return {name: one.figures() for name, one in self._signals.items()}


def live_signals(
    config: Config, instruments: Mapping[str, Instrument], clock: Clock, start_ns: int
) -> Live | None:
    """Return what computes the configured signals; `None` if there are none.

    Raises:
        DataError: if a model cannot be read.
    """
    if not config.signals:
        return None
    loaded = [load(one, instruments[one.section.market]) for one in config.signals]
    return Live(loaded, clock, start_ns)
