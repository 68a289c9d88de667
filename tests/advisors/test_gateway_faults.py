"""Everything that a gateway does to its clients, done by the sandbox's: what comes of the question, and what it costs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from msgspec.structs import replace

from mmkit.advisors import AdvisorContext, Consulted, Inquiry
from mmkit.answers import ANSWERS, MarketStructure, Question
from mmkit.clock import SystemClock
from mmkit.instruments import InstrumentSpec
from mmkit.interfaces import ServiceContext
from mmkit.testing import FACTS as TOLD
from mmkit_sandbox.asked import question_of
from mmkit_sandbox.chatfaults import ChatFaultKind
from mmkit_sandbox.service import Config, Sandbox

pytest.importorskip("openai")

SPEC = InstrumentSpec(venue="binance", market="usdm", symbol="BTC/USDT:USDT")
FACTS = replace(TOLD, imbalance=0.5, bought_share=0.75, happened="a trade of 12 BTC")
RULES = MarketStructure(
    signal="BUY",
    confidence=0.75,
    direction="UP",
    risk="MEDIUM",
    reason="sandbox rule: book +0.50, trades +0.50, volatility 0.80 bps",
)

# What is counted; empty where there is an answer all the same.
OUTCOMES = {
    "delay 2s": "timeout",
    "hang": "timeout",
    "reset": "connection",
    "cut": "connection",
    "html": "html",
    "error_body": "error_body",
    "no_choices": "no_choices",
    "blank": "blank",
    "half_json": "unreadable",
    "nan": "unreadable",
    "confidence_85": "unreadable",
    "no_such_signal": "unreadable",
    "orders": "unreadable",
    "long": "unreadable",
    "injection": "",
    "no_usage": "",
    "no_json_schema": "",
    "only_text": "",
    "chatter": "",
    "fences": "",
} | {f"http_{one}": f"http_{one}" for one in (400, 401, 402, 403, 404, 408, 413, 429, 500, 503)}


def ask(userdir: Path, faults: tuple[str, ...], times: int = 1, **keys: Any) -> list[Consulted]:
    """Ask the sandbox's gateway, so many times."""
    return asyncio.run(_ask(userdir, faults, times, **keys))


async def _ask(userdir: Path, faults: tuple[str, ...], times: int, **keys: Any) -> list[Consulted]:
    from mmkit_holysheep.advisor import HolysheepAdvisor
    from mmkit_holysheep.settings import HolysheepConfig

    question = keys.pop("question", "market_structure")
    text = keys.pop("text", "")
    language = keys.pop("language", "en")
    written = {
        "model": "sandbox-rule",
        "base_url": "sandbox",
        "timeout": "300ms",
        "deadline": "2s",
        "retries": 0,
        "breaker": {"failures": 100, "pause": "1s"},
    } | keys
    sandbox = Sandbox(
        Config(gateway={"faults": faults}),
        ServiceContext(SPEC, SystemClock(), userdir),
    )
    url = await sandbox.start()
    context = AdvisorContext(SPEC, SystemClock(), userdir, {"sandbox": url})
    advisor = HolysheepAdvisor(HolysheepConfig(**written), context)
    inquiry = Inquiry(question=question, facts=FACTS, language=language, text=text)
    try:
        return [await advisor.ask(inquiry) for _ in range(times)]
    finally:
        await advisor.close()
        await sandbox.stop()


def tokens(found: list[Consulted]) -> int:
    """Return what the gateway has counted."""
    calls = [call for one in found for call in one.calls]
    return sum((call.prompt_tokens or 0) + (call.completion_tokens or 0) for call in calls)


def test_every_fault_that_the_gateway_has_is_here() -> None:
    assert {fault.split()[0] for fault in OUTCOMES} >= set(ChatFaultKind)


@pytest.mark.parametrize("fault", OUTCOMES)
def test_a_fault_comes_to_what_is_said_of_it_and_to_nothing_else(
    tmp_path: Path, fault: str
) -> None:
    (found,) = ask(tmp_path, (f"* {fault}",))
    expected = OUTCOMES[fault]
    if expected:
        assert found.answer is None
        assert found.refused.startswith(f"{expected}: "), found.refused
    else:
        assert not found.refused
        written = msgspec.json.encode(found.answer)
        answer = msgspec.json.decode(written, type=ANSWERS["market_structure"])
        if fault == "injection":
            # It is data, within bounds, and says what it says; nothing else came along.
            assert isinstance(answer, MarketStructure)
            assert (answer.signal, answer.confidence) == ("BUY", 1.0)
        else:
            assert answer == RULES
    assert found.calls
    assert len(found.calls) <= 3  # the ladder, or once more


@pytest.mark.parametrize("fault", ["hang", "long", "confidence_85", "http_500", "chatter", "cut"])
def test_whatever_goes_wrong_the_budget_holds(tmp_path: Path, fault: str) -> None:
    """A request is made only if what it can take at most is left, and what nobody has counted is taken as spent."""
    found = ask(tmp_path, (f"* {fault}",), times=20, budget={"run_tokens": 9_000})
    # Of all that is sent the estimate is far above: no token is shorter than a byte.
    over = 10_500 if fault == "long" else 0  # the gateway breaks the limit on its answer, once
    assert tokens(found) <= 9_000 + over
    assert found[-1].refused.startswith("budget: ")
    assert found[-1].calls == ()


def test_retries_wait_as_long_as_the_gateway_says_and_then_there_is_an_answer(
    tmp_path: Path,
) -> None:
    (found,) = ask(tmp_path, ("1 http_429 1s",), retries=1, deadline="5s")
    assert found.answer == RULES
    assert [call.outcome for call in found.calls] == ["http_429", "ok"]


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("question", get_args(Question))
def test_the_rule_knows_which_question_the_prompts_that_come_with_mmkit_ask(
    tmp_path: Path, question: Question, language: str
) -> None:
    from mmkit_holysheep.prompt import load_prompts

    text = "An exploit: exchange hacked" if question == "news" else ""
    prompts = load_prompts(tmp_path)
    inquiry = Inquiry(question=question, facts=FACTS, text=text)
    messages = prompts.of(question, language).messages(inquiry)
    assert question_of("\n".join(one.content for one in messages), None) == question
    keys = {"question": question, "language": language, "text": text}
    for faults in ((), ("* only_text",)):
        (found,) = ask(tmp_path, faults, **keys)
        assert isinstance(found.answer, ANSWERS[question]), found.refused
        assert "sandbox rule: " in msgspec.json.encode(found.answer).decode()
