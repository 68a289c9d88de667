"""Depth updates as Binance spot sends them: one random walk, the same in every run."""

from __future__ import annotations

import random

LEVELS_DEEP = 1000
_FIRST = 100


def levels_text(side: int, count: int, draw: random.Random) -> str:
    """Return so many changed levels of one side as JSON; a quarter of them are removed."""
    pairs = []
    for _ in range(count):
        price = 600_000 + side * (1 + min(draw.randrange(1, 400), draw.randrange(1, 400)))
        quantity = draw.choice((0, 1, 1, 1)) * draw.randrange(1, 99_999)
        pairs.append(f'["{price / 10:.8f}","{quantity / 1000:.8f}"]')
    return ",".join(pairs)


def updates(number: int, levels: int) -> list[tuple[bytes, bytes]]:
    """Return so many messages with `levels` changed levels each, cut where the event's time stands."""
    draw = random.Random(1)
    made, last = [], _FIRST
    for _ in range(number):
        first, last = last + 1, last + levels
        bids, asks = levels_text(-1, levels // 2, draw), levels_text(1, levels - levels // 2, draw)
        made.append(
            (
                b'{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":',
                f',"s":"BTCUSDT","U":{first},"u":{last},"b":[{bids}],"a":[{asks}]}}}}'.encode(),
            )
        )
    return made


def snapshot() -> bytes:
    """Return the book before the first update, as REST answers."""
    bids = ",".join(f'["{(600_000 - n) / 10:.8f}","1.00000000"]' for n in range(1, LEVELS_DEEP + 1))
    asks = ",".join(f'["{(600_000 + n) / 10:.8f}","1.00000000"]' for n in range(1, LEVELS_DEEP + 1))
    return f'{{"lastUpdateId":{_FIRST},"bids":[{bids}],"asks":[{asks}]}}'.encode()
