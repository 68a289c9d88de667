"""A budget cannot be passed: the most that a request can cost is set aside before it is made."""

import asyncio
import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from gateway_stub import Action, body, completion, cut_in_half, gateway, hang, says, status
from hypothesis import given, settings
from hypothesis import strategies as st
from inquiries import advisor, context, inquiry

from mmkit.clock import SimClock
from mmkit.errors import ConfigError
from mmkit_holysheep.advisor import HolysheepAdvisor
from mmkit_holysheep.asking import _most_tokens
from mmkit_holysheep.budget import Account, Refused, Reserve
from mmkit_holysheep.prices import Price, Usage, load_prices
from mmkit_holysheep.prompt import Message
from mmkit_holysheep.purse import Purse, PurseError, Spent, day_of
from mmkit_holysheep.settings import Budget, HolysheepConfig

DAY = 86_400 * 10**9
START = 1_795_651_200 * 10**9  # 2026-11-26
PRICE = Price(input=Decimal("0.28"), output=Decimal("0.42"), cached=Decimal("0.028"))


def purse_page(userdir: Path) -> dict[str, Any]:
    (path,) = (userdir / "advisor_budget").glob("*.json")
    page: dict[str, Any] = json.loads(path.read_text())
    return page


# --- in a run ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "limit",
    [{"run_tokens": 9_000}, {"run_usd": "0.003"}, {"day_usd": "0.003"}, {"day_tokens": 9_000}],
)
def test_requests_are_made_until_the_next_might_cost_too_much(
    limit: dict[str, Any], tmp_path: Path
) -> None:
    async def run() -> None:
        async with gateway() as stub, advisor(stub, tmp_path, budget=limit) as built:
            refused = ""
            while not refused:
                consulted = await built.ask(inquiry())
                refused = consulted.refused
            assert refused.startswith("budget: ")
            assert len(stub.asked) > 2
            assert built.spent.tokens == 700 * len(stub.asked)
            for kind, most in limit.items():
                spent = built.spent.usd if kind.endswith("usd") else built.spent.tokens
                assert spent <= Decimal(most)
            # A model that costs less may still fit, but the same does not.
            asked = len(stub.asked)
            assert (await built.ask(inquiry())).refused.startswith("budget: ")
            assert len(stub.asked) == asked

    asyncio.run(run())


def test_a_day_is_shared_by_runs_and_ends(tmp_path: Path) -> None:
    clock = SimClock(START)

    async def run(refused: bool) -> None:
        async with gateway() as stub:
            keys: dict[str, Any] = {"budget": {"day_tokens": 3_000}, "base_url": stub.url}
            async with advisor(stub, tmp_path, clock, **keys) as built:
                # The purse is the gateway's, whose port is another in each run of this test.
                built._account._purse = Purse(tmp_path, "same")
                consulted = await built.ask(inquiry())
                assert consulted.refused.startswith("budget: ") is refused

    asyncio.run(run(False))
    asyncio.run(run(True))
    clock.advance_to(START + DAY - 1)
    asyncio.run(run(True))
    clock.advance_to(START + DAY)
    asyncio.run(run(False))


@pytest.mark.parametrize(
    ("act", "charged"),
    [
        (says(), "usage"),
        (says(" "), "usage"),
        (says("no json", finish="length"), "usage"),
        (status(400), "nothing"),
        (status(401), "nothing"),
        (status(429), "nothing"),
        (status(500), "all"),
        (body("<html>"), "all"),
        (cut_in_half, "all"),
        (hang, "all"),
        (says(usage=None), "all"),
        (says(usage={"prompt_tokens": -5, "completion_tokens": 2}), "all"),
    ],
)
def test_what_is_charged_is_usage_or_nothing_if_refused_or_all_that_was_set_aside(
    act: Action, charged: str, tmp_path: Path
) -> None:
    async def run() -> Spent:
        limit = "300ms" if act is hang else "20s"
        async with gateway() as stub, advisor(stub, tmp_path, timeout=limit) as built:
            stub.script = [act]
            await built.ask(inquiry())
            page = purse_page(tmp_path)
            assert Spent(page["tokens"], Decimal(page["usd"])) == built.spent
            return built.spent

    spent = asyncio.run(run())
    if charged == "all":
        assert spent.tokens > 1_500
    else:
        assert spent.tokens == {"usage": 700, "nothing": 0}[charged]


def test_what_is_set_aside_stays_charged_if_nobody_waits_for_the_answer(tmp_path: Path) -> None:
    async def run() -> None:
        async with gateway() as stub, advisor(stub, tmp_path) as built:
            stub.script = [hang]
            asking = asyncio.create_task(built.ask(inquiry()))
            while not stub.asked:
                await asyncio.sleep(0.01)
            assert purse_page(tmp_path)["tokens"] > 1_500  # on disk before it was sent
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            assert purse_page(tmp_path)["tokens"] == built.spent.tokens > 1_500

    asyncio.run(run())


def test_an_answer_longer_than_asked_for_is_charged_and_the_last(tmp_path: Path) -> None:
    usage = {"prompt_tokens": 500, "completion_tokens": 10_000}

    async def run() -> None:
        async with (
            gateway() as stub,
            advisor(stub, tmp_path, budget={"run_tokens": 5_000}) as built,
        ):
            stub.script = [body(json.dumps(completion(usage=usage)))]
            await built.ask(inquiry())
            assert built.spent.tokens == 10_500
            assert (await built.ask(inquiry())).refused.startswith(
                "budget: deepseek-v3.2: 5000 tokens a run"
            )
            assert len(stub.asked) == 1

    asyncio.run(run())


def test_repairs_rungs_and_retries_are_paid_too(tmp_path: Path) -> None:
    async def run() -> None:
        async with gateway() as stub, advisor(stub, tmp_path, retries=1) as built:
            stub.script = [says("?"), says("?"), says()]
            consulted = await built.ask(inquiry())
            assert len(consulted.calls) == 2
            cost = sum((call.cost or Decimal(0) for call in consulted.calls), Decimal(0))
            assert built.spent == Spent(1_400, cost)

    asyncio.run(run())


# --- the account ------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 3_000),
            st.integers(0, 2_000),
            st.floats(0, 1),
            st.sampled_from(["usage", "unbilled", "unknown"]),
        ),
        max_size=25,
    ),
    st.integers(1, 20_000),
    st.decimals("0.0001", "0.01", places=6),
)
def test_no_order_of_events_spends_more_than_allowed(
    tmp_path_factory: pytest.TempPathFactory,
    requests: list[tuple[int, int, float, str]],
    tokens: int,
    usd: Decimal,
) -> None:
    """Requests that overlap, each of which takes at most what was set aside for it."""

    async def run() -> None:
        folder = tmp_path_factory.mktemp("purse")
        limits = Budget(day_usd=usd, day_tokens=tokens, run_usd=usd, run_tokens=tokens)
        account = Account(limits, Purse(folder, "x"), SimClock(START), free=False)
        known = Spent()
        waiting: list[tuple[Reserve, Usage, str]] = []
        for prompt, answer, share, end in requests:
            try:
                reserve = await account.reserve(PRICE, prompt, answer)
            except Refused:
                continue
            usage = Usage(prompt=int(prompt * share), completion=int(answer * share))
            waiting.append((reserve, usage, end))
            if len(waiting) == 3:
                first, usage, how = waiting.pop(0)
                if how == "usage":
                    known += Spent(usage.tokens, PRICE.cost(usage))
                elif how == "unknown":
                    known += first.most
                told = usage if how == "usage" else None
                await account.settle(first, told, unbilled=how == "unbilled")
            held = sum((of[0].most for of in waiting), Spent())
            assert account.run == known + held
            assert account.run.tokens <= tokens
            assert account.run.usd <= usd
            assert Purse(folder, "x").spent(day_of(START)) == account.run

    asyncio.run(run())


@given(st.lists(st.text(max_size=200), min_size=1, max_size=4))
def test_a_prompt_is_never_thought_shorter_than_it_is(texts: list[str]) -> None:
    clean = [text.encode("utf-8", "replace").decode() for text in texts]
    messages = tuple(Message("user", text) for text in clean)
    # No tokenizer in use makes a token of less than a byte.
    assert _most_tokens(messages, "news", "text") >= sum(len(text.encode()) for text in clean)


def test_a_model_without_a_price_is_refused_where_money_is_limited(tmp_path: Path) -> None:
    def built(**budget: Any) -> HolysheepAdvisor:
        config = HolysheepConfig(
            model=("gpt-4.1", "my-own"), base_url="http://127.0.0.1:1/v1", budget=Budget(**budget)
        )
        return HolysheepAdvisor(config, context(tmp_path))

    with pytest.raises(ConfigError, match=r"found 'my-own'.*unpriced: allow"):
        built(day_usd=Decimal(1))
    built(day_usd=Decimal(1), unpriced="allow")
    built()

    async def other() -> str:
        async with gateway() as stub, advisor(stub, tmp_path, budget={"run_usd": "1"}) as advised:
            refused = (await advised.ask_models(["my-own"], inquiry())).refused
            assert not stub.asked
            return refused

    assert asyncio.run(other()).startswith("no_price: my-own: it has no price")


# --- the purse --------------------------------------------------------------------------------------

_SPENDER = """
import asyncio, sys
from decimal import Decimal
from pathlib import Path
from mmkit_holysheep.budget import Account, Refused
from mmkit_holysheep.prices import Price
from mmkit_holysheep.purse import Purse
from mmkit_holysheep.settings import Budget
from mmkit.clock import SimClock

async def main():
    limits = Budget(day_tokens=6_000)
    account = Account(limits, Purse(Path(sys.argv[1]), "x"), SimClock(int(sys.argv[2])), free=False)
    made = 0
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        while True:
            await account.reserve(None, 90, 10)
            made += 1
    except Refused as error:
        print(made, "6000" in str(error))

asyncio.run(main())
"""


def test_several_processes_together_spend_no_more_than_allowed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _SPENDER, str(tmp_path), str(START)]
    pipe = subprocess.PIPE
    running = [
        subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, bufsize=1) for _ in range(2)
    ]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
    made = []
    for process in running:
        said, _ = process.communicate(timeout=60)
        count, full = said.split()
        assert full == "True"
        made.append(int(count))
    assert sum(made) == 60
    assert purse_page(tmp_path)["tokens"] == 6_000


@pytest.mark.parametrize(
    "page",
    [
        "",
        "{",
        '{"day": "2026-11-26"}',
        '{"day": "2026-11-26", "tokens": -1, "usd": "0"}',
        '{"day": "2026-11-26", "tokens": 1, "usd": "NaN"}',
        '{"day": "x", "tokens": 1, "usd": "0"}',
    ],
)
def test_a_purse_that_cannot_be_read_is_an_error_not_an_empty_one(
    page: str, tmp_path: Path
) -> None:
    folder = tmp_path / "advisor_budget"
    folder.mkdir()
    (folder / "x.json").write_text(page)
    with pytest.raises(PurseError, match="look into it, or remove it"):
        Purse(tmp_path, "x")


def test_a_purse_that_breaks_meanwhile_ends_the_asking(tmp_path: Path) -> None:
    async def run() -> None:
        async with gateway() as stub, advisor(stub, tmp_path) as built:
            await built.ask(inquiry())
            next((tmp_path / "advisor_budget").glob("*.json")).write_text("{")
            assert (await built.ask(inquiry())).refused.startswith("budget: ")
            assert len(stub.asked) == 1

    asyncio.run(run())


def test_a_clock_that_was_set_back_begins_no_new_day(tmp_path: Path) -> None:
    async def run() -> None:
        purse = Purse(tmp_path, "x")
        await purse.add("2026-11-26", Spent(5, Decimal("0.1")))
        await purse.add("2026-11-25", Spent(7, Decimal("0.2")))
        assert purse.spent("2026-11-25") == purse.spent("2026-11-26") == Spent(12, Decimal("0.3"))
        # Nothing of a day that is over is given back.
        await purse.add("2026-11-25", Spent(-7, Decimal("-0.2")))
        assert purse.spent("2026-11-26") == Spent(12, Decimal("0.3"))
        assert purse.spent("2026-11-27") == Spent()

    asyncio.run(run())


# --- prices -----------------------------------------------------------------------------------------


@given(st.integers(0, 10**7), st.integers(0, 10**7), st.integers(0, 10**7))
def test_a_cost_is_exact(prompt: int, cached: int, completion: int) -> None:
    cached = min(cached, prompt)
    usage = Usage(prompt=prompt, cached=cached, completion=completion)
    # In billionths of a USD, by whole numbers.
    by_hand = (prompt - cached) * 280 + cached * 28 + completion * 420
    assert PRICE.cost(usage) * 10**9 == by_hand
    assert PRICE.cost(usage) <= PRICE.most(prompt, completion)


def test_an_unknown_model_costs_nobody_knows_what() -> None:
    prices = load_prices()
    assert prices.of("my-own") is None
    assert prices.cost("my-own", Usage(prompt=1, completion=1)) is None
    assert prices.cost("gpt-4.1", None) is None


def test_the_bundled_table_is_that_of_the_facts() -> None:
    prices = load_prices()
    assert str(prices.date) == "2026-11-21"
    rows = {
        "gpt-4.1": ("2.00", "8.00", "0.50"),
        "gpt-4o-mini": ("0.15", "0.60", "0.075"),
        "claude-sonnet-4.5": ("3.00", "15.00", "0.30"),
        "claude-sonnet-4-5-20250929": ("3.00", "15.00", "0.30"),
        "gemini-2.5-flash": ("0.30", "2.50", "0.03"),
        "deepseek-v3.2": ("0.28", "0.42", "0.028"),
    }
    for model, (sent, written, cached) in rows.items():
        price = prices.of(model)
        assert price is not None
        assert (price.input, price.output, price.cached) == (
            Decimal(sent),
            Decimal(written),
            Decimal(cached),
        )


def test_a_users_prices_replace_the_bundled_ones_model_by_model(tmp_path: Path) -> None:
    own = tmp_path / "prices.yml"
    own.write_text(
        "date: 2026-12-01\nmodels:\n  my-own: {input: '1', output: '2'}\n"
        "  claude-sonnet-4.5: {input: '4', output: '5'}\n"
    )
    prices = load_prices(own)
    assert str(prices.date) == "2026-12-01"
    assert prices.cost("my-own", Usage(prompt=10**6, cached=10**6, completion=0)) == 1
    assert prices.cost("claude-sonnet-4.5", Usage(prompt=10**6, completion=0)) == 4
    assert prices.cost("claude-sonnet-4-5", Usage(prompt=10**6, completion=0)) == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "valid dictionary"),
        ("date: 2026-12-01\nmodels: {a: {input: 0.5, output: '1'}}", "a decimal in quotes"),
        ("date: 2026-12-01\nmodels: {a: {input: '-1', output: '1'}}", "greater than or equal to 0"),
        ("date: 2026-12-01\nmodels: {a: {input: '1'}}", "models.a.output: Field required"),
        ("date: 2026-12-01\nmodels: {a: {inpt: '1'}}", "models.a.inpt"),
        ("models: {}", "date: Field required"),
        ("a: [", "YAML was expected"),
    ],
)
def test_prices_that_cannot_be_used_say_why(text: str, words: str, tmp_path: Path) -> None:
    own = tmp_path / "prices.yml"
    own.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_prices(own)
    assert words in str(caught.value)
    assert str(own) in str(caught.value)


def test_a_model_that_its_vendor_has_ended_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def warned(now_ns: int) -> str:
        caplog.clear()
        config = HolysheepConfig(
            model=("gpt-4.1", "claude-sonnet-4.5"), base_url="http://127.0.0.1:1/v1"
        )
        HolysheepAdvisor(config, context(tmp_path, SimClock(now_ns)))
        return caplog.text

    assert "claude-sonnet-4.5" not in warned(START)
    assert "model=claude-sonnet-4.5 its vendor has ended it on 2026-11-30" in warned(
        START + 4 * DAY
    )
