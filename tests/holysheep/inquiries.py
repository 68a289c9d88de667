"""Questions to ask, and advisors to ask them of."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from gateway_stub import Stub

from mmkit.advisors import AdvisorContext, Facts, Inquiry
from mmkit.clock import Clock, SystemClock
from mmkit.instruments import InstrumentSpec
from mmkit_holysheep.advisor import HolysheepAdvisor
from mmkit_holysheep.settings import HolysheepConfig

KEY = "cr_s3cretOfMine"
SPEC = InstrumentSpec(venue="binance", market="usdm", symbol="BTC/USDT:USDT")
FACTS = Facts(
    venue="binance",
    symbol="BTC/USDT:USDT",
    time="2026-11-26T06:00:00Z",
    bids=(("60000.0", "1.5"), ("59999.9", "0.2")),
    asks=(("60000.1", "0.5"), ("60000.2", "0.7")),
    mid=60000.05,
    spread_bps=0.0167,
    bid_volume=1.7,
    ask_volume=1.2,
    imbalance=0.172413,
    records=30,
    mean_mid=60001.5,
    mean_spread_bps=0.02,
    mean_imbalance=0.1,
    deviation_bps=-0.24,
    volatility_bps=0.8,
    trades=55,
    bought_share=0.61,
)


def inquiry(question: str = "market_structure", text: str = "", **facts: Any) -> Inquiry:
    told = msgspec.structs.replace(FACTS, **facts)
    return msgspec.convert(
        {"question": question, "facts": msgspec.to_builtins(told), "text": text}, type=Inquiry
    )


def context(
    userdir: Path, clock: Clock | None = None, endpoints: dict[str, str] | None = None
) -> AdvisorContext:
    return AdvisorContext(SPEC, clock or SystemClock(), userdir, endpoints or {})


@asynccontextmanager
async def advisor(
    stub: Stub, userdir: Path, clock: Clock | None = None, **keys: Any
) -> AsyncIterator[HolysheepAdvisor]:
    """An advisor of the stub, that tries once; closed at the end."""
    written = {
        "model": "deepseek-v3.2",
        "base_url": stub.url,
        "key": KEY,
        "timeout": "20s",
        "deadline": "40s",
        "retries": 0,
    } | keys
    built = HolysheepAdvisor(HolysheepConfig(**written), context(userdir, clock))
    try:
        yield built
    finally:
        await built.close()
