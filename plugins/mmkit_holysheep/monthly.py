"""What asking would cost in a month, model by model, and what a run would earn in the same time."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path

import msgspec

from mmkit.errors import RunError
from mmkit_holysheep.prices import Prices, Usage

DAYS = 30
"""Of a month."""
_DAY_NS = 86_400_000_000_000
DOLLARS = ("USD", "USDT", "USDC", "FDUSD", "BUSD", "TUSD", "DAI")
"""What is taken for USD; a stablecoin is worth about one."""


class ModelCost(msgspec.Struct, frozen=True, kw_only=True):
    """What one model would cost.

    Attributes:
        model: Its name in the price table.
        input: USD per million tokens of a prompt.
        output: USD per million tokens of an answer.
        call: USD for one call.
        month: USD for `DAYS` days.
        ended: The day on which the vendor ends it; `None` if none is known.
        over: Whether that day has come.
        share: Of the income of the run; `None` without a run that earned something in USD.
    """

    model: str
    input: Decimal
    output: Decimal
    call: Decimal
    month: Decimal
    ended: datetime.date | None
    over: bool
    share: float | None = None


class Income(msgspec.Struct, frozen=True, kw_only=True):
    """What a run has earned from the spread, and would in a month if all of it went on as it did.

    Attributes:
        run: Its name.
        days: How long it was, in days.
        currency: That of the amounts.
        fills: How many there were.
        realized: Profit of what was bought and sold again, at average entry price, before fees.
        fees: Paid; negative if rebates outweigh them.
        earned: ``realized - fees``.
        month: `earned`, scaled to `DAYS` days.
        in_usd: Whether the currency is taken for USD.
        advice: USD that the run itself paid for advice, as far as that is known; `None` if it had no advisor.
        unpriced: Requests of it of which nobody knows what they cost.
    """

    run: str
    days: float
    currency: str
    fills: int
    realized: Decimal
    fees: Decimal
    earned: Decimal
    month: Decimal
    in_usd: bool
    advice: Decimal | None = None
    unpriced: int = 0


class Monthly(msgspec.Struct, frozen=True, kw_only=True):
    """A month of asking.

    Attributes:
        calls_per_day: How many.
        prompt_tokens: Of each.
        completion_tokens: Of each.
        days: In the month.
        prices: When the price table was made.
        models: The cheapest first.
        income: That of the run that was named.
    """

    calls_per_day: int
    prompt_tokens: int
    completion_tokens: int
    days: int
    prices: datetime.date
    models: tuple[ModelCost, ...]
    income: Income | None = None


class _Advisor(msgspec.Struct):
    cost: Decimal
    unpriced: int


class _Report(msgspec.Struct):
    """The keys of a report that are looked at; the others are skipped."""

    run_id: str
    currency: str
    start_ns: int
    end_ns: int
    fills: int
    realized_pnl: Decimal
    fees: Decimal
    advisors: dict[str, _Advisor] = msgspec.field(default_factory=dict)


def monthly(
    prices: Prices,
    *,
    calls_per_day: int,
    prompt_tokens: int,
    completion_tokens: int,
    today: datetime.date,
    income: Income | None = None,
) -> Monthly:
    """Return what every model of the table would cost, the cheapest first; exact.

    Nothing is taken off for cached tokens, as nobody knows how many there will be.
    """
    usage = Usage(prompt=prompt_tokens, completion=completion_tokens)
    models = []
    for name, price in prices:
        call = price.cost(usage)
        month = call * calls_per_day * DAYS
        share = None
        if income is not None and income.in_usd and income.month > 0:
            share = float(month / income.month)
        models.append(
            ModelCost(
                model=name,
                input=price.input,
                output=price.output,
                call=call,
                month=month,
                ended=price.until,
                over=prices.ended(name, today) is not None,
                share=share,
            )
        )
    return Monthly(
        calls_per_day=calls_per_day,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        days=DAYS,
        prices=prices.date,
        models=tuple(sorted(models, key=lambda one: (one.month, one.model))),
        income=income,
    )


def income_of(folder: Path) -> Income:
    """Return what the run in a folder has earned.

    Raises:
        RunError: if there is no report in it, or the run took no time.
    """
    path = folder / "report.json"
    try:
        report = msgspec.json.decode(path.read_bytes(), type=_Report)
    except OSError as error:
        raise RunError(
            f"--run: a folder of a run that has ended was expected, with a report.json; found '{folder}' "
            f"({error.strerror}); name a folder under user_data/results"
        ) from error
    except msgspec.MsgspecError as error:
        raise RunError(f"--run: {path}: a report of mmkit was expected; {error}") from error
    took = report.end_ns - report.start_ns
    if took <= 0:
        raise RunError(
            f"--run: a run that took some time was expected; '{folder}' ended as it began; name another one"
        )
    earned = report.realized_pnl - report.fees
    return Income(
        run=report.run_id,
        days=took / _DAY_NS,
        currency=report.currency,
        fills=report.fills,
        realized=report.realized_pnl,
        fees=report.fees,
        earned=earned,
        month=earned * DAYS * _DAY_NS / took,
        in_usd=report.currency in DOLLARS,
        advice=sum((one.cost for one in report.advisors.values()), Decimal(0))
        if report.advisors
        else None,
        unpriced=sum(one.unpriced for one in report.advisors.values()),
    )


def monthly_text(found: Monthly) -> str:
    """Return it for people."""
    tokens = f"{found.prompt_tokens:,} + {found.completion_tokens:,} tokens"
    lines = [
        f"{found.calls_per_day:,} calls a day of {tokens}, {found.days} days; prices of {found.prices}, nothing taken "
        "off for caches",
        "",
    ]
    income = found.income
    with_share = any(one.share is not None for one in found.models)
    heads = ["model", "in, USD/M", "out, USD/M", "a call", "a month"]
    rows = [heads + (["of the income"] if with_share else [])]
    for one in found.models:
        name = one.model
        if one.ended is not None:
            name += f" (ended {one.ended})" if one.over else f" (ends {one.ended})"
        row = [name, f"{one.input:f}", f"{one.output:f}", f"{one.call:.6f}", f"{one.month:,.2f}"]
        rows.append(row + ([f"{one.share:,.1%}"] if one.share is not None else []))
    lines += table(rows)
    if income is not None:
        lines += ["", *_income_lines(income)]
    return "\n".join(lines)


def _income_lines(income: Income) -> list[str]:
    money = income.currency
    lines = [
        f"{income.run}: {income.realized:,f} {money} realized by {income.fills:,} fills, less {income.fees:,f} fees, is "
        f"{income.earned:,f} {money} in {income.days:,.3f} days;",
        f"{income.month:,.2f} {money} in {DAYS} days, if all of them were like that. What was bought and not sold yet is "
        "not in it.",
    ]
    if income.days < 1:
        lines.append("The run was shorter than a day, so that this is a guess.")
    if income.month <= 0:
        lines.append("It earned nothing, so that no model is paid for by it.")
    elif not income.in_usd:
        lines.append(
            f"Prices are in USD, and {money} is not taken for it, so that no share is told."
        )
    if income.advice is not None:
        more = f", and {income.unpriced:,} requests of unknown cost" if income.unpriced else ""
        lines.append(f"The run itself paid {income.advice:f} USD for advice{more}.")
    return lines


def table(rows: list[list[str]], left: int = 1) -> list[str]:
    """Return rows of cells as lines, columns aligned: the first `left` to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
