"""Questions to ask, and advisors to ask them of."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from gateway_stub import Stub

from mmkit.advisors import AdvisorContext, Inquiry
from mmkit.clock import Clock, SystemClock
from mmkit.instruments import InstrumentSpec
from mmkit.testing import FACTS
from mmkit_holysheep.advisor import HolysheepAdvisor
from mmkit_holysheep.settings import HolysheepConfig

KEY = "cr_s3cretOfMine"
SPEC = InstrumentSpec(venue="binance", market="usdm", symbol="BTC/USDT:USDT")


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
