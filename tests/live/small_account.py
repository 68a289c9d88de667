"""The account of a `SmallVenue`, over a line that takes time and does what it is told to do wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from decimal import Decimal
from random import Random
from typing import TypeVar

from msgspec.structs import replace
from small_venue import SmallVenue

from mmkit.accounts import (
    AccountClient,
    AccountEvent,
    AccountInfo,
    Amendment,
    Balance,
    BalanceUpdate,
    FateUnknown,
    FillRecord,
    FundingRecord,
    OrderRecord,
    OrderUpdate,
    Placement,
    Refusal,
    Refused,
    StreamDown,
    StreamUp,
)
from mmkit.clock import Clock

T = TypeVar("T")
INFO = AccountInfo(can_trade=True, can_withdraw=False, maker_fee=None, taker_fee=None)


class SmallAccount(AccountClient):
    """One user of the venue.

    Args:
        venue: Where the account is.
        clock: Of the run.
        seed: Decides what goes wrong.
        trouble: Share of requests, and of answers, that are lost, and of what the user stream tells.
    """

    def __init__(
        self, venue: SmallVenue, clock: Clock, seed: int = 0, trouble: float = 0.0
    ) -> None:
        self.venue, self.clock = venue, clock
        self.random, self.trouble = Random(seed), trouble
        self.luck = Random(seed)
        self.info = INFO
        self.arrived: list[tuple[int, str]] = []
        """What has reached the venue, and when."""
        self.at_the_venue: Callable[[str], None] = lambda what: None
        """Called when a request arrives; may raise."""
        self.countdowns: list[int] = []
        self.is_up = False
        self._events: asyncio.Queue[AccountEvent | None] = asyncio.Queue()
        venue.tell = self._tell
        venue.tell_wallet = self._tell_wallet

    async def open(self) -> AccountInfo:
        return self.info

    async def place(self, placement: Placement) -> OrderRecord:
        return await self._ask("place", lambda now: self.venue.place(placement, now))

    async def amend(self, amendment: Amendment) -> OrderRecord | None:
        return await self._ask("amend", lambda now: self.venue.amend(amendment, now))

    async def cancel(self, client_id: str) -> OrderRecord | None:
        return await self._ask("cancel", lambda now: self.venue.cancel(client_id, now))

    async def cancel_all(self) -> None:
        raise NotImplementedError

    async def order(self, client_id: str) -> OrderRecord | None:
        return await self._ask("order", lambda now: self.venue.find(client_id, now))

    async def open_orders(self) -> Sequence[OrderRecord]:
        return await self._ask("open_orders", self.venue.shown)

    async def fills(self, since_ns: int) -> Sequence[FillRecord]:
        return await self._ask(
            "fills", lambda now: [one for one in self.venue.fills if one.ts_ns >= since_ns]
        )

    async def fundings(self, since_ns: int) -> Sequence[FundingRecord]:
        # By luck of its own, so that what is asked of funding changes nothing of what else goes wrong.
        await asyncio.sleep(self.luck.uniform(0.001, 0.2))
        if self.luck.random() < self.trouble:
            raise FateUnknown("connection lost")
        self.arrived.append((self.clock.now_ns(), "fundings"))
        return [one for one in self.venue.fundings if one.ts_ns >= since_ns]

    async def balances(self) -> Mapping[str, Balance]:
        return await self._ask("balances", lambda now: self.venue.balances())

    async def position(self) -> Decimal | None:
        return await self._ask("position", lambda now: self.venue.position())

    async def countdown(self, ms: int) -> bool:
        await self._ask("countdown", lambda now: self.countdowns.append(ms))
        return True

    async def close(self) -> None:
        self.is_up = False
        self._events = asyncio.Queue()

    async def _ask(self, what: str, do: Callable[[int], T]) -> T:
        await asyncio.sleep(self._delay())
        lost = self.random.random() < self.trouble
        if lost:
            await asyncio.sleep(2)
            raise FateUnknown("connection lost")
        now = self.clock.now_ns()
        self.arrived.append((now, what))
        self.at_the_venue(what)
        answer: T | Refused
        try:
            answer = do(now)
        except Refused as refused:
            answer = refused
        await asyncio.sleep(self._delay())
        if self.random.random() < self.trouble:
            await asyncio.sleep(2)
            raise FateUnknown("connection lost")
        if isinstance(answer, Refused):
            raise answer
        return answer

    def _delay(self) -> float:
        return self.random.uniform(0.001, 0.2)

    # --- the user stream ---

    async def events(self) -> AsyncIterator[AccountEvent]:
        self.up()
        while (event := await self._events.get()) is not None:
            yield event

    def up(self) -> None:
        self.is_up = True
        self._events.put_nowait(StreamUp())

    def drop(self, for_s: float) -> None:
        """Lose the user stream, and have it again."""
        if self.is_up:
            self.is_up = False
            events = self._events
            events.put_nowait(StreamDown(reason="closed with 1006"))
            asyncio.get_running_loop().call_later(
                for_s, lambda: self.up() if events is self._events else None
            )

    def end(self) -> None:
        self._events.put_nowait(None)

    def _tell(self, update: OrderUpdate) -> None:
        if not self.is_up:
            return
        luck = self.random.random()
        for _ in range(0 if luck < self.trouble / 2 else 2 if luck < self.trouble else 1):
            asyncio.get_running_loop().call_later(
                self._delay(), self._events.put_nowait, replace(update)
            )

    def _tell_wallet(self, update: BalanceUpdate) -> None:
        if self.is_up:
            self._events.put_nowait(update)


def too_fast(retry_s: float) -> Refused:
    return Refused(Refusal.RATE, "Too many requests.", -1003, round(retry_s * 1e9))
