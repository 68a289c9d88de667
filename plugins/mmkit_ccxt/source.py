"""The order book and trades of any venue that ccxt.pro covers, as they happen."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Literal

from pydantic import Field

from mmkit.errors import ConfigError, FeedError, Mistake, MmkitError
from mmkit.instruments import Instrument
from mmkit.interfaces import DataSource, PluginConfig, SourceContext
from mmkit.tape import FeedStats, GapReason, Row
from mmkit.units import Duration
from mmkit_ccxt.client import Endpoint, let_go, make_client
from mmkit_ccxt.failures import Answer, Failure, meaning_of
from mmkit_ccxt.grid import FinerSizes
from mmkit_ccxt.listing import check_symbol, parse_market
from mmkit_ccxt.rows import RowMaker, copy_of

_log = logging.getLogger("mmkit.ccxt")

FIRST_DELAYS_S = (0.3, 0.6, 1.2, 2.4)
"""Between the tries of a first contact, and of a refusal without a clear reason: five in 4.5 s."""
_FIRST_CONTACT_S = 5.0
"""So long after its first failure a first contact is not tried again, as when each try takes long."""
_STEADY_S = 10.0  # books for so long, and the failures before are forgotten
_LONGEST_DELAY_S = 30.0
_SLOW_DOWN_S = (10.0, 300.0)  # the first and the longest wait after too many requests
_FIRST_SILENCES = 3  # so many in a row before the first book, and nothing will come
_TIME_SAMPLES = 3
_WAITING = 256  # what has been received and not yet taken; a full queue slows the watching

Told = tuple[Literal["book", "trades", "failed"], Any]


class CcxtConfig(PluginConfig):
    """What may be written beside ``plugin: ccxt``."""

    endpoint: Endpoint = Field(
        "live",
        description="live, testnet, demo (as far as the venue has them), or the local sandbox.",
    )
    depth: int | None = Field(
        None,
        ge=1,
        description="Levels a side to ask for and to keep; many venues have a few fixed ones. By default "
        "ccxt's own of the venue.",
    )
    trades: bool = Field(
        True, description="Whether trades become rows; without, nothing tells the queue."
    )
    finer_sizes: FinerSizes = Field(
        "refuse",
        description="What to do about sizes that are finer than the venue's lot: refuse, or round_up.",
    )
    silence: Duration = Field(
        30_000_000_000,
        gt=0,
        description="Connect anew when no book has arrived for so long; longer for a quiet market.",
    )
    url: str | None = Field(None, description="Root of the sandbox, in place of the service's.")
    options: dict[str, Any] = Field(
        default_factory=dict, description="Laid over ccxt's own options of the venue."
    )


class CcxtSource(DataSource):
    """Watches with ccxt.pro; after every loss all connections are made anew."""

    def __init__(self, config: CcxtConfig, context: SourceContext) -> None:
        self._config, self._context = config, context
        self._venue, self._symbol = context.spec.venue, context.spec.symbol
        self._client = self._new_client()
        _check_streams(self._client, self._venue, config)
        self._instrument: Instrument | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        self.stats = FeedStats()

    async def instrument(self) -> Instrument:
        """Return the instrument as ccxt describes it; the venue is asked once.

        Raises:
            ConfigError: if it is not listed, or the user's grid is another.
            FeedError: if the venue cannot be asked.
        """
        if self._instrument is None:
            await self._patiently("loadMarkets", self._client.load_markets)
            check_symbol(self._context.spec, self._client.markets)
            self._instrument = parse_market(
                self._client.market(self._symbol), self._client.precisionMode, self._context.spec
            )
        return self._instrument

    async def stream(self) -> AsyncIterator[list[Row]]:
        """Yield rows as they arrive, for ever.

        Every time is on the run's clock: what has been received is stamped in the moment it is taken, and the
        venue's times are moved by the difference between the clocks, measured once where the venue can
        be asked.

        Raises:
            FeedError: if the venue cannot be reached at first, or there is no hope of data.
            OffGrid: if a price or size is not on the instrument's grid.
        """
        instrument = await self.instrument()
        now_ns = self._context.clock.now_ns
        offset = await self._measure_offset()
        self.stats.clock_offset_ns = [offset]
        maker = RowMaker(instrument, self.stats, offset, self._config.finer_sizes)
        yield maker.lost(GapReason.START, now_ns())
        patience = _Patience()
        try:
            while True:
                failure: Failure | None = None
                maker.opened(now_ns())
                async with aclosing(self._watch()) as told:
                    async for what, content in told:
                        if what == "failed":
                            failure = content
                            break
                        now = now_ns()
                        if what == "trades":
                            rows = maker.trades(content, now)
                        else:
                            rows = maker.book(content, now)
                            patience.proven()
                        if rows:
                            yield rows
                assert failure is not None  # watching goes on for ever otherwise
                _log.warning("lost venue=%s reason=%s", self._venue, failure.words)
                yield maker.lost(failure.reason, now_ns())
                await asyncio.sleep(patience.wait_s(failure, self._retry_after_s()))
                self._start_anew()
        finally:
            maker.take_notes(self._venue)

    async def close(self) -> None:
        """Close every connection."""
        await asyncio.gather(let_go(self._client), *self._leaving)

    # --- watching -------------------------------------------------------------------------------

    async def _watch(self) -> AsyncGenerator[Told, None]:
        """Yield what ccxt has received, ending with why there is no more."""
        queue: asyncio.Queue[Told] = asyncio.Queue(_WAITING)
        client, symbol, depth = self._client, self._symbol, self._config.depth

        async def watch_book() -> None:
            while True:
                # Nothing is awaited between this and the next call but a full queue, so that no change of
                # ccxt's book goes unnoticed; the book is its own and changes on, hence the copy.
                book = await client.watch_order_book(symbol, depth, {})
                await queue.put(("book", copy_of(book, depth)))

        async def watch_trades() -> None:
            while True:
                await queue.put(("trades", list(await client.watch_trades(symbol, None, None, {}))))

        watchers = {"watchOrderBook": watch_book}
        if self._config.trades:
            watchers["watchTrades"] = watch_trades
        tasks = [
            asyncio.create_task(self._guarded(name, watch, queue))
            for name, watch in watchers.items()
        ]
        heard = asyncio.get_running_loop().time()
        silence_s = self._config.silence / 1e9
        try:
            while True:
                left = heard + silence_s - asyncio.get_running_loop().time()
                try:
                    told = await asyncio.wait_for(queue.get(), max(left, 0.001))
                except TimeoutError:
                    words = f"watchOrderBook: no book arrived for {silence_s:g} s"
                    yield "failed", Failure(Answer.RECONNECT, GapReason.SILENCE, words)
                    return
                if told[0] == "book":
                    heard = asyncio.get_running_loop().time()
                yield told
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _guarded(
        self, name: str, watch: Callable[[], Awaitable[None]], queue: asyncio.Queue[Told]
    ) -> None:
        """Tell whatever ends the watching, so that nothing is silent by mistake."""
        try:
            await watch()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Not ours: ccxt cancels what is waited for when it closes a connection.
            words = f"{name}: ccxt closed the connection"
            await queue.put(("failed", Failure(Answer.RECONNECT, GapReason.CONNECTION, words)))
        except Exception as error:  # noqa: BLE001 - ccxt's, by whatever name; told to whoever reads the rows
            _log.debug("watching ended what=%s", name, exc_info=error)
            await queue.put(("failed", meaning_of(error, name, self._venue)))

    # --- the client -----------------------------------------------------------------------------

    def _new_client(self) -> Any:
        return make_client(
            self._context.spec,
            self._config.endpoint,
            self._context.endpoints,
            url=self._config.url,
            options=self._config.options,
        )

    def _start_anew(self) -> None:
        """Take a new client in place of the old one, with nothing left of what it knew but the markets."""
        before = self._client
        self._client = self._new_client()
        self._client.set_markets_from_exchange(before)
        leaving = asyncio.create_task(let_go(before))
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)

    def _retry_after_s(self) -> float:
        headers = self._client.last_response_headers or {}
        for key, value in headers.items():
            if str(key).lower() == "retry-after":
                try:
                    return max(0.0, float(value))
                except ValueError:
                    return 0.0  # a date; the wait grows by itself
        return 0.0

    async def _patiently(self, name: str, ask: Callable[[], Awaitable[Any]]) -> Any:
        """Return what the venue answers, trying again for some five seconds.

        Raises:
            FeedError: if it did not help; says what to do.
        """
        patience = _Patience()
        while True:
            try:
                return await ask()
            except MmkitError:
                raise
            except Exception as error:  # noqa: BLE001 - raised anew in our words if nothing helps
                failure = meaning_of(error, name, self._venue)
                try:
                    wait = patience.wait_s(failure, self._retry_after_s())
                except FeedError as hopeless:
                    raise FeedError(f"{hopeless}; {self._advice()}") from error
                _log.warning(
                    "request failed, trying again wait_s=%.1f reason=%s", wait, failure.words
                )
            await asyncio.sleep(wait)

    def _advice(self) -> str:
        if self._config.endpoint == "sandbox":
            return "start it with 'mmkit sandbox' or add 'services: [{plugin: sandbox}]'"
        return "check the network, or try without any with 'endpoint: sandbox' on venue binance"

    async def _measure_offset(self) -> int:
        """Return how far the venue's clock is ahead of ours, ns; 0 if that cannot be told from noise."""
        if not self._client.has.get("fetchTime"):
            _log.info("clock offset unknown: ccxt cannot ask '%s' for its time", self._venue)
            return 0
        now_ns = self._context.clock.now_ns
        samples: list[tuple[int, int]] = []
        for _ in range(_TIME_SAMPLES):
            # ccxt holds a request back that comes too soon, which would be taken for a slow network.
            await asyncio.sleep(min(1.0, 2 * self._client.rateLimit / 1000))
            sent = now_ns()
            told = await self._patiently("fetchTime", self._client.fetch_time)
            received = now_ns()
            if told is not None:
                # Cut down to the millisecond: half of one on average.
                server = int(told * 1_000_000) + 500_000
                samples.append((received - sent, server - (sent + received) // 2))
        if not samples:
            return 0
        round_trip, offset = min(samples)
        certain = round_trip // 2 + 500_000
        _log.info("clock offset_ns=%d uncertain_ns=%d", offset, certain)
        return offset if abs(offset) > certain else 0


class _Patience:
    """How long to wait after each failure, and when to give up."""

    def __init__(self) -> None:
        self._failures = self._refusals = self._silences = 0
        self._proven = False
        self._first_s = self._last_s = 0.0  # when the first and the last of these failures were

    def proven(self) -> None:
        """Say that a book has come: from now on there is hope."""
        self._proven = True
        # A venue that drops us after every snapshot is not to be asked four times a second.
        if self._failures and asyncio.get_running_loop().time() - self._last_s > _STEADY_S:
            self._failures = self._refusals = self._silences = 0

    def wait_s(self, failure: Failure, retry_after_s: float) -> float:
        """Return how long to wait before the next try.

        Raises:
            FeedError: if there is no hope.
        """
        tries = len(FIRST_DELAYS_S) + 1
        now_s = asyncio.get_running_loop().time()
        if not self._failures:
            self._first_s = now_s
        self._last_s = now_s
        self._failures += 1
        if failure.reason == GapReason.SILENCE:
            self._silences += 1
        if failure.answer is Answer.END:
            raise FeedError(failure.words)
        if failure.answer is Answer.TRY_A_FEW_TIMES:
            self._refusals += 1
            if self._refusals >= tries:
                raise FeedError(f"{failure.words}, {self._refusals} times")
            return max(retry_after_s, FIRST_DELAYS_S[self._refusals - 1])
        if failure.answer is Answer.SLOW_DOWN:
            first, longest = _SLOW_DOWN_S
            if not self._proven and self._failures >= tries:
                raise FeedError(f"{failure.words}, {self._failures} times; try again later")
            return max(retry_after_s, min(longest, first * 2.0 ** (self._failures - 1)))
        if not self._proven:
            enough = self._failures >= tries or now_s - self._first_s > _FIRST_CONTACT_S
            if self._silences >= _FIRST_SILENCES or (enough and not self._silences):
                raise FeedError(f"{failure.words}; tried {self._failures} times")
            return FIRST_DELAYS_S[min(self._failures, len(FIRST_DELAYS_S)) - 1]
        # Half as much again or as little, so that many clients do not come back at once.
        longest = min(_LONGEST_DELAY_S, 0.25 * 2.0 ** min(self._failures - 1, 10))
        return longest * random.uniform(0.5, 1.5)  # noqa: S311 - no secret depends on it


def _check_streams(client: Any, venue: str, config: CcxtConfig) -> None:
    """Refuse a venue that ccxt.pro cannot watch.

    Raises:
        ConfigError: if it has no stream of the book, or none of trades and they are wanted.
    """
    mistakes = []
    if not client.has.get("watchOrderBook"):
        words = f"a venue whose order book ccxt.pro can watch was expected; '{venue}' has no watchOrderBook"
        mistakes.append(Mistake("", "instrument.venue", words, "choose another venue"))
    elif config.trades and not client.has.get("watchTrades"):
        words = f"'{venue}' has no watchTrades in ccxt.pro"
        hint = "say 'data.trades: false' to run on its order book alone"
        mistakes.append(Mistake("", "data.trades", words, hint))
    if config.url is not None and config.endpoint != "sandbox":
        words = f"an address is for 'endpoint: sandbox'; found endpoint '{config.endpoint}'"
        mistakes.append(Mistake("", "data.url", words, "leave it out, or say sandbox"))
    if mistakes:
        raise ConfigError(mistakes)
