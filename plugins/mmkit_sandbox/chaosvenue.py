"""The exchange with one account, and a bad line to it, in virtual time: what a request and an event go through."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from random import Random
from typing import Any, NamedTuple, TypeAlias

from pydantic import SecretStr

from mmkit.clock import Clock
from mmkit.virtual_time import START_NS
from mmkit_sandbox.accountconfig import AccountConfig
from mmkit_sandbox.accounts import Accounts
from mmkit_sandbox.channel import StreamKind
from mmkit_sandbox.desk import Carried, Desk
from mmkit_sandbox.faults import CLOSES, Fault, FaultKind
from mmkit_sandbox.funding import FundingTerms
from mmkit_sandbox.ledger import ZERO
from mmkit_sandbox.limits import Limits
from mmkit_sandbox.listing import ORDER_LIMITS, SPOT, WEIGHT_PER_MINUTE, Listing
from mmkit_sandbox.routes import ENDPOINTS
from mmkit_sandbox.simulation import SimulatedExchange
from mmkit_sandbox.trouble import Trouble

_MS = 1_000_000
KEY = "chaos"
LIVELINESS = 0.08
"""How many times as many orders come as usual: enough for an order of ours to be filled every few seconds."""
PATIENCE, BAN_S = 10, 20
"""After so many requests too many the address is banned, for so long."""
_RATE = Decimal("0.0003")
"""Of funding."""
OTHERS = "theirs-"
"""How the client order ids begin of those who trade on the same account."""
_HOUR_NS = 3600 * 1_000_000_000
_ON_THE_LINE_S = 0.02
"""How long an event of the user stream takes."""
_SEEN_DEAD_S = 10.0
"""After so long a client notices that a half open connection says nothing any more, not even to a ping."""

Answered: TypeAlias = tuple[Carried, Mapping[str, str]]
"""An answer, and the headers that say how much has been asked."""
Ears = Callable[[Mapping[str, Any] | str], None]
"""Is told an event of the user stream as Binance writes it, or why the stream is lost, in words."""


class Allowed(NamedTuple):
    """What the venue allows, where it is less than usual.

    Attributes:
        weight: Of requests in a minute; `None` for what is usual.
        orders_per_10s: Likewise.
    """

    weight: int | None = None
    orders_per_10s: int | None = None


class ChaosVenue:
    """The sandbox without sockets.

    Args:
        listing: What is traded.
        seed: Decides the order flow, delays and what is left to chance.
        clock: The virtual time.
        faults: What goes wrong, in order of time.
        trace: Is told what happens.
        allowed: Of requests and orders.
        funded_ms: How long from one payment of funding to the next; 0 for none.
    """

    def __init__(
        self,
        listing: Listing,
        seed: int,
        clock: Clock,
        faults: Iterator[Fault],
        trace: Callable[[str, object], None],
        allowed: Allowed = Allowed(),  # noqa: B008 - it cannot be changed
        funded_ms: int = 0,
    ) -> None:
        self.listing, self._clock, self._trace = listing, clock, trace
        self.market = listing.market
        self.random = Random(f"line {seed}")  # noqa: S311  # not for secrets
        funding = FundingTerms(funded_ms, _RATE) if funded_ms else FundingTerms(rate=ZERO)
        exchange = SimulatedExchange(
            [listing], seed, START_NS, liveliness=LIVELINESS, funding=funding
        )
        config = AccountConfig(
            key=KEY,
            secret=SecretStr("chaos"),
            balances={"USDT": Decimal(1_000_000), "BTC": Decimal(20)},
            futures={"USDT": Decimal(1_000_000)},
            coin_futures={"BTC": Decimal(100)},
        )
        self.accounts = Accounts(exchange, [config], START_NS)
        self.account = self.accounts.by_key[KEY]
        self.trouble = Trouble(faults, START_NS, seed)
        self.weight_limit = allowed.weight or WEIGHT_PER_MINUTE[self.market]
        """Of requests, in a minute."""
        first, *others = ORDER_LIMITS[self.market]
        self.order_limits = ((*first[:2], allowed.orders_per_10s or first[2]), *others)
        """Interval, how many of it, and how many orders; the first is of ten seconds."""
        self.limits = Limits(
            WEIGHT_PER_MINUTE | {self.market: self.weight_limit},
            ORDER_LIMITS | {self.market: self.order_limits},
            PATIENCE,
            BAN_S,
        )
        self.desk = Desk(self.accounts, self.trouble, self.limits)
        self.wrong: list[str] = []
        """What a client has done that it may not do, in words."""
        self.sent: Counter[str] = Counter()
        """How often an order has left a trader, by client order id."""
        self.happened: Counter[str] = Counter()
        """How often something went wrong, by kind."""
        self.last_fault_ns = START_NS
        """When the last fault was over."""
        self._late = 0.01
        self.allowed_ns = START_NS
        """When what is allowed in a minute, or ten seconds, begins anew, or a ban is over."""
        self.banned_until_ns = START_NS
        self._arrived_ns = START_NS
        self._counted = 0
        self._ears: Ears | None = None
        self._lane = 0
        self._frozen = False
        self._events: dict[bytes, Mapping[str, Any]] = {}
        self._number = 0

    # --- time ---

    def advance(self) -> None:
        """Let everything happen that is due, and tell of it."""
        now = self._clock.now_ns()
        for fault in self.trouble.advance(now):
            self._carry_out(fault)
        self.accounts.advance(now)
        self.flush()
        self._count()

    def flush(self) -> None:
        """Send what the user stream says, through whatever goes wrong on the way."""
        now = self._clock.now_ns()
        through: list[bytes] = []
        for said in self.desk.take():
            if self._ears is None or said.market != self.market or self._frozen:
                continue
            self._number += 1
            name = b"%d" % self._number
            self._events[name] = said.event
            through += self.trouble.pass_on(self._lane, StreamKind.USER, name, now)
        through += self.trouble.release(self._lane, now)
        for name in through:
            self._later(_ON_THE_LINE_S, self._tell, self._lane, self._events[name])

    def _tell(self, lane: int, event: Mapping[str, Any]) -> None:
        if lane == self._lane and self._ears is not None:
            self._ears(event)

    def rest_until(self, now_ns: int) -> None:
        """Let nobody trade until then."""
        self.accounts.exchange.rest_until(now_ns)

    def calm(self) -> None:
        """From now on nothing goes wrong, but for what goes on by itself: orders that are hidden, and being down."""
        self._count()
        now = self._clock.now_ns()
        self.trouble.end()
        self._late = 0.0
        hidden = (one.hidden_until_ns for one in self.account.all_orders())
        self.last_fault_ns = max(
            (
                self.last_fault_ns,
                now,
                self._arrived_ns,
                self.allowed_ns,
                self.trouble.down_until,
                *hidden,
            )
        )

    def _count(self) -> None:
        trouble = self.trouble
        new = min(trouble.count - self._counted, len(trouble.happened))
        self._counted = trouble.count
        for one in list(trouble.happened)[len(trouble.happened) - new :]:
            self.note(self._name(one.fault), f"{one.fault.kind} {one.what}")

    def _name(self, fault: Fault) -> str:
        """Return what it is counted as."""
        if fault.kind is FaultKind.NO_FUNDS:
            return "no_funds_2010" if self.market == SPOT else "no_funds_2019"
        hours = fault.kind is FaultKind.HIDDEN and fault.lasts_ns >= _HOUR_NS
        return "hidden_for_hours" if hours else fault.kind.value

    def now_ns(self) -> int:
        """Return the time, of which the venue and its clients have the same idea."""
        return self._clock.now_ns()

    def held_back(self, words: str, retry_ns: int) -> None:
        """Take note that a client has not sent something, as it was not allowed to."""
        self.note("held_back", words)
        self._not_before(retry_ns)

    def asked_on(self, words: str) -> None:
        """Take note that a client asks on though it was told to wait."""
        self.wrong.append(f"{words}: asked for while the venue had said to ask for nothing")

    def limited(self, kind: str, words: str, wait_s: int) -> None:
        """Take note that somebody was refused for the venue's own limits."""
        self.note(kind, words)
        self._not_before(wait_s * 1_000_000_000)
        if kind == "limit_1003_banned":
            self.banned_until_ns = self._clock.now_ns() + wait_s * 1_000_000_000

    def _not_before(self, wait_ns: int) -> None:
        self.allowed_ns = max(self.allowed_ns, self._clock.now_ns() + wait_ns)

    def note(self, kind: str, words: str) -> None:
        """Count something that went wrong."""
        self.happened[kind] += 1
        self._trace("fault", words)

    def _carry_out(self, fault: Fault) -> None:
        if fault.kind is FaultKind.RESTART:
            self.cut("the connection is lost")
            self.accounts.restart()
        elif fault.kind in CLOSES:
            self.cut(f"closed with {CLOSES[fault.kind]}")
        elif fault.kind is FaultKind.HALF_OPEN:
            self._frozen = True
            lane = self._lane
            self._later(_SEEN_DEAD_S, self._dead, lane)

    def _dead(self, lane: int) -> None:
        if lane == self._lane:
            self.cut("no answer to a ping")

    # --- the user stream ---

    @property
    def down(self) -> bool:
        """Whether nobody can connect."""
        return self._clock.now_ns() < self.trouble.down_until

    def listen(self, ears: Ears) -> None:
        """Have the user stream told from now on; whoever was told before is not any more."""
        self._hang_up()
        self._ears = ears

    def leave(self, ears: Ears) -> None:
        """Tell nothing any more, if it is still `ears` that is told."""
        if self._ears is ears:
            self._hang_up()

    def cut(self, why: str) -> None:
        """Lose the user stream."""
        ears = self._ears
        self._hang_up()
        if ears is not None:
            ears(why)

    def _hang_up(self) -> None:
        self.trouble.forget(self._lane)
        self._lane += 1
        self._ears, self._frozen = None, False

    # --- requests ---

    def send(
        self, method: str, path: str, params: Mapping[str, str], answer: asyncio.Future[Answered]
    ) -> None:
        """Put a request on the line; whatever becomes of who has sent it, it gets there.

        The answer is `Carried.cut` if there is none.
        """
        if (method, path) in _PLACES:
            self.sent[params["newClientOrderId"]] += 1
        if method == "DELETE" and not is_ours(params.get("origClientOrderId", OTHERS)):
            self.wrong.append(
                f"an order that is not ours was to be canceled: {path} {dict(params)}"
            )
        self._trace("sent", (method, path, dict(params)))
        # Most requests are quick, and some are so late that what is newer gets there first.
        late = self.random.random() < self._late
        delay_s = self.random.uniform(0.5, 9.0) if late else self.random.uniform(0.001, 0.08)
        if late:
            self.note("late", f"{method} {path} {delay_s:.1f} s late")
            self._arrived_ns = self._clock.now_ns() + round(delay_s * 1e9)
        self._later(delay_s, self._arrive, method, path, params, answer)

    def _arrive(
        self, method: str, path: str, params: Mapping[str, str], answer: asyncio.Future[Answered]
    ) -> None:
        now = self._clock.now_ns()
        if now < self.trouble.down_until:
            carried = Carried(0, None, cut=True)
        else:
            self.accounts.advance(now)
            carried = self.desk.carry_out(
                ENDPOINTS[method, path],
                self.account,
                self.market,
                params,
                now,
                f"{method} {path}",
            )
            before = self._counted
            self.flush()
            self._count()
            if self._counted == before and (kind := limit_of(carried)) is not None:
                self.limited(kind, f"{method} {path}", carried.retry_after_s or 0)
        headers = {} if carried.cut else self.limits.headers(self.market, KEY, now)
        self._later(self.random.uniform(0.001, 0.08), self._answer, (carried, headers), answer)

    @staticmethod
    def _answer(answered: Answered, answer: asyncio.Future[Answered]) -> None:
        if not answer.done():
            answer.set_result(answered)

    @staticmethod
    def _later(delay_s: float, call: Callable[..., None], *args: Any) -> None:
        asyncio.get_running_loop().call_later(delay_s, call, *args)


def is_ours(client_id: str) -> bool:
    """Return whether an order is not one of the others'."""
    return not client_id.startswith(OTHERS)


def limit_of(carried: Carried) -> str | None:
    """Return which of the venue's own limits an answer is about."""
    if carried.status not in (418, 429) or not carried.body:
        return None
    if carried.body["code"] == -1015:
        return "limit_1015"
    return "limit_1003_banned" if carried.status == 418 else "limit_1003"


_PLACES = frozenset(("POST", f"{root}/order") for root in ("/api/v3", "/fapi/v1", "/dapi/v1"))
