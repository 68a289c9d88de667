"""What a month of asking costs is the table's price times tokens, calls and days, to the last digit."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from fractions import Fraction
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from mmkit.errors import RunError
from mmkit_holysheep.commands.cost import cost
from mmkit_holysheep.monthly import Income, income_of, monthly
from mmkit_holysheep.prices import load_prices

TODAY = datetime.date(2026, 11, 26)
TABLE: dict[str, Any] = yaml.safe_load(
    resources.files("mmkit_holysheep").joinpath("prices.yml").read_text("utf-8")
)["models"]


@given(calls=st.integers(1, 10**6), prompt=st.integers(0, 10**5), completion=st.integers(0, 10**5))
def test_every_model_of_the_table_is_there_at_its_price_the_cheapest_first(
    calls: int, prompt: int, completion: int
) -> None:
    found = monthly(
        load_prices(),
        calls_per_day=calls,
        prompt_tokens=prompt,
        completion_tokens=completion,
        today=TODAY,
    )
    months = {one.model: Fraction(one.month) for one in found.models}
    assert months == {
        name: (prompt * Fraction(row["input"]) + completion * Fraction(row["output"]))
        * calls
        * 30
        / 10**6
        for name, row in TABLE.items()
    }
    assert list(months.values()) == sorted(months.values())


def ran(*args: str) -> Result:
    return CliRunner().invoke(cost, args, catch_exceptions=True)


def test_the_tutorials_thousand_analyses_a_day_cost_what_they_do() -> None:
    # 30,000 calls: 15 million tokens in and 6 million out.
    found = json.loads(ran("--json").output, parse_float=Decimal)
    months = {one["model"]: one["month"] for one in found["models"]}
    assert months["gpt-4.1"] == 15 * 2 + 6 * 8
    assert months["deepseek-v3.2"] == 15 * Decimal("0.28") + 6 * Decimal("0.42")
    assert months["claude-sonnet-4-5"] == 15 * 3 + 6 * 15
    words = ran().output
    assert "1,000 calls a day of 500 + 200 tokens, 30 days; prices of 20" in words
    assert any(
        line.split()[0] == "gpt-4.1" and line.split()[-1] == "78.00"
        for line in words.splitlines()
        if line
    )


def test_a_model_that_has_ended_is_marked(tmp_path: Path) -> None:
    own = tmp_path / "prices.yml"
    own.write_text(
        'date: 2020-01-01\nmodels: {old: {input: "1", output: "1", until: 2020-02-01}, '
        'new: {input: "1", output: "1", until: 2999-02-01}}\n'
    )
    words = ran("--prices", str(own)).output
    assert "old (ended 2020-02-01)" in words
    assert "new (ends 2999-02-01)" in words


def report(folder: Path, **changes: Any) -> Path:
    folder.mkdir()
    values: dict[str, Any] = {
        "run_id": "a-run",
        "currency": "USDT",
        "start_ns": 0,
        "end_ns": 3_600_000_000_000,
        "fills": 12,
        "realized_pnl": 1.5,
        "fees": 0.25,
        "more": [1],
    }
    (folder / "report.json").write_text(json.dumps({**values, **changes}))
    return folder


def test_beside_a_run_each_model_is_a_share_of_its_income_of_the_same_month(tmp_path: Path) -> None:
    folder = report(
        tmp_path / "a-run",
        advisors={
            "vol": {"cost": 0.001, "unpriced": 2},
            "side": {"cost": 0.0005, "unpriced": 1},
        },
    )
    result = ran("--run", str(folder), "--json")
    found = json.loads(result.output, parse_float=Decimal)
    # 1.25 an hour, 720 hours.
    assert found["income"]["month"] == 900
    assert found["income"]["advice"] == Decimal("0.0015")
    shares = {one["model"]: float(one["share"]) for one in found["models"]}
    assert shares["gpt-4.1"] == pytest.approx(78 / 900)
    words = ran("--run", str(folder)).output
    assert "1.5 USDT realized by 12 fills, less 0.25 fees, is 1.25 USDT in 0.042 days" in words
    assert "900.00 USDT in 30 days, if all of them were like that" in words
    assert "shorter than a day, so that this is a guess" in words
    assert "8.7%" in words
    assert "The run itself paid 0.0015 USD for advice, and 3 requests of unknown cost." in words


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"realized_pnl": 0.1}, "It earned nothing, so that no model is paid for by it."),
        ({"currency": "BTC"}, "Prices are in USD, and BTC is not taken for it"),
    ],
)
def test_no_share_is_told_of_an_income_that_is_none_or_in_another_currency(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    result = ran("--run", str(report(tmp_path / "r", **changes)))
    assert said in result.output
    assert "of the income" not in result.output
    assert "%" not in result.output


def test_what_is_no_run_is_refused_with_what_to_do(tmp_path: Path) -> None:
    for make, match in (
        (lambda p: p.mkdir(), "a folder of a run that has ended was expected"),
        (lambda p: report(p, fills="many"), r"a report of mmkit was expected; .*fills"),
        (lambda p: report(p, end_ns=0), "a run that took some time was expected"),
    ):
        folder = tmp_path / match[2:9]
        make(folder)
        with pytest.raises(RunError, match=match):
            income_of(folder)


@given(hours=st.integers(1, 10_000), realized=st.decimals(0, 10**6, places=4))
def test_the_income_of_a_month_is_scaled_by_time_alone(hours: int, realized: Decimal) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        folder = report(
            Path(place) / "run", end_ns=hours * 3_600_000_000_000, realized_pnl=float(realized)
        )
        found: Income = income_of(folder)
    expected = (Fraction(realized) - Fraction(1, 4)) * 720 / hours
    assert abs(Fraction(found.month) - expected) <= abs(expected) / 10**20
