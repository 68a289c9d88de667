"""Limits on what is spent: the most that a request can cost is set aside before it is made."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from mmkit.clock import Clock
from mmkit_holysheep.prices import Price, Usage
from mmkit_holysheep.purse import Purse, PurseError, Spent, day_of
from mmkit_holysheep.settings import Budget


class Refused(Exception):  # noqa: N818 - what the budget says
    """A request is not made. `name` is what to count it under."""

    def __init__(self, name: str, words: str) -> None:
        super().__init__(words)
        self.name, self.words = name, words


@dataclass(frozen=True)
class Reserve:
    """What is set aside for one request.

    Attributes:
        day: On which, UTC.
        most: The most that it can cost.
        price: Of its model; `None` if that is unknown.
    """

    day: str
    most: Spent
    price: Price | None


class Account:
    """What one advisor may spend: in a run, and with all others in a day.

    What came of a request decides what it is charged: its usage if the gateway tells it, nothing if the gateway has
    refused it, else all that was set aside, as nobody knows. A process that ends meanwhile has charged that already.

    Args:
        limits: The user's.
        purse: What all have spent today.
        clock: Says which day it is.
        free: Whether the gateway costs nothing, so that a model without a price can be asked.
    """

    def __init__(self, limits: Budget, purse: Purse, clock: Clock, *, free: bool) -> None:
        self._limits, self._purse, self._clock, self._free = limits, purse, clock, free
        self.run = Spent()
        """What this run has spent or set aside."""

    async def reserve(self, price: Price | None, prompt: int, answer: int) -> Reserve:
        """Set aside the most that a request can cost.

        Args:
            price: Of its model; `None` if that is unknown.
            prompt: Tokens of the prompt at most.
            answer: Tokens of the answer at most.

        Raises:
            Refused: if that is not left, or cannot be told.
        """
        limits = self._limits
        if price is None and limits.in_usd and limits.unpriced == "refuse" and not self._free:
            raise Refused(
                "no_price",
                "it has no price, and there is a limit in USD; add it to a file that 'prices' names, or write "
                "'budget: {unpriced: allow}'",
            )
        usd = Decimal(0) if price is None else price.most(prompt, answer)
        most = Spent(prompt + answer, usd)
        _fits("run", self.run, most, limits.run_tokens, limits.run_usd)
        day = day_of(self._clock.now_ns())
        try:
            await self._purse.add(day, most, lambda spent: self._fits_today(spent, most))
        except PurseError as error:
            raise Refused("budget", str(error)) from error
        self.run += most
        return Reserve(day, most, price)

    async def settle(self, reserve: Reserve, usage: Usage | None, *, unbilled: bool) -> None:
        """Charge what a request has cost, in place of what was set aside.

        Args:
            reserve: What was.
            usage: As the gateway tells it; `None` if it does not.
            unbilled: Whether the gateway has refused the request, or never seen it.

        Raises:
            PurseError: if that cannot be written; then all that was set aside stays charged.
        """
        if usage is not None:
            usd = Decimal(0) if reserve.price is None else reserve.price.cost(usage)
            spent = Spent(usage.tokens, usd)
        elif unbilled:
            spent = Spent()
        else:
            return
        change = spent - reserve.most
        await self._purse.add(reserve.day, change)
        self.run += change

    def _fits_today(self, spent: Spent, most: Spent) -> None:
        _fits("day", spent, most, self._limits.day_tokens, self._limits.day_usd)


def _fits(span: str, spent: Spent, most: Spent, tokens: int | None, usd: Decimal | None) -> None:
    if tokens is not None and spent.tokens + most.tokens > tokens:
        raise Refused(
            "budget",
            f"{tokens} tokens a {span} are allowed, {spent.tokens} are spent, and the next request may take "
            f"{most.tokens}",
        )
    if usd is not None and spent.usd + most.usd > usd:
        raise Refused(
            "budget",
            f"{usd} USD a {span} are allowed, {spent.usd.normalize():f} are spent, and the next request may cost "
            f"{most.usd.normalize():f}",
        )
