"""A small real advisor that answers from a table after a delay, and hangs or raises on request; and runs with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from processes import mmkit, write_config

PLUGIN = """
import asyncio
import hashlib
import json
import time
from decimal import Decimal

import msgspec
import msgspec.structs

from mmkit import Advisor, Consulted, PluginConfig, Provider, hookimpl
from mmkit.answers import AdvisorCall, AnyAnswer


class Config(PluginConfig):
    answers: list = []
    after: float = 0.05
    hang: str = ""
    cost: str | None = "0.0000123"
    keep: str = ""


class Table(Advisor):
    def __init__(self, config, context):
        self.config, self.context, self.asked = config, context, 0

    async def ask(self, inquiry):
        self.asked += 1
        config = self.config
        if config.keep:
            with open(config.keep, "ab") as file:
                file.write(msgspec.json.encode(inquiry) + b"\\n")
        began = self.context.clock.now_ns()
        if config.hang == "await":
            await asyncio.Event().wait()
        if config.hang == "block":
            time.sleep(3600)
        await asyncio.sleep(config.after)
        said = config.answers[(self.asked - 1) % len(config.answers)]
        if said == "raise":
            raise ValueError("the table is broken")
        call = AdvisorCall(
            asked_model="table",
            answered_model="table",
            form="json_object",
            repair=False,
            outcome="ok",
            prompt_tokens=200 + self.asked,
            cached_tokens=0,
            completion_tokens=20,
            cost=None if config.cost is None else Decimal(config.cost) * self.asked,
            took_ns=self.context.clock.now_ns() - began,
        )
        answer, refused = None, ""
        if isinstance(said, str):
            refused = said
        else:
            # Through JSON, as what a gateway sends; out of bounds as the plugin's author has overlooked it.
            answer = msgspec.json.decode(json.dumps({**said, "confidence": 0}), type=AnyAnswer)
            answer = msgspec.structs.replace(answer, confidence=float(said["confidence"]))
        text = json.dumps(said)
        return Consulted(
            answer=answer,
            refused=refused,
            prompt_sha256=hashlib.sha256(repr(inquiry.facts).encode()).hexdigest(),
            text=text,
            calls=(call,),
        )


@hookimpl
def register_advisors():
    return [Provider("table", Config, Table, "answers from a table")]
"""

CONFIG = """
instrument: {{venue: binance, market: usdm, symbol: "BTC/USDT:USDT"}}
services: [{{plugin: sandbox}}]
data: {{plugin: binance, endpoint: sandbox}}
advisors:
{advisors}
strategy: {strategy}
{more}
"""


def structure(signal: str = "BUY", confidence: float = 0.9, **keys: Any) -> dict[str, Any]:
    """An answer of the table."""
    return {
        "question": "market_structure",
        "signal": signal,
        "confidence": confidence,
        "direction": "UP",
        "risk": "LOW",
        "reason": "the table says so",
        **keys,
    }


QUOTING = '{plugin: join_best, every: 100ms, size: "0.01", max_position: "0.05"}'


def written(
    folder: Path, advisors: list[dict[str, Any]], strategy: str = QUOTING, more: str = ""
) -> Path:
    """Write a user's folder with the plugin and a configuration; return the configuration's file."""
    import json

    lines = "\n".join(f"  - {json.dumps({'plugin': 'table', **one})}" for one in advisors)
    text = CONFIG.format(advisors=lines, strategy=strategy, more=more)
    userdir = write_config(folder / "user_data", text)
    (userdir / "plugins").mkdir(exist_ok=True)
    (userdir / "plugins" / "table.py").write_text(PLUGIN)
    return userdir / "config.yml"


def dry_run(config: Path, *options: str, duration: str = "4s") -> tuple[dict[str, Any], str]:
    """Run 'mmkit trade' for a while; return its report and its log."""
    cwd = config.parents[1]
    ended = mmkit("trade", "-c", config, "--duration", duration, "--json", *options, cwd=cwd)
    assert ended.status == 0, ended.stderr
    report: dict[str, Any] = ended.json
    return report, ended.stderr
