"""What is said of a gateway is right, names what to do, and shows no key."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from mmkit_holysheep.checking import Row, rows_of
from mmkit_holysheep.prices import load_prices
from mmkit_holysheep.reply import Failure, refused
from mmkit_holysheep.settings import HOLYSHEEP, HolysheepConfig, reach

KEY = "cr_s3cretOfMine"
TODAY = datetime.date(2026, 11, 26)


def rows(listed: Any, **config: Any) -> dict[str, Row]:
    made = HolysheepConfig.model_validate({"key": KEY, **config})
    found = rows_of(
        made, reach(made, {"sandbox": "http://127.0.0.1:9"}), load_prices(), listed, TODAY
    )
    assert KEY not in repr(found)
    return {row.what: row for row in found}


def test_a_gateway_that_has_the_models_is_ok_with_prices_and_budget() -> None:
    found = rows(("deepseek-v3.2", "gpt-4.1"), model="gpt-4.1", budget={"day_usd": "1"})
    assert [row.status for row in found.values()] == ["ok"] * 4
    assert found["key"].message == "there is one, of 15 characters; it is shown nowhere"
    assert found["gateway"].message == f"{HOLYSHEEP} answers and takes the key; it has 2 models"
    assert "2.00 USD in, 8.00 USD out (2026-11-21)" in found["model gpt-4.1"].message
    assert found["budget"].message == "at most 1 USD a day and 3,000,000 tokens a day"


def test_a_model_that_is_not_there_fails_with_the_nearest_names() -> None:
    found = rows(("claude-sonnet-4-6", "gpt-4o"), model=["claude-sonnet-4.5", "xyz"])
    near, far = found["model claude-sonnet-4.5"], found["model xyz"]
    assert (near.status, near.code) == ("fail", 3)
    assert near.message == "the gateway does not have it; did you mean claude-sonnet-4-6?"
    assert far.message == "the gateway does not have it; it has claude-sonnet-4-6, gpt-4o"


@pytest.mark.parametrize(
    ("model", "status", "said"),
    [
        ("gpt-4.1-nano", "warn", "its vendor ended it on 2026-10-23: choose another one"),
        (
            "claude-sonnet-4-5",
            "warn",
            "its vendor ends it on 2026-11-30: choose another one in time",
        ),
        ("deepseek-v4", "warn", "lacks it, so that nobody knows what it costs"),
        ("gpt-4o", "ok", "it is there; a million tokens cost 2.50 USD in"),
    ],
)
def test_a_model_without_a_future_or_a_price_is_a_warning(
    model: str, status: str, said: str
) -> None:
    row = rows((model,), model=model)[f"model {model}"]
    assert (row.status, row.code) == (status, 0)
    assert said in row.message


@pytest.mark.parametrize(
    ("failure", "code", "said"),
    [
        (
            refused(401, b'{"error": {"message": "bad key"}}', None),
            3,
            "does not accept the key; copy",
        ),
        (refused(402, b"", None), 5, "no credit left"),
        (refused(403, b"", None), 3, "does not allow this"),
        (refused(404, b"", None), 3, "with its /v1"),
        (refused(429, b"", 3.0), 5, "is asked too often; wait a minute"),
        (refused(308, b"", None, "https://else.where"), 3, "is somewhere else by now"),
        (refused(500, b"", None), 5, "in trouble, which is not your fault; try again later"),
        (Failure("timeout", "no answer within 10 s"), 5, "did not answer in time"),
        (Failure("connection", "refused"), 5, "whether this machine is online"),
        (Failure("html", "a page"), 3, "answered with a web page"),
        (Failure("no_list", "x"), 3, "something else than a list of models"),
    ],
)
def test_a_gateway_that_fails_is_told_in_words_with_what_to_do(
    failure: Failure, code: int, said: str
) -> None:
    found = rows(failure, model="gpt-4.1")
    assert (found["gateway"].status, found["gateway"].code) == ("fail", code)
    assert said in found["gateway"].message
    assert failure.words in found["gateway"].message
    # Nothing is claimed of a model that nobody told about.
    assert found["model gpt-4.1"].status == "warn"
    assert found["model gpt-4.1"].message.startswith("not known whether it is there")


def test_without_a_limit_in_money_there_is_a_warning_but_not_of_the_sandbox() -> None:
    assert rows(())["budget"].status == "warn"
    free = rows(("sandbox-rule",), base_url="sandbox", model="sandbox-rule")
    assert {row.status for row in free.values()} == {"ok"}
    assert free["key"].message == "none, and none is needed there"
    assert free["model sandbox-rule"].message == "it is there; free"
