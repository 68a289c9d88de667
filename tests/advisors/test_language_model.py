"""A real language model: a small one, whose advice is worth nothing. What is tested is what becomes of its words."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import language_model
import msgspec
import pytest
from msgspec.structs import replace

from mmkit.advisors import AdvisorContext, Consulted, Inquiry
from mmkit.answer_reading import UnreadableAnswer, read_answer
from mmkit.answers import ANSWERS, Question
from mmkit.clock import SystemClock
from mmkit.instruments import InstrumentSpec
from mmkit.testing import FACTS as TOLD

pytest.importorskip("openai")
if why := language_model.missing():
    pytest.skip(why, allow_module_level=True)

SPEC = InstrumentSpec(venue="binance", market="usdm", symbol="BTC/USDT:USDT")
FACTS = replace(TOLD, happened="a trade of 12 BTC")


@pytest.fixture(scope="module")
def model() -> Iterator[str]:
    with language_model.serving() as url:
        yield url


def ask(url: str, userdir: Path, question: Question, **keys: Any) -> Consulted:
    """Ask the model once, in the way that every gateway is asked."""
    from mmkit_holysheep.advisor import HolysheepAdvisor
    from mmkit_holysheep.settings import HolysheepConfig

    # It is slow on a machine that has other things to do, and says less than it might, as it is asked to.
    written = {
        "model": language_model.MODEL,
        "base_url": url,
        "max_tokens": 100,
        "temperature": 0.0,
        "timeout": "50s",
        "deadline": "100s",
        "retries": 0,
    }

    async def consult() -> Consulted:
        context = AdvisorContext(SPEC, SystemClock(), userdir)
        advisor = HolysheepAdvisor(HolysheepConfig(**(written | keys)), context)
        try:
            text = "Exchange halts withdrawals after an exploit" if question == "news" else ""
            return await advisor.ask(Inquiry(question=question, facts=FACTS, text=text))
        finally:
            await advisor.close()

    return asyncio.run(consult())


def reread(question: Question, consulted: Consulted) -> Any:
    """Return what the reader makes of the text that was kept, be it why it is none."""
    try:
        return read_answer(question, consulted.text)
    except UnreadableAnswer as error:
        return f"unreadable: {language_model.MODEL}: {error}"


@pytest.mark.parametrize("question", get_args(Question))
def test_every_question_is_answered_within_bounds_or_refused_and_read_again_the_same(
    model: str, tmp_path: Path, question: Question
) -> None:
    consulted = ask(model, tmp_path, question)

    assert (consulted.answer is None) == bool(consulted.refused)
    if consulted.answer is not None:
        # Constructors check nothing; reading does.
        written = msgspec.json.encode(consulted.answer)
        assert msgspec.json.decode(written, type=ANSWERS[question]) == consulted.answer
        assert reread(question, consulted) == consulted.answer
    elif consulted.calls[-1].outcome == "unreadable":
        assert reread(question, consulted) == consulted.refused
    else:
        # It was not done with 100 tokens.
        assert consulted.refused.startswith("cut_off: ")
    for call in consulted.calls:
        assert call.answered_model == language_model.MODEL
        assert call.form == "json_schema"
        assert call.prompt_tokens is not None
        assert 0 < call.prompt_tokens < 4096
        assert call.completion_tokens is not None
        assert 0 < call.completion_tokens <= 100
        assert call.cost is None  # it has no price: unknown, not free
    again = msgspec.json.decode(msgspec.json.encode(consulted), type=Consulted)
    assert again == consulted


def test_what_cannot_be_paid_for_is_not_asked(model: str, tmp_path: Path) -> None:
    consulted = ask(model, tmp_path, "sentiment", budget={"run_tokens": 50})
    assert consulted.refused.startswith("budget: ")
    assert consulted.calls == ()
