"""Faults planted in real captures, each with what must be found and at which line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any


@dataclass(eq=False)
class Text:
    """One line, known by itself, so that it is found again when others come and go."""

    stamp: str
    body: str
    kind: str
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def line(self) -> str:
        return f"{self.stamp} {self.body}\n" if self.stamp else f"{self.body}\n"

    def copy(self) -> Text:
        return Text(self.stamp, self.body, self.kind, self.data)


def parsed(lines: list[str], native: str) -> list[Text]:
    """Return the lines and what each is: depth, trade, ticker, snapshot, or other."""
    kinds = {"depth": "depth", "trade": "trade", "aggTrade": "trade", "bookTicker": "ticker"}
    found = []
    for line in lines:
        stamp, _, body = line.rstrip("\n").partition(" ")
        if not stamp[:1].isdigit():
            found.append(Text("", line.rstrip("\n"), "other"))
            continue
        message = json.loads(body)
        if "lastUpdateId" in message:
            found.append(Text(stamp, body, "snapshot", message))
            continue
        symbol, _, stream = message["stream"].partition("@")
        kind = kinds.get(stream.split("@")[0], "other")
        if symbol != native.lower():
            kind = "other"
        found.append(Text(stamp, body, kind, message["data"]))
    return found


@dataclass(frozen=True)
class Planted:
    """What came of it.

    Attributes:
        lines: With the faults.
        wanted: ``(code, line)`` of every finding, lines from 1 on.
        allowed: Findings that may follow from a fault, or not.
        from_line: If above 0, anything may be found from this line on: a wrong book stays wrong.
    """

    lines: list[str]
    wanted: frozenset[tuple[str, int]]
    allowed: frozenset[tuple[str, int]] = frozenset()
    from_line: int = 0


class Planting:
    """Plants faults one after the other, each in a stretch of lines of its own."""

    def __init__(self, texts: list[Text], random: Random, tick: str) -> None:
        self.texts, self.random, self.tick = list(texts), random, Decimal(tick)
        self.wanted: list[tuple[str, Text]] = []
        self.allowed: list[tuple[str, Text]] = []
        self.poisoned: Text | None = None

    def result(self) -> Planted:
        at = {id(text): number for number, text in enumerate(self.texts, 1)}
        return Planted(
            [text.line for text in self.texts],
            frozenset((code, at[id(text)]) for code, text in self.wanted),
            frozenset((code, at[id(text)]) for code, text in self.allowed),
            at[id(self.poisoned)] if self.poisoned is not None else 0,
        )

    def pick(self, kind: str, low: int, high: int) -> int | None:
        """Return where one of a kind lies that has others of its kind before and behind it."""
        there = [n for n in range(low, high) if self.texts[n].kind == kind][1:-2]
        return self.random.choice(there) if there else None

    def next(self, kind: str, after: int) -> Text:
        return next(text for text in self.texts[after + 1 :] if text.kind == kind)

    def replace(self, at: int, body: str) -> Text:
        old = self.texts[at]
        self.texts[at] = Text(old.stamp, body, old.kind, old.data)
        return self.texts[at]

    # --- the faults: each returns whether it found a place ---

    def remove_trade(self, low: int, high: int) -> bool:
        at = self.pick("trade", low, high)
        if at is None:
            return False
        self.wanted.append(("missing_trade", self.next("trade", at)))
        del self.texts[at]
        return True

    def repeat_trade(self, low: int, high: int) -> bool:
        at = self.pick("trade", low, high)
        if at is None:
            return False
        self.texts.insert(at + 1, self.texts[at].copy())
        self.wanted.append(("repeated_trade", self.texts[at + 1]))
        return True

    def repeat_update(self, low: int, high: int) -> bool:
        at = self.pick("depth", low, high)
        if at is None:
            return False
        self.texts.insert(at + 1, self.texts[at].copy())
        self.wanted.append(("repeated_update", self.texts[at + 1]))
        return True

    def swap_trades(self, low: int, high: int) -> bool:
        """The messages of two trades of one moment that follow each other; the times of receipt stay.

        Of two moments the later one would be received before it happened: another fault, of the clock.
        """
        at = self.pick("trade", low, high)
        if at is None:
            return False
        other = self.texts.index(self.next("trade", at))
        if self.texts[other].data["T"] != self.texts[at].data["T"]:
            return False
        one, two = self.texts[at], self.texts[other]
        self.texts[at] = Text(one.stamp, two.body, "trade", two.data)
        self.texts[other] = Text(two.stamp, one.body, "trade", one.data)
        self.wanted.append(("trade_order", self.texts[other]))
        return True

    def break_trade(self, low: int, high: int) -> bool:
        at = self.pick("trade", low, high)
        if at is None:
            return False
        body = self.texts[at].body
        broken = self.replace(at, body[: self.random.randrange(1, len(body) - 1)])
        self.wanted += [("broken_line", broken), ("missing_trade", self.next("trade", at))]
        return True

    def break_ticker(self, low: int, high: int) -> bool:
        at = self.pick("ticker", low, high)
        if at is None:
            return False
        self.wanted.append(("broken_line", self.replace(at, self.texts[at].body[:-3])))
        return True

    def off_grid_trade(self, low: int, high: int) -> bool:
        at = self.pick("trade", low, high)
        if at is None:
            return False
        price = self.texts[at].data["p"]
        wrong = str(Decimal(price) + self.tick / 2)
        self.wanted.append(("off_grid", self._priced(at, price, wrong)))
        return True

    def far_trade(self, low: int, high: int) -> bool:
        at = self.pick("trade", low, high)
        if at is None:
            return False
        price = Decimal(self.texts[at].data["p"])
        factor = self.random.choice(["0.9", "0.95", "1.05", "1.5", "3"])
        wrong = (price * Decimal(factor)) // self.tick * self.tick
        self.wanted.append(("far_trade", self._priced(at, self.texts[at].data["p"], str(wrong))))
        return True

    def _priced(self, at: int, price: str, wrong: str) -> Text:
        body = self.texts[at].body
        key = '"p":' if '"p":"' in body else '"p": '
        assert body.count(f'{key}"{price}"') == 1
        return self.replace(at, body.replace(f'{key}"{price}"', f'{key}"{wrong}"'))

    def different_ticker(self, low: int, high: int) -> bool:
        """A best price that is told wrongly, in a ticker whose id is that of an update."""
        updates = {t.data["u"]: t for t in self.texts[low:high] if t.kind == "depth"}
        there = [
            n
            for n in range(low, high)
            if self.texts[n].kind == "ticker" and self.texts[n].data["u"] in updates
        ]
        if not there:
            return False
        at = self.random.choice(there)
        old = self.texts[at]
        update = updates[old.data["u"]]
        bid, quantity = old.data["b"], old.data["B"]
        wrong = str(Decimal(bid) - self.tick)
        body = old.body.replace(f'"{bid}"', f'"{wrong}"', 1)
        assert quantity
        assert body != old.body
        # Whichever of the two comes second shows it.
        text = self.replace(at, body)
        second = update if self.texts.index(update) > at else text
        self.wanted.append(("ticker_different", second))
        return True

    def local_time_back(self, low: int, high: int) -> bool:
        """Two whole lines are swapped that are not of one stream."""
        there = [
            n
            for n in range(low, high - 1)
            if self.texts[n].kind != self.texts[n + 1].kind
            and "other" not in (self.texts[n].kind, self.texts[n + 1].kind)
            and self.texts[n].stamp != self.texts[n + 1].stamp
        ]
        if not there:
            return False
        at = self.random.choice(there)
        self.texts[at], self.texts[at + 1] = self.texts[at + 1], self.texts[at]
        self.wanted.append(("time_back", self.texts[at + 1]))
        return True

    # --- those behind which the book is unknown, or the times are others: one at most, and last ---

    def remove_update(self, low: int, high: int) -> bool:
        at = self.pick("depth", low, high)
        if at is None:
            return False
        self.wanted.append(("missing_update", self.next("depth", at)))
        del self.texts[at]
        return True

    def swap_updates(self, low: int, high: int) -> bool:
        at = self.pick("depth", low, high)
        if at is None:
            return False
        other = self.texts.index(self.next("depth", at))
        one, two = self.texts[at], self.texts[other]
        self.texts[at] = Text(one.stamp, two.body, "depth", two.data)
        self.texts[other] = Text(two.stamp, one.body, "depth", one.data)
        self.wanted += [
            ("missing_update", self.texts[at]),
            ("repeated_update", self.texts[other]),
        ]
        return True

    def break_update(self, low: int, high: int) -> bool:
        at = self.pick("depth", low, high)
        if at is None:
            return False
        broken = self.replace(at, self.texts[at].body[:-4])
        self.wanted += [("broken_line", broken), ("missing_update", self.next("depth", at))]
        return True

    def crossing_level(self, low: int, high: int) -> bool:
        """A bid of an update gets a price far above the book."""
        there = [
            n
            for n in range(low, high)
            if self.texts[n].kind == "depth" and self._filled(self.texts[n]) is not None
        ]
        if not there:
            return False
        at = self.random.choice(there)
        bid = self._filled(self.texts[at])
        assert bid is not None
        traded = next(t for t in reversed(self.texts[:at]) if t.kind == "trade").data["p"]
        wrong = Decimal(traded) * Decimal("1.05") // self.tick * self.tick
        body = self.texts[at].body
        text = self.replace(at, body.replace(f'["{bid}"', f'["{wrong}"', 1))
        self.wanted.append(("crossed", text))
        self.poisoned = text
        return True

    def _filled(self, text: Text) -> str | None:
        """Return the price of a bid near the top that is not taken away."""
        best = max((Decimal(price) for price, _ in text.data["b"]), default=Decimal(0))
        for price, quantity in text.data["b"]:
            near = Decimal(price) > best * Decimal("0.99")
            if Decimal(quantity) and near and text.body.count(f'["{price}"') == 1:
                return str(price)
        return None

    def clock_ahead(self, low: int, high: int) -> bool:
        return self._step(low, high, self.random.choice([1, 2, 5, 60, 3600]))

    def clock_back(self, low: int, high: int) -> bool:
        return self._step(low, high, -self.random.choice([60, 600]))

    def _step(self, low: int, high: int, seconds: int) -> bool:
        at = self.random.randrange(low, high)
        if self.texts[at].kind == "other":
            return False
        for n in range(at, len(self.texts)):
            old = self.texts[n]
            if old.stamp:
                self.texts[n] = Text(_moved(old.stamp, seconds), old.body, old.kind, old.data)
        # Of the messages that become rows; others carry no time of the venue's, or not always.
        timed = next(t for t in self.texts[at:] if t.kind in ("depth", "trade"))
        if seconds < 0:
            self.wanted.append(("time_back", self.texts[at]))
            # By how much the clock was set cannot be told from how long nothing came.
            self.allowed.append(("clock_step", timed))
        else:
            self.wanted.append(("clock_step", timed))
        return True


LIGHT: tuple[Callable[[Planting, int, int], bool], ...] = (
    Planting.remove_trade,
    Planting.repeat_trade,
    Planting.repeat_update,
    Planting.swap_trades,
    Planting.break_trade,
    Planting.break_ticker,
    Planting.off_grid_trade,
    Planting.far_trade,
    Planting.different_ticker,
    Planting.local_time_back,
)
HEAVY: tuple[Callable[[Planting, int, int], bool], ...] = (
    Planting.remove_update,
    Planting.swap_updates,
    Planting.break_update,
    Planting.crossing_level,
    Planting.clock_ahead,
    Planting.clock_back,
)


def plant(texts: list[Text], seed: int, tick: str) -> Planted:
    """Plant up to four faults in a capture: three light ones in a stretch each, and a heavy one behind them.

    The first stretch begins behind the snapshot, when the book is known; the last ends before the end, as of
    the last message of a stream nobody can say that it is missing.
    """
    random = Random(seed)
    planting = Planting(texts, random, tick)
    snapshot = next((n for n, text in enumerate(texts) if text.kind == "snapshot"), 10)
    begin, end = snapshot + 30, len(texts) - 60
    stretch = (end - begin) // 4
    # From the back, so that the stretches before stay where they are.
    heavy = random.choice([*HEAVY, None])
    if heavy is not None:
        heavy(planting, begin + 3 * stretch, end)
    for number in (2, 1, 0):
        random.choice(LIGHT)(
            planting, begin + number * stretch, begin + (number + 1) * stretch - 40
        )
    return planting.result()


def _moved(stamp: str, seconds: int) -> str:
    """Return a local time that is so many seconds later; in whatever unit."""
    tail = ":" if stamp.endswith(":") else ""
    text = stamp.removesuffix(":")
    if "." in text:
        whole, _, fraction = text.partition(".")
        return f"{int(whole) + seconds}.{fraction}{tail}"
    unit = 10 ** (len(text) - 10)
    return f"{int(text) + seconds * unit}{tail}"
