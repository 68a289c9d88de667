"""An exchange that says what a book cannot be: messages with faults planted among them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import Any

from binance_fixtures import envelope, levels, snapshot

MID = 1000  # ticks of 0.1
FAULTS = (
    "dropped",
    "repeated",
    "swapped",
    "crossed",
    "altered",
    "wrong ticker",
    "other symbol",
    "odd",
)
"""What may be wrong with a message."""


class Faulty:
    """Says messages of one symbol, mostly right ones.

    Args:
        market: ``spot`` or ``usdm``.
        seed: Decides everything.
        share: Of messages, those with a fault.
        faults: Which.
    """

    def __init__(
        self, market: str, seed: int, share: float, faults: Sequence[str] = FAULTS
    ) -> None:
        self._random, self._faults = Random(seed), faults
        self.spot, self._share = market == "spot", share
        self.last, self._time, self._trade = 100, 1_700_000_000_000, 0
        self._book: tuple[dict[int, int], dict[int, int]] = (
            {MID - n: 10 * n for n in range(1, 6)},
            {MID + n: 10 * n for n in range(1, 6)},
        )
        self.planted: list[str] = []

    def say(self, number: int) -> list[bytes]:
        """Return about so many messages."""
        said: list[bytes] = []
        for _ in range(number):
            raw, kind = self._next()
            if self._random.random() >= self._share:
                said.append(raw.encode())
                continue
            fault = self._random.choice(self._faults)
            made = self._spoil(fault, raw, kind)
            if made is not None:
                self.planted.append(fault)
                said += [one.encode() for one in made]
                if fault == "swapped" and len(said) > 1:
                    said[-1], said[-2] = said[-2], said[-1]
            else:
                said.append(raw.encode())
        return said

    def snapshot(self) -> bytes:
        """Return the book as it is."""
        bids, asks = (
            [(price / 10, lots / 1000) for price, lots in side.items()] for side in self._book
        )
        time = None if self.spot else self._time
        return snapshot(self.last, bids, asks, time=time).encode()

    def _next(self) -> tuple[str, str]:
        self._time += self._random.randrange(3)
        match self._random.randrange(6):
            case 0:
                return self._traded(), "trade"
            case 1 | 2:
                return self._ticker(), "ticker"
            case _:
                return self._update(), "update"

    def _update(self, crossing: bool = False) -> str:
        changes: tuple[list[Any], list[Any]] = ([], [])
        for _ in range(self._random.randrange(4)):
            side = self._random.randrange(2)
            price = MID + self._random.randrange(1, 6) * (1 if side else -1)
            lots = self._random.choice((0, 1, 2, 3)) * 7
            if lots or (price in self._book[side] and len(self._book[side]) > 1):
                changes[side].append((price / 10, lots / 1000))
                self._book[side][price] = lots
                if not lots:
                    del self._book[side][price]
        if crossing:
            changes[0].append((max(self._book[1]) / 10, 0.5))  # the exchange's own book has it not
        before, first = self.last, self.last + (1 if self.spot else self._random.randrange(1, 4))
        self.last = first + self._random.randrange(3)
        data: dict[str, Any] = {"e": "depthUpdate", "E": self._time, "s": "BTCUSDT"}
        if not self.spot:
            data |= {"T": self._time, "pu": before}
        data |= {"U": first, "u": self.last}
        return envelope(
            "btcusdt@depth@100ms", data | {"b": levels(*changes[0]), "a": levels(*changes[1])}
        )

    def _ticker(self, wrong: bool = False) -> str:
        (bid, bid_lots), (ask, ask_lots) = (
            (price, side[price])
            for price, side in (
                (max(self._book[0]), self._book[0]),
                (min(self._book[1]), self._book[1]),
            )
        )
        ((bid_price, bid_text),) = levels((bid / 10, (bid_lots + wrong) / 1000))
        ((ask_price, ask_text),) = levels((ask / 10, ask_lots / 1000))
        data: dict[str, Any] = {"u": self.last, "s": "BTCUSDT", "b": bid_price, "B": bid_text}
        data |= {"a": ask_price, "A": ask_text}
        if not self.spot:
            data = {"e": "bookTicker", **data, "T": self._time, "E": self._time}
        return envelope("btcusdt@bookTicker", data)

    def _traded(self) -> str:
        self._trade += 1
        data = {"e": "trade", "E": self._time, "s": "BTCUSDT", "t": self._trade, "T": self._time}
        return envelope("btcusdt@trade", data | {"p": "100.1", "q": "0.007", "m": False})

    def _spoil(self, fault: str, raw: str, kind: str) -> list[str] | None:
        match fault:
            case "dropped":
                return []
            case "repeated":
                return [raw, raw]
            case "swapped":
                return [raw]
            case "crossed":
                return [raw, self._update(crossing=True)]
            case "altered" if kind == "update":
                found = json.loads(raw)
                found["data"]["b"] = [[price, "0.111"] for price, _ in found["data"]["b"]]
                return [json.dumps(found)]
            case "wrong ticker":
                return [raw, *(self._ticker(wrong=True) for _ in range(self._random.randrange(5)))]
            case "other symbol":
                return [raw.replace("BTCUSDT", "ETHUSDT").replace("btcusdt", "ethusdt"), raw]
            case "odd":
                return [json.dumps(json.loads(raw), indent=1)]  # has line breaks
        return None
