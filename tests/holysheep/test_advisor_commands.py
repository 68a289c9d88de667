"""The commands against a gateway on loopback and a recorded market: what is sent, printed, paid, and how they end."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from gateway_stub import Action, Stub, body, completion, cut, gateway, says, status
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkit import cli
from mmkit.advisors import Facts
from mmkit.errors import DataError
from mmkit.features import parse_features
from mmkit.tape import Tape
from mmkit.testing import random_tape
from mmkit_holysheep.commands.listening import facts_at

KEY = "cr_s3cretOfMine"
DATA = Path(__file__).parents[3] / "shared" / "data" / "binance_30s"
Output = pytest.CaptureFixture[str]


@pytest.fixture
def stub() -> Iterator[Stub]:
    """A gateway in a thread of its own: the command line brings its own event loop."""
    made: list[Stub] = []
    begun, end = threading.Event(), threading.Event()

    async def serve() -> None:
        async with gateway() as one:
            made.append(one)
            begun.set()
            while not end.is_set():
                await asyncio.sleep(0.01)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    begun.wait(10)
    yield made[0]
    end.set()
    thread.join(10)


@pytest.fixture
def config(stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recorded market, and advisors behind the gateway."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MY_KEY", KEY)
    monkeypatch.delenv("HOLYSHEEP_API_KEY", raising=False)
    files = [str(DATA / f"BINANCE_FUTURES.{kind}.xz") for kind in ("http.0.0", "ws.1.0")]
    path = tmp_path / "config.yml"
    path.write_text(
        yaml.safe_dump(
            {
                "mode": "dry_run",
                "instrument": {
                    "venue": "binance",
                    "market": "usdm",
                    "symbol": "SUSHI/USDT:USDT",
                    "tick": "0.001",
                    "lot": "1",
                },
                "data": {"plugin": "capture", "paths": files},
                "advisors": [
                    {
                        "plugin": "holysheep",
                        "as": name,
                        "question": question,
                        "base_url": stub.url,
                        "key": "${MY_KEY}",
                        "model": "gpt-4.1",
                        "retries": 0,
                        "language": language,
                    }
                    for name, question, language in (
                        ("side", "market_structure", "en"),
                        ("vol", "volatility", "ko"),
                    )
                ],
            }
        )
    )
    return path


class Ended(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out, parse_float=Decimal)


def run(capsys: Output, *words: object) -> Ended:
    """Run ``mmkit advisor WORDS``, and look for the key in all that it prints."""
    try:
        ended = cli.main(["advisor", *map(str, words)])
    except SystemExit as error:
        ended = int(error.code or 0)
    told = capsys.readouterr()
    assert KEY not in told.out + told.err
    return Ended(ended, told.out, told.err)


def sent(stub: Stub) -> str:
    return json.dumps(stub.asked)


# --- ask ---


def test_ask_prints_answer_model_tokens_cost_and_time(
    stub: Stub, config: Path, capsys: Output
) -> None:
    found = run(capsys, "ask", "market_structure", "-c", config)
    assert found.status == 0
    facts, _, rest = found.out.partition("\n\n")
    assert facts.startswith("SUSHI/USDT:USDT at binance, 20")
    rows = dict(line.split(None, 1) for line in rest.splitlines() if line)
    assert rows["signal"] == "BUY"
    assert rows["reason"] == "the bid is larger"
    assert (rows["model"], rows["tokens"]) == ("answerer", "500 + 200")
    # gpt-4.1: 2 and 8 USD per million tokens.
    assert rows["cost"] == "0.0026 USD"
    assert rows["time"].endswith(" s")
    assert KEY not in sent(stub)
    assert stub.headers[0]["authorization"] == f"Bearer {KEY}"


def test_ask_as_json_holds_facts_answer_and_the_exact_cost(
    stub: Stub, config: Path, capsys: Output
) -> None:
    found = run(capsys, "ask", "market_structure", "-c", config, "--json").json
    (told,) = found["told"]
    assert told["cost"] == Decimal("0.0026")
    assert told["answer"]["confidence"] == Decimal("0.7")
    assert (told["asked"], told["model"], told["requests"]) == ("holysheep", "answerer", 1)
    # What the model was told is what is printed.
    for price, _ in found["facts"]["bids"]:
        assert price in sent(stub)


def test_ask_takes_the_advisor_that_is_asked_this_and_its_language(
    stub: Stub, config: Path, capsys: Output
) -> None:
    stub.script = [
        says(json.dumps({"level": "LOW", "direction": "UP", "confidence": 1, "reason": "조용"}))
    ]
    found = run(capsys, "ask", "volatility", "-c", config, "--model", "deepseek-v3.2")
    assert found.status == 0
    assert "조용" in found.out
    assert stub.asked[0]["model"] == "deepseek-v3.2"
    assert "한국어" in stub.asked[0]["messages"][0]["content"]
    run(capsys, "ask", "volatility", "-c", config, "--language", "en")
    assert "한국어" not in stub.asked[1]["messages"][0]["content"]


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (status(401, "bad key"), "http_401"),
        (says("nothing of the kind"), "unreadable"),
        (body("<html>", 200), "html"),
        (cut, "connection"),
    ],
)
def test_no_answer_ends_with_status_1_and_the_reason(
    act: Action, said: str, stub: Stub, config: Path, capsys: Output
) -> None:
    stub.script = [act]
    found = run(capsys, "ask", "market_structure", "-c", config)
    assert found.status == 1
    assert f"no answer  {said}: " in found.out
    found = run(capsys, "ask", "market_structure", "-c", config, "--json")
    assert found.status == 1
    assert found.json["told"][0]["answer"] is None
    assert found.json["told"][0]["refused"].startswith(said)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["ask", "market_structure", "--advisor", "sid"], 2, "did you mean 'side'?"),
        (["ask", "market_stricture"], 2, "market_structure"),
        (["ask", "news"], 2, "give them with --text"),
        (["ask", "explain_anomaly"], 2, "say which with --happened"),
        (["ask", "volatility", "--listen", "5"], 2, "a duration with its unit"),
        (["ask", "volatility", "--at", "noon"], 2, "a time such as 2024-08-08T23:59:30Z"),
        (["ask", "volatility", "--at", "1999-01-01"], 4, "--at: a time from 20"),
        (["ask", "volatility", "--model", "no model"], 3, "names of models"),
        (["ask", "volatility", "--base-url", "http://a.b/v1"], 3, "https was expected"),
        (["compare", "volatility", "--models", ","], 2, "one model at least"),
        (["compare", "volatility"], 2, "--models"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is_sent(
    words: list[str], code: int, said: str, stub: Stub, config: Path, capsys: Output
) -> None:
    found = run(capsys, *words, "-c", config)
    assert found.status == code
    assert said in found.err
    assert not stub.asked


def test_without_a_key_it_says_where_to_put_one(
    config: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = yaml.safe_load(config.read_text())
    del written["advisors"]
    config.write_text(yaml.safe_dump(written))
    for command in ("ask", "compare"):
        more = ["--models", "gpt-4.1"] if command == "compare" else []
        found = run(capsys, command, "volatility", "-c", config, *more)
        assert found.status == 3
        assert "set HOLYSHEEP_API_KEY" in found.err
    found = run(capsys, "check", "-c", config)
    assert found.status == 3
    assert "set HOLYSHEEP_API_KEY" in found.out


# --- compare ---


def test_compare_asks_every_model_the_same_and_tells_of_each(
    stub: Stub, config: Path, capsys: Output
) -> None:
    stub.script = [says()]
    words = ["compare", "market_structure", "--models", "gpt-4.1,unknown-1,gpt-4.1", "-c", config]
    found = run(capsys, *words, "--json")
    assert found.status == 0
    told = {one["asked"]: one for one in found.json["told"]}
    assert list(told) == ["gpt-4.1", "unknown-1"]
    prompts = [asked["messages"][:2] for asked in stub.asked]
    assert all(one == prompts[0] for one in prompts)
    assert {asked["model"] for asked in stub.asked} == {"gpt-4.1", "unknown-1"}
    assert told["unknown-1"]["cost"] is None
    assert told["gpt-4.1"]["cost"] == Decimal("0.0026")
    table = run(capsys, *words).out.split("\n\n")[1].splitlines()
    assert table[0].split() == ["model", "time", "tokens", "cost", "answer"]
    assert "0.0026 USD  signal BUY, confidence 0.7, direction UP, risk LOW" in table[1]
    assert "unknown" in table[2]


def test_compare_ends_with_status_1_only_if_nobody_answers(
    stub: Stub, config: Path, capsys: Output
) -> None:
    stub.script = [status(403)]
    found = run(capsys, "compare", "volatility", "--models", "a,b", "-c", config)
    assert found.status == 1
    assert found.out.count("none: http_403") == 2


# --- features ---


def test_features_are_a_section_that_a_training_takes(
    stub: Stub, config: Path, capsys: Output
) -> None:
    names = ["spread", "order_flow_imbalance_30s", "moon_phase", "volatility", "imbalance_5"]
    ideas = [{"name": name, "formula": f"f: [{name}", "relevance": 5} for name in names]
    stub.script = [says(json.dumps({"features": ideas}))]
    found = run(capsys, "features", "-c", config)
    assert found.status == 0
    listed = yaml.safe_load(found.out)["features"]
    assert [one.column for one in parse_features(listed)] == [
        "spread",
        "ofi_1_30s",
        "volatility_10s",
        "imbalance_5",
    ]
    assert "# not in mmkit: moon_phase, relevance 5: f: [moon_phase" in found.out
    assert "500 + 200 tokens, 0.0026 USD" in found.err
    stub.script = [status(402, "no credit")]
    found = run(capsys, "features", "-c", config)
    assert (found.status, found.out) == (1, "")
    assert "no answer: http_402" in found.err


# --- check ---


def test_check_says_what_is_right_and_costs_nothing(
    stub: Stub, config: Path, capsys: Output
) -> None:
    stub.models = body(json.dumps({"data": [{"id": "gpt-4.1"}, {"id": "gpt-4o"}]}))
    found = run(capsys, "check", "-c", config)
    assert found.status == 0
    assert found.out.startswith("side, vol:\n")
    assert f"{stub.url} answers and takes the key; it has 2 models" in found.out
    assert not stub.asked
    found = run(capsys, "check", "-c", config, "--json", "--advisor", "vol", "--model", "gpt-5.6")
    assert found.status == 3
    assert not found.json["ok"]
    (rows,) = found.json["advisors"].values()
    assert [(row["what"], row["status"]) for row in rows] == [
        ("key", "ok"),
        ("gateway", "ok"),
        ("model gpt-5.6", "fail"),
        ("budget", "warn"),
    ]


@pytest.mark.parametrize(
    ("act", "code", "said"),
    [
        (status(401, f"key {KEY} is unknown"), 3, "does not accept the key"),
        (status(500), 5, "in trouble"),
        (body("<html>hello</html>"), 3, "web page"),
        (cut, 5, "cannot be reached"),
    ],
)
def test_check_tells_what_is_wrong_with_the_gateway(
    act: Action, code: int, said: str, stub: Stub, config: Path, capsys: Output
) -> None:
    stub.models = act
    found = run(capsys, "check", "-c", config)
    assert found.status == code
    assert said in found.out


# --- what is asked about ---


def until(tape: Tape, at: int) -> Tape:
    """The same market as it was known at a time."""
    rows = [row for row in tape.rows() if row[1] <= at]
    return Tape.from_rows(tape.instrument, rows)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), part=st.floats(0, 1))
def test_recorded_facts_are_of_what_had_been_received_and_of_nothing_later(
    seed: int, part: float
) -> None:
    tape = random_tape(seed, 300)
    first, last = int(tape.ts_local[0]), int(tape.ts_local[-1])
    at = first + round(part * (last - first))

    def told(tape: Tape, at: int | None) -> Facts | str:
        try:
            return facts_at(tape, at)
        except DataError as error:
            return str(error)

    known = told(tape, at)
    cut_there = until(tape, at)
    end = int(cut_there.ts_local[-1])
    whole = told(cut_there, None)
    assert told(tape, end) == whole
    if isinstance(known, Facts) and isinstance(whole, Facts):
        assert (known.bids, known.asks, known.mid) == (whole.bids, whole.asks, whole.mid)
        assert known.records <= whole.records + (at - end) // 10**9 + 1
        assert datetime.fromisoformat(known.time) <= datetime.fromtimestamp(at / 1e9, UTC)


def test_two_moments_of_a_recording_are_told_apart(
    stub: Stub, config: Path, capsys: Output
) -> None:
    end = run(capsys, "ask", "market_structure", "-c", config, "--json").json["facts"]
    before = datetime.fromisoformat(end["time"]).timestamp() - 10
    at = datetime.fromtimestamp(before, UTC).isoformat()
    found = run(capsys, "ask", "market_structure", "-c", config, "--json", "--at", at)
    facts = found.json["facts"]
    assert facts["time"] < end["time"]
    assert facts["bids"] != end["bids"]
    assert 0 < facts["records"] < end["records"]
    assert completion()["model"] == found.json["told"][0]["model"]


# --- the sandbox ---

EXAMPLE = Path(__file__).parents[2] / "user_data" / "advised.yml"


def test_the_first_question_needs_no_key_and_is_about_what_was_listened_to(
    tmp_path: Path, capsys: Output
) -> None:
    words = ["-c", EXAMPLE, "--userdir", tmp_path]
    found = run(capsys, "ask", "market_structure", *words, "--listen", "1s", "--json")
    assert found.status == 0, found.err
    heard = found.json
    (told,) = heard["told"]
    assert told["model"] == "sandbox-rule"
    assert told["free"]
    assert told["answer"]["question"] == "market_structure"
    # One as the book was first known, one a second later.
    assert heard["facts"]["records"] == 2
    assert heard["facts"]["symbol"] == "BTC/USDT"
    assert 1 <= len(heard["facts"]["bids"]) <= 5


def test_a_live_market_is_asked_about_as_it_is_now(tmp_path: Path, capsys: Output) -> None:
    words = ["-c", EXAMPLE, "--userdir", tmp_path, "--at", "2024-08-08T00:00:00Z"]
    found = run(capsys, "ask", "volatility", *words)
    assert found.status == 2
    assert "--at: recorded data was expected" in found.err
