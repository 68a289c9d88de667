"""The sandbox's gateway to its advisor: OpenAI's wire format, a rule that says so, and what goes wrong on request."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any, get_args

import aiohttp
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sandbox_fixtures import Client, running

from mmkit.answers import ANSWERS, Question
from mmkit.units import format_duration
from mmkit_sandbox import rule
from mmkit_sandbox.asked import numbers_of, question_of
from mmkit_sandbox.chat import ChatRequest, completion, read_request
from mmkit_sandbox.chatfaults import (
    ChatFault,
    ChatFaultKind,
    ChatTrouble,
    parse_chat_fault,
)
from mmkit_sandbox.gateway import GatewayConfig
from mmkit_sandbox.spoiled import INJECTION, spoiled

QUESTIONS = get_args(Question)
FACTS = '{"mid": 60000.05, "spread_bps": 0.2, "imbalance": %s, "bought_share": %s, "volatility_bps": 1.0}'
STREAM_REFUSED = "The sandbox does not stream: it answers in one piece; leave 'stream' out."


def prompt(question: str, facts: str = FACTS % (0.4, 0.6)) -> str:
    """Ask in words, with the fields of the answer as any prompt has to name them."""
    fields = [one.encode_name for one in msgspec.structs.fields(ANSWERS[question])]
    inner = ["name", "formula", "relevance"] if question == "features" else []
    return f"Facts: {facts}\nAnswer with JSON: {', '.join(fields + inner)}."


def body(
    text: str = "hello", form: str = "text", question: str = "", **more: Any
) -> dict[str, Any]:
    asked: dict[str, Any] = {
        "model": "sandbox-rule",
        "messages": [{"role": "user", "content": text}],
    }
    if form == "json_object":
        asked["response_format"] = {"type": form}
    elif form == "json_schema":
        schema = msgspec.json.schema(ANSWERS[question])
        asked["response_format"] = {
            "type": form,
            "json_schema": {"name": question, "strict": True, "schema": schema},
        }
    return asked | more


async def post(client: Client, asked: Any, timeout_s: float = 5) -> tuple[int, bytes]:
    """Return status and body of what the gateway answers."""
    async with client.session.post(
        client.url + "/v1/chat/completions",
        data=asked if isinstance(asked, bytes) else json.dumps(asked),
        timeout=aiohttp.ClientTimeout(total=timeout_s),
    ) as response:
        return response.status, await response.read()


async def content(client: Client, asked: Any) -> str:
    status, found = await post(client, asked)
    assert status == 200, found
    said = json.loads(found)["choices"][0]["message"]["content"]
    assert isinstance(said, str)
    return said


# --- what it answers -------------------------------------------------------------------------------


def test_every_question_is_answered_in_every_form_within_bounds_and_by_a_rule_that_says_so() -> (
    None
):
    async def ask_all() -> dict[tuple[str, str], str]:
        async with running() as client:
            return {
                (question, form): await content(client, body(prompt(question), form, question))
                for question in QUESTIONS
                for form in ("json_schema", "json_object", "text")
            }

    found = asyncio.run(ask_all())
    assert len(found) == 24
    for (question, _), said in found.items():
        msgspec.json.decode(said, type=ANSWERS[question])
        assert "sandbox rule: " in said


seen = st.builds(
    rule.Seen,
    imbalance=st.floats(-1, 1),
    bought_share=st.none() | st.floats(0, 1),
    spread_bps=st.floats(0, 1000),
    mean_spread_bps=st.floats(0, 1000),
    volatility_bps=st.floats(0, 1000),
)


@given(
    st.sampled_from(QUESTIONS),
    seen,
    st.text("ban surg hcke", max_size=40),
    st.sampled_from(["en", "ko"]),
)
def test_the_rule_answers_within_bounds_whatever_it_sees(
    question: Question, market: rule.Seen, text: str, language: Any
) -> None:
    said = msgspec.json.encode(rule.answer(question, market, text, language))
    # Constructors check nothing; reading does.
    msgspec.json.decode(said, type=ANSWERS[question])


@given(seen)
def test_a_market_that_pushes_the_other_way_gets_the_other_advice(market: rule.Seen) -> None:
    share = market.bought_share
    other = msgspec.structs.replace(
        market, imbalance=-market.imbalance, bought_share=None if share is None else 1 - share
    )
    here, there = (
        msgspec.to_builtins(rule.answer("market_structure", one, "", "en"))
        for one in (market, other)
    )
    turned = {"BUY": "SELL", "SELL": "BUY", "NEUTRAL": "NEUTRAL"}
    # A share and one less it do not mirror to the last bit.
    if min(abs(abs(market.pressure) - edge) for edge in (0.2,)) > 1e-9:
        assert there["signal"] == turned[here["signal"]]
    assert there["confidence"] == pytest.approx(here["confidence"], abs=0.011)


@pytest.mark.parametrize(("imbalance", "signal"), [(0.9, "BUY"), (-0.9, "SELL"), (0.0, "NEUTRAL")])
def test_the_facts_in_the_prompt_decide(imbalance: float, signal: str) -> None:
    async def ask() -> str:
        async with running() as client:
            facts = FACTS % (imbalance, 0.5 + imbalance / 2)
            return await content(client, body(prompt("market_structure", facts), "json_object"))

    assert json.loads(asyncio.run(ask()))["signal"] == signal


def test_without_facts_in_the_prompt_the_sandbox_looks_at_the_market_that_is_named() -> None:
    async def ask() -> tuple[str, float]:
        async with running() as client:
            words = prompt("market_structure", "of BTC/USDT:USDT you know nothing")
            said = await content(client, body(words))
            depth = await client.get("/fapi/v1/depth?symbol=BTCUSDT&limit=5")
            bids, asks = (sum(float(one[1]) for one in depth[side]) for side in ("bids", "asks"))
            return json.loads(said)["reason"], (bids - asks) / (bids + asks)

    # The market goes on between the two requests; some of the times it has not changed.
    tried = [asyncio.run(ask()) for _ in range(5)]
    assert any(f"book {imbalance:+.2f}" in reason for reason, imbalance in tried), tried


def test_a_korean_prompt_is_answered_in_korean_and_still_says_what_answers() -> None:
    async def ask() -> str:
        async with running() as client:
            return await content(client, body("시장을 분석. " + prompt("volatility")))

    reason = json.loads(asyncio.run(ask()))["reason"]
    assert reason.startswith("sandbox rule: ")
    assert "변동" in reason


@given(st.sampled_from(QUESTIONS), st.permutations(["Tell me:", "of BTC", "quickly", "(no more)"]))
def test_a_question_is_known_by_the_fields_its_prompt_names(
    question: Question, around: list[str]
) -> None:
    words = " ".join([*around[:2], prompt(question), *around[2:]])
    assert question_of(words, None) == question
    assert question_of("", msgspec.json.schema(ANSWERS[question])) == question


def test_numbers_are_read_from_json_yaml_and_prose_and_the_first_one_counts() -> None:
    text = '"imbalance": -0.25, x\nspread_bps: 1.5e-1\nmid = 60000.1; mean_mid=2\nimbalance: 0.9'
    assert numbers_of(text) == {
        "imbalance": -0.25,
        "spread_bps": 0.15,
        "mid": 60000.1,
        "mean_mid": 2.0,
    }


def test_what_is_no_question_gets_words_and_no_advice() -> None:
    async def ask() -> tuple[str, str]:
        async with running() as client:
            return await content(client, body("Say OK.")), await content(
                client, body("Say OK in json.", "json_object")
            )

    text, found = asyncio.run(ask())
    assert "I am a rule and no language model" in text
    assert json.loads(found) == {"message": text}


# --- the wire --------------------------------------------------------------------------------------


def test_the_models_are_those_of_the_configuration_and_the_rule_answers_for_all() -> None:
    async def ask() -> tuple[Any, Any, tuple[int, bytes]]:
        async with running(gateway={"models": ("gpt-4.1", "sandbox-rule")}) as client:
            listed = await client.get("/v1/models")
            _, found = await post(client, body(model="gpt-4.1"))
            return listed, json.loads(found), await post(client, body(model="gpt-5"))

    listed, answered, (status, refused) = asyncio.run(ask())
    assert [one["id"] for one in listed["data"]] == ["gpt-4.1", "sandbox-rule"]
    assert answered["model"] == "sandbox-rule"
    assert status == 404
    error = json.loads(refused)["error"]
    assert error["code"] == "model_not_found"
    assert "'gpt-4.1', 'sandbox-rule'" in error["message"]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (b"{", "no chat completion request"),
        (b'{"model": "sandbox-rule"}', "missing required field `messages`"),
        (body() | {"messages": []}, "'messages' is empty"),
        (body(stream=True), STREAM_REFUSED),
        (body(n=3), "gives one answer, 3 were asked for"),
        (body(tools=[{"type": "function"}]), "no tools"),
        (body("no such word", "json_object"), "must contain the word 'json'"),
        (
            body(response_format={"type": "json_schema", "json_schema": {"name": "x"}}),
            "'response_format.json_schema.schema' was expected",
        ),
        (
            body(
                response_format={
                    "type": "json_schema",
                    "json_schema": {"name": "x", "schema": {"properties": {"x": {}}}},
                }
            ),
            "this is none of them",
        ),
    ],
)
def test_what_it_cannot_do_it_refuses_in_words(asked: Any, says: str) -> None:
    async def ask() -> tuple[int, bytes]:
        async with running() as client:
            return await post(client, asked)

    status, found = asyncio.run(ask())
    assert status == 400
    error = json.loads(found)["error"]
    assert says in error["message"]
    assert error["type"] == "invalid_request_error"


def test_usage_is_a_quarter_of_the_bytes_and_four_a_message() -> None:
    async def ask() -> Any:
        async with running() as client:
            messages = [
                {"role": "system", "content": "시장"},  # 6 bytes
                {"role": "user", "content": [{"type": "text", "text": "hello!!!!"}]},  # 9 bytes
            ]
            return json.loads((await post(client, body(messages=messages)))[1])

    found = asyncio.run(ask())
    said = found["choices"][0]["message"]["content"]
    assert found["usage"] == {
        "prompt_tokens": 2 + 4 + 3 + 4,
        "completion_tokens": -(-len(said.encode()) // 4),
        "total_tokens": 13 - (-len(said.encode()) // 4),
    }


def test_an_answer_longer_than_asked_for_is_cut_and_says_so() -> None:
    async def ask() -> Any:
        async with running() as client:
            return json.loads((await post(client, body(max_tokens=5)))[1])

    found = asyncio.run(ask())
    assert found["choices"][0]["finish_reason"] == "length"
    assert found["choices"][0]["message"]["content"] == "sandbox rule: I am a"
    assert found["usage"]["completion_tokens"] == 5


# --- what goes wrong -------------------------------------------------------------------------------


def answered(question: str = "market_structure") -> dict[str, Any]:
    """Return an answer without faults."""
    market = rule.Seen(
        imbalance=0.4, bought_share=0.6, spread_bps=1, mean_spread_bps=1, volatility_bps=1
    )
    fields = msgspec.to_builtins(rule.answer(question, market, "", "en"))  # type: ignore[arg-type]
    del fields["question"]
    request = read_request(json.dumps(body()).encode())
    return completion(request, json.dumps(fields), model="sandbox-rule", number=1, created_s=1)


def spoilt(kind: str, question: str = "market_structure") -> str:
    """Return what an answer says after a fault."""
    reply = spoiled(parse_chat_fault(f"* {kind}"), answered(question))
    assert reply.status == 200
    found = json.loads(reply.body)["choices"][0]["message"]["content"]
    assert isinstance(found, str)
    return found


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize(
    "kind",
    ["blank", "half_json", "nan", "confidence_85", "no_such_signal", "orders", "long"],
)
def test_an_answer_gone_wrong_is_out_of_bounds_for_every_question(kind: str, question: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(spoilt(kind, question), type=ANSWERS[question])


@pytest.mark.parametrize("question", QUESTIONS)
def test_an_injection_is_within_bounds_for_every_question(question: str) -> None:
    said = spoilt("injection", question)
    msgspec.json.decode(said, type=ANSWERS[question])
    assert INJECTION[:50] in said


def test_an_injection_is_as_sure_as_it_may_be() -> None:
    found = json.loads(spoilt("injection"))
    assert (found["signal"], found["confidence"]) == ("BUY", 1.0)
    assert json.loads(spoilt("confidence_85"))["confidence"] == 85
    assert json.loads(spoilt("no_such_signal"))["signal"] == "MOON"


def test_ten_thousand_tokens_are_sent_and_counted_whatever_was_allowed() -> None:
    found = json.loads(spoiled(parse_chat_fault("* long"), answered()).body)
    assert len(found["choices"][0]["message"]["content"]) > 40_000
    assert found["usage"]["completion_tokens"] > 10_000


@pytest.mark.parametrize(("kind", "before"), [("chatter", "Sure!"), ("fences", "```json\n")])
def test_json_is_still_in_what_is_around_it(kind: str, before: str) -> None:
    said = spoilt(kind)
    assert said.startswith(before)
    there = said[said.index("{") : said.rindex("}") + 1]
    msgspec.json.decode(there, type=ANSWERS["market_structure"])


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 408, 413, 418, 429, 500, 503])
def test_any_status_is_answered_with_an_error(status: int) -> None:
    reply = spoiled(parse_chat_fault(f"* http_{status}"), answered())
    assert reply.status == status
    assert json.loads(reply.body)["error"]["message"]
    assert reply.retry_after_s == (1 if status == 429 else None)


def test_faults_over_sockets() -> None:
    """What arrives, or does not, for the faults that are about the connection or all of the body."""

    async def ask() -> dict[str, Any]:
        found: dict[str, Any] = {}
        async with running() as client:

            async def control(*faults: str) -> None:
                address = client.url + "/sandbox/gateway/faults"
                async with client.session.post(address, json=faults) as response:
                    assert response.status == 200

            for fault in ("reset", "cut", "hang"):
                await control(f"1 {fault}")
                try:
                    found[fault] = await post(client, body(), timeout_s=0.5)
                except (aiohttp.ClientError, TimeoutError) as error:
                    found[fault] = type(error)
                assert (await post(client, body()))[0] == 200  # the next one is as before
            await control("* delay 300ms", "2 html", "3 http_503 7s")
            before = time.monotonic()
            found["delayed"] = (await post(client, body()))[0]
            found["after"] = time.monotonic() - before
            found["html"] = (await post(client, body()))[1][:9]
            async with client.session.post(
                client.url + "/v1/chat/completions", json=body()
            ) as response:
                found["retry"] = response.status, response.headers["Retry-After"]
            await control("* no_json_schema")
            schema = body(prompt("news"), "json_schema", "news")
            found["schema"] = (await post(client, schema))[0], (await post(client, body()))[0]
            await control("* only_text")
            found["object"] = (await post(client, body("json", "json_object")))[0]
            found["told"] = await client.get("/sandbox/gateway")
        return found

    found = asyncio.run(ask())
    assert issubclass(found["reset"], aiohttp.ClientConnectionError)
    assert issubclass(found["cut"], aiohttp.ClientPayloadError)
    assert issubclass(found["hang"], TimeoutError)
    assert found["delayed"] == 200
    assert found["after"] >= 0.3
    assert found["html"] == b"<!DOCTYPE"
    assert found["retry"] == (503, "7")
    assert found["schema"] == (400, 200)
    assert found["object"] == 400
    told = found["told"]
    assert told["faults"] == {
        "reset": 1,
        "cut": 1,
        "hang": 1,
        "delay": 3,
        "html": 1,
        "http_503": 1,
        "no_json_schema": 1,
        "only_text": 1,
    }
    assert told["happened"][0] == {"request": 1, "fault": "1 reset", "what": "sandbox-rule text"}


def test_a_request_that_hangs_does_not_keep_the_sandbox_from_stopping() -> None:
    async def stop() -> float:
        async with running(gateway={"faults": ("* hang",)}) as client:
            asking = asyncio.create_task(post(client, body()))
            await asyncio.sleep(0.2)
            before = time.monotonic()
            await client.sandbox.stop()
            took = time.monotonic() - before
            with pytest.raises(aiohttp.ClientError):
                await asking
            return took

    assert asyncio.run(stop()) < 2


def test_a_request_that_hangs_is_let_go_when_its_client_goes() -> None:
    async def leave() -> tuple[int, int]:
        async with running(gateway={"faults": ("* hang",)}) as client:
            before = len(asyncio.all_tasks())
            with pytest.raises(TimeoutError):
                await post(client, body(), timeout_s=0.2)
            async with asyncio.timeout(3):
                while len(asyncio.all_tasks()) > before:
                    await asyncio.sleep(0.02)
            return before, len(asyncio.all_tasks())

    before, after = asyncio.run(leave())
    assert after <= before


def test_where_nobody_can_connect_the_gateway_does_not_answer_either() -> None:
    async def ask() -> None:
        async with running(faults={"at": ("0s refuse 5s",)}) as client:
            await asyncio.sleep(0.1)
            await post(client, body())

    with pytest.raises(aiohttp.ClientConnectionError):
        asyncio.run(ask())


KINDS = [*ChatFaultKind, "http_429", "http_503", "http_404"]
times = st.integers(1, 10_000).map(lambda ms: f" {format_duration(ms * 1_000_000)}")


@st.composite
def written(draw: st.DrawFn) -> str:
    kind = draw(st.sampled_from(KINDS))
    first, more = draw(st.integers(1, 99)), draw(st.integers(1, 99))
    which = draw(
        st.sampled_from(
            [str(first), f"{first}-", f"{first}-{first + more}", "*", f"{first}%", "2.5%"]
        )
    )
    timed = kind in ("delay", "hang", "http_429", "http_503")
    return f"{which} {kind}{draw(times) if timed and draw(st.booleans()) else ''}"


@given(written())
def test_a_fault_written_down_is_the_same_fault(text: str) -> None:
    fault = parse_chat_fault(text)
    assert parse_chat_fault(str(fault)) == fault


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("hang", "'WHICH WHAT \\[HOW LONG\\]'"),
        ("1 hangs", "what goes wrong is delay, hang"),
        ("1 http_200", "http_400 to http_599"),
        ("0 hang", "requests are counted from 1"),
        ("3-2 hang", "requests are counted from 1"),
        ("0% hang", "a chance is more than 0%"),
        ("101% hang", "at most 100%"),
        ("1 html 3s", "'html' takes no time"),
        ("1 delay soon", "found '1 delay soon'"),
        ("1 delay 3s 4s", "was expected"),
    ],
)
def test_a_fault_that_is_none_is_refused_in_words(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        GatewayConfig(faults=(text,))


def drawn(faults: list[str], seed: int, count: int) -> list[ChatFault | None]:
    trouble = ChatTrouble([*map(parse_chat_fault, faults)], seed)
    request: ChatRequest = read_request(json.dumps(body()).encode())
    return [trouble.next(request, number)[1] for number in range(count)]


def test_chance_is_that_of_the_seed_and_about_as_much_as_was_asked_for() -> None:
    once = drawn(["20% hang"], 7, 5000)
    assert once == drawn(["20% hang"], 7, 5000) != drawn(["20% hang"], 8, 5000)
    # Four standard deviations of a binomial count are 113.
    assert abs(sum(one is not None for one in once) - 1000) < 113


def test_requests_are_counted_and_the_first_fault_that_hits_happens() -> None:
    hit = drawn(["2-3 cut", "3-4 html"], 1, 5)
    assert [one and one.kind for one in hit] == [None, "cut", "cut", "html", None]
